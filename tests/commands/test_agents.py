"""What each coding agent gets to work on a proxy's model; ``make agents`` runs the agents themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest
import tomli

from litellm_sagemaker_openai.capabilities import Fact
from litellm_sagemaker_openai.commands.agents import AGENTS, KEY, PROGRAM, ServedModel, Start, without_a_web_proxy

URL, SECRET = "http://127.0.0.1:43121", "sk-secret"
BARE = ServedModel(URL, SECRET, "coder")


def served(**facts: Any) -> ServedModel:
    return ServedModel(URL, SECRET, "coder", {name: Fact(value, "stated") for name, value in facts.items()})


def start(agent: str, model: ServedModel = BARE, environ: dict[str, str] | None = None) -> Start:
    return AGENTS[agent].start(model, environ or {})


def claude(model: ServedModel) -> dict[str, str]:
    variables = json.loads(start("claude", model).file)["env"]
    assert isinstance(variables, dict)
    return variables


def codex(model: ServedModel) -> dict[str, Any]:
    arguments = start("codex", model).arguments
    assert set(arguments[::2]) == {"-c"}
    return tomli.loads("\n".join(arguments[1::2]))


def opencode(model: ServedModel, environ: dict[str, str] | None = None) -> dict[str, Any]:
    given = start("opencode", model, environ).variables["OPENCODE_CONFIG_CONTENT"]
    assert given is not None
    configuration = json.loads(given)
    assert isinstance(configuration, dict)
    return configuration


@pytest.mark.parametrize("agent", AGENTS)
def test_the_key_is_in_no_argument_and_no_repr(agent: str) -> None:
    started = start(agent)
    assert SECRET not in " ".join(started.arguments)
    assert SECRET not in repr(BARE)
    assert SECRET in f"{started.variables} {started.file}"


def test_claude_code_asks_this_model_alone_whatever_it_is_asked_for() -> None:
    variables = claude(BARE)
    assert variables["ANTHROPIC_BASE_URL"] == URL
    assert variables["ANTHROPIC_AUTH_TOKEN"] == SECRET
    models = {value for name, value in variables.items() if name.endswith("_MODEL")}
    assert models == {"coder"}
    assert json.loads(start("claude").file)["model"] == "coder"


def test_claude_code_signs_in_as_nobody_else() -> None:
    environ = {"ANTHROPIC_API_KEY": "sk-ant-1", "CLAUDE_CODE_USE_BEDROCK": "1", "EDITOR": "vi"}
    started = start("claude", BARE, environ)
    assert started.environment(environ) == {"EDITOR": "vi"}
    assert {claude(BARE)[name] for name in ("ANTHROPIC_API_KEY", "CLAUDE_CODE_USE_BEDROCK")} == {""}
    assert json.loads(started.file)["apiKeyHelper"] == ""


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ["127.0.0.1", "127.0.0.1"]),
        ({"NO_PROXY": "git.example, .corp"}, ["git.example, .corp,127.0.0.1"] * 2),
        ({"NO_PROXY": "a", "no_proxy": "b"}, ["a,127.0.0.1", "b,127.0.0.1"]),
        ({"NO_PROXY": "*"}, ["*", "*"]),
    ],
)
def test_no_web_proxy_gets_the_key_and_the_conversation(environ: dict[str, str], expected: list[str]) -> None:
    assert list(without_a_web_proxy(URL, environ).values()) == expected
    variables = json.loads(start("claude", BARE, environ).file)["env"]
    assert [variables["NO_PROXY"], variables["no_proxy"]] == expected


def test_claude_code_does_not_ask_the_model_to_search() -> None:
    """It would take what the model makes up for what was found."""
    assert json.loads(start("claude").file)["permissions"] == {"deny": ["WebSearch"]}


def test_codex_has_a_provider_of_its_own() -> None:
    assert codex(BARE) == {
        "model": "coder",
        "model_provider": "sagemaker",
        "model_providers": {
            "sagemaker": {
                "name": "Amazon SageMaker",
                "base_url": f"{URL}/v1",
                "env_key": KEY,
                "wire_api": "responses",
            }
        },
    }
    assert start("codex").variables == {KEY: SECRET}


def test_opencode_has_a_provider_beside_the_users_own() -> None:
    given = {"model": "other/x", "share": "disabled", "provider": {"other": {"name": "Other"}}}
    configuration = opencode(BARE, {"OPENCODE_CONFIG_CONTENT": json.dumps(given)})
    assert configuration["model"] == configuration["small_model"] == "sagemaker/coder"
    assert configuration["share"] == "disabled"
    assert configuration["provider"]["other"] == {"name": "Other"}
    assert configuration["provider"]["sagemaker"]["options"] == {"baseURL": f"{URL}/v1", "apiKey": f"{{env:{KEY}}}"}
    assert configuration["provider"]["sagemaker"]["models"] == {"coder": {"name": "coder", "tool_call": True}}


def test_no_agent_of_opencodes_asks_another_provider() -> None:
    """One of the user's, or of the project's, may name a model of another: opencode.json is anybody's in a clone."""
    given = {"agent": {"build": {"model": "other/x", "prompt": "p"}, "mine": {"model": "other/x"}}}
    configuration = opencode(BARE, {"OPENCODE_CONFIG_CONTENT": json.dumps(given)})
    assert configuration["enabled_providers"] == ["sagemaker"]
    assert configuration["agent"]["build"] == {"model": "sagemaker/coder", "prompt": "p"}
    assert configuration["agent"]["mine"] == {"model": "other/x"}  # which OpenCode then refuses
    assert configuration["agent"]["title"] == {"model": "sagemaker/coder"}


@pytest.mark.parametrize("given", ["", "{", "[]", '{"provider": []}'])
def test_what_opencode_could_not_read_either_is_replaced(given: str) -> None:
    assert opencode(BARE, {"OPENCODE_CONFIG_CONTENT": given})["model"] == "sagemaker/coder"


@pytest.mark.parametrize(
    ("facts", "context", "answer"),
    [
        ({"max_input_tokens": 131072}, 131072, 32000),
        ({"max_input_tokens": 32768}, 32768, 8192),
        ({"max_input_tokens": 131072, "max_output_tokens": 4096}, 131072, 4096),
        ({"max_input_tokens": 16384, "max_output_tokens": 16384}, 16384, 4096),
        ({}, None, None),
    ],
)
def test_each_agent_knows_the_context(facts: dict[str, int], context: int | None, answer: int | None) -> None:
    model = served(**facts)
    variables = claude(model)
    limits = [variables.get(f"CLAUDE_CODE_MAX_{what}_TOKENS") for what in ("CONTEXT", "OUTPUT")]
    assert limits == [context and str(context), answer and str(answer)]
    assert variables.get("CLAUDE_CODE_AUTO_COMPACT_WINDOW") == (str(context) if (context or 0) >= 100_000 else None)
    assert codex(model).get("model_context_window") == context
    limit = opencode(model)["provider"]["sagemaker"]["models"]["coder"].get("limit")
    assert limit == (context and {"context": context, "output": answer, "input": context - (answer or 0)})


def test_opencode_knows_what_the_model_can_do() -> None:
    model = opencode(served(supports_reasoning=True, supports_vision=True))["provider"]["sagemaker"]["models"]["coder"]
    assert model["reasoning"] is True
    assert model["interleaved"] == {"field": "reasoning_content"}
    assert model["modalities"]["input"] == ["text", "image"]


def test_other_programs_get_the_variables_of_the_sdks() -> None:
    environ = {"ANTHROPIC_AUTH_TOKEN": "t", "OPENAI_ORG_ID": "o", "OPENAI_API_KEY": "k", "HOME": "/h"}
    assert PROGRAM.start(BARE, environ).environment(environ) == {
        "HOME": "/h",
        "OPENAI_BASE_URL": f"{URL}/v1",
        "OPENAI_API_BASE": f"{URL}/v1",
        "OPENAI_API_KEY": SECRET,
        "OPENAI_MODEL": "coder",
        "ANTHROPIC_BASE_URL": URL,
        "ANTHROPIC_API_KEY": SECRET,
        "ANTHROPIC_MODEL": "coder",
        "LITELLM_PROXY_API_BASE": URL,
        "LITELLM_PROXY_API_KEY": SECRET,
    }


@pytest.mark.parametrize("argument", ["--settings", "--settings=x.json"])
def test_what_launch_gives_itself_cannot_be_given(argument: str) -> None:
    assert AGENTS["claude"].conflict(["-p", argument]) == argument
    assert AGENTS["claude"].conflict(["-p", "--setting-sources"]) is None
    assert AGENTS["codex"].conflict([argument]) is None
