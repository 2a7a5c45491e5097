"""What each coding agent needs to work on a proxy's model: variables, arguments, a file. Pure.

Nothing of the user's own settings is changed, and what they say of another model, provider or key does not count for
this run. How each agent is told so was tried with Claude Code 2.1.197, Codex 0.169.0 and OpenCode 1.18.33 (``make
agents``), on homes whose own settings name another provider.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from litellm_sagemaker_openai.capabilities import Facts, values_of

KEY = "SAGEMAKER_PROXY_API_KEY"  # the variable from which Codex and OpenCode read the key
_PROVIDER = "sagemaker"
_PROVIDER_NAME = "Amazon SageMaker"
# What Claude Code and OpenCode ask for at most, for a model that they do not know; for a short context, less of it.
_LONGEST_ANSWER, _SHARE_FOR_THE_ANSWER = 32_000, 4
# Below, too much of the context would stay unused: Claude Code asks again for a shorter answer instead.
_WORTH_COMPACTING_EARLY = 100_000
# Variables that would have Claude Code ask somebody else, or sign in as somebody else.
_CLAUDE_ELSEWHERE = (
    *("ANTHROPIC_API_KEY", "ANTHROPIC_CUSTOM_HEADERS", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_USE_ANTHROPIC_AWS"),
    *("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_FOUNDRY", "CLAUDE_CODE_USE_GATEWAY", "CLAUDE_CODE_USE_MANTLE"),
    "CLAUDE_CODE_USE_VERTEX",
)
# Those that OpenCode has itself, each of which may be given a model of its own.
_OPENCODE_AGENTS = ("build", "plan", "general", "explore", "title", "summary", "compaction")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What an agent works on.

    Attributes:
        url: the proxy's base URL, without ``/v1``.
        key: its key.
        model: the name to ask for.
        facts: what is known of the model; ``max_input_tokens`` is its context.
    """

    url: str
    key: str = field(repr=False)
    model: str
    facts: Facts = field(default_factory=dict)

    @property
    def context(self) -> int | None:
        """Tokens of the prompt and the answer together; None: not known."""
        value = values_of(self.facts).get("max_input_tokens")
        return value if isinstance(value, int) else None

    @property
    def longest_answer(self) -> int | None:
        """Tokens that an answer should have at most; None: not known."""
        if self.context is None:
            return None
        own = values_of(self.facts).get("max_output_tokens")
        longest = min(_LONGEST_ANSWER, self.context // _SHARE_FOR_THE_ANSWER)
        return min(longest, own) if isinstance(own, int) else longest


@dataclass(frozen=True, slots=True)
class Start:
    """How an agent is started.

    Attributes:
        arguments: what stands before the user's own arguments.
        variables: what its environment has besides; None: what it must not have.
        file: the text of a file for it, which holds the key; empty: it needs none. ``{file}`` in ``arguments`` is its
            path.
    """

    arguments: tuple[str, ...] = ()
    variables: Mapping[str, str | None] = field(default_factory=dict)
    file: str = field(default="", repr=False)

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The user's environment with what the agent needs."""
        return {name: value for name, value in {**environ, **self.variables}.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Agent:
    """One that ``launch`` knows.

    Attributes:
        program: what is run.
        install: what installs it.
        start: what it needs, for a model and in an environment.
        taken: its options that ``launch`` gives itself, so that the user cannot.
    """

    program: str
    install: str
    start: Callable[[ServedModel, Mapping[str, str]], Start]
    taken: tuple[str, ...] = ()

    def conflict(self, arguments: Sequence[str]) -> str | None:
        """The first of the user's arguments that ``launch`` gives itself."""
        return next((each for each in arguments if each.partition("=")[0] in self.taken), None)


def without_a_web_proxy(url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """``NO_PROXY`` with the proxy's host besides the user's own ones, in both of its spellings.

    Else ``HTTP_PROXY``, as a company sets it, has each of the three agents, and the SDKs, send the key and the
    conversation to the company's proxy, in plain text.
    """
    host = urlsplit(url).hostname or ""
    values = {name: environ.get(name, "") for name in ("NO_PROXY", "no_proxy")}
    one = next(filter(None, values.values()), "")
    return {
        name: (value or one) if (value or one).strip() == "*" else ",".join(filter(None, [value or one, host]))
        for name, value in values.items()
    }


def has_a_web_proxy(environ: Mapping[str, str]) -> bool:
    """Whether an environment names one; without, a ``NO_PROXY`` would have Python leave out the system's."""
    return any(environ.get(name) or environ.get(name.lower()) for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"))


def _claude(served: ServedModel, environ: Mapping[str, str]) -> Start:
    """Its variables are in a file of settings: those of the user's own settings count for more than the environment's,
    and those of ``--settings`` for more than either."""
    tiers = ("OPUS", "SONNET", "HAIKU", "FABLE")
    variables = {
        "ANTHROPIC_BASE_URL": served.url,
        "ANTHROPIC_AUTH_TOKEN": served.key,
        "ANTHROPIC_MODEL": served.model,
        # What asks for one of Anthropic's by its kind, such as a subagent or a title, gets the same.
        **{f"ANTHROPIC_DEFAULT_{tier}_MODEL": served.model for tier in tiers},
        "CLAUDE_CODE_SUBAGENT_MODEL": served.model,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",  # no telemetry: the model is your own
        **dict.fromkeys(_CLAUDE_ELSEWHERE, ""),
        **without_a_web_proxy(served.url, environ),  # HTTP_PROXY, too, may be in the user's own settings
    }
    if served.context is not None:
        # Both are read for models that it does not know; else it takes 200,000 and 32,000.
        variables["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] = str(served.context)
        variables["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(served.longest_answer)
        if served.context >= _WORTH_COMPACTING_EARLY:
            # It compacts 33,000 tokens below this. Without, it does so only once the container refuses, and each of the
            # turns before costs a refusal and a shorter answer.
            variables["CLAUDE_CODE_AUTO_COMPACT_WINDOW"] = str(served.context)
    settings = {
        "env": variables,
        "model": served.model,
        "apiKeyHelper": "",
        # Anthropic's API searches. This model would be asked for what it found, and could only make it up.
        "permissions": {"deny": ["WebSearch"]},
    }
    return Start(("--settings", "{file}"), dict.fromkeys(_CLAUDE_ELSEWHERE), json.dumps(settings, indent=2))


def _codex(served: ServedModel, environ: Mapping[str, str]) -> Start:
    """Its ``-c`` counts for more than its configuration file."""
    provider = {
        "name": _PROVIDER_NAME,
        "base_url": f"{served.url}/v1",
        "env_key": KEY,
        "wire_api": "responses",
    }
    table = ", ".join(f"{name} = {json.dumps(value)}" for name, value in provider.items())
    values = {
        f"model_providers.{_PROVIDER}": f"{{ {table} }}",
        "model_provider": json.dumps(_PROVIDER),
        "model": json.dumps(served.model),
    }
    if served.context is not None:
        values["model_context_window"] = str(served.context)
    arguments = [part for name, value in values.items() for part in ("-c", f"{name}={value}")]
    return Start(tuple(arguments), {KEY: served.key})


def _opencode(served: ServedModel, environ: Mapping[str, str]) -> Start:
    """The configuration in its variable is put together with the user's files, and counts for more."""
    known = values_of(served.facts)
    model: dict[str, object] = {"name": served.model, "tool_call": True}
    if served.context is not None and served.longest_answer is not None:
        # Without ``input`` it compacts when the prompt leaves no more than the answer. What a tool said since then has
        # the container refuse the next request: it compacts then too, but `opencode run` ends with status 1.
        room = served.context - served.longest_answer
        model["limit"] = {"context": served.context, "input": room, "output": served.longest_answer}
    if known.get("supports_reasoning"):
        model |= {"reasoning": True, "interleaved": {"field": "reasoning_content"}}
    if known.get("supports_vision"):
        model |= {"attachment": True, "modalities": {"input": ["text", "image"], "output": ["text"]}}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": _PROVIDER_NAME,
        "options": {"baseURL": f"{served.url}/v1", "apiKey": f"{{env:{KEY}}}"},
        "models": {served.model: model},
    }
    name = f"{_PROVIDER}/{served.model}"
    given = _object(environ.get("OPENCODE_CONFIG_CONTENT", ""))
    providers, agents = given.get("provider"), given.get("agent")
    merged = {
        **given,
        "provider": {**(providers if isinstance(providers, dict) else {}), _PROVIDER: provider},
        # No model of another provider: an agent of the user's, or of the project's, may name one.
        "enabled_providers": [_PROVIDER],
        "agent": {
            **(agents if isinstance(agents, dict) else {}),
            **{each: {**_object_in(agents, each), "model": name} for each in _OPENCODE_AGENTS},
        },
        "model": name,
        "small_model": name,
    }
    return Start((), {"OPENCODE_CONFIG_CONTENT": json.dumps(merged), KEY: served.key})


def _program(served: ServedModel, environ: Mapping[str, str]) -> Start:
    """The variables of OpenAI's and Anthropic's SDKs, and of LiteLLM's ``litellm_proxy/``."""
    return Start(
        (),
        {
            "OPENAI_BASE_URL": f"{served.url}/v1",
            "OPENAI_API_BASE": f"{served.url}/v1",
            "OPENAI_API_KEY": served.key,
            "OPENAI_MODEL": served.model,
            "OPENAI_ORG_ID": None,
            "OPENAI_PROJECT_ID": None,
            "ANTHROPIC_BASE_URL": served.url,
            "ANTHROPIC_API_KEY": served.key,
            "ANTHROPIC_AUTH_TOKEN": None,
            "ANTHROPIC_CUSTOM_HEADERS": None,
            "ANTHROPIC_MODEL": served.model,
            "LITELLM_PROXY_API_BASE": served.url,
            "LITELLM_PROXY_API_KEY": served.key,
        },
    )


def _object(text: str) -> dict[str, object]:
    """A JSON object; an empty one where it is none, which the agent itself would refuse."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _object_in(value: object, name: str) -> dict[str, object]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


AGENTS = {
    "claude": Agent("claude", "npm install -g @anthropic-ai/claude-code", _claude, ("--settings",)),
    "codex": Agent("codex", "npm install -g @openai/codex", _codex),
    "opencode": Agent("opencode", "npm install -g opencode-ai", _opencode),
}
PROGRAM = Agent("", "", _program)  # any other: the first of the user's arguments
