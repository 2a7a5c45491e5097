"""What `make live` asks: a row for each request, and what is sent for it. Pure: the clock is passed in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from litellm_sagemaker_openai.aws.limits import MAX_BODY_BYTES
from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials, signed_headers
from litellm_sagemaker_openai.aws.token import MAX_EXPIRY_SECONDS, sign_token
from litellm_sagemaker_openai.formats.chat_request import COMPONENT_HEADER, build_body, build_headers, encode_body
from litellm_sagemaker_openai.target import CHAT_PATH, Target

Authority = Literal[
    "token",
    "no token",
    "expired token",
    "token of another region",
    "token of an unknown key",
    "token for 12 hours",
    "another bearer's token",
    "signature",
]
# What the local runtime's answer rests on: recordings and reports of a live endpoint, AWS's documentation or SDK, or
# this project's own guess.
Basis = Literal["seen", "documented", "guessed"]
Needs = Literal["", "a component", "an embeddings endpoint"]

CHAT = "{target}" + CHAT_PATH
INVOKE, INVOKE_STREAM = "/endpoints/{endpoint}/invocations", "/endpoints/{endpoint}/invocations-response-stream"
EMBED = "/endpoints/{embeddings}/invocations"
NO_SUCH = "no-such-name-in-this-account"
_TOKEN_SECONDS = 300
_FEW, _SOME = 32, 256  # tokens of an answer
_TOO_MANY = 10_000_000
_KEY = FrozenCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")  # of AWS's SigV4 examples


def _chat(text: str = "Say hello in one word.", *, stream: bool = False, **more: Any) -> dict[str, Any]:
    # A model that can think is told not to, so that few tokens are enough; templates ignore what they do not know.
    parameters = {"max_tokens": _FEW, "chat_template_kwargs": {"enable_thinking": False}, **more}
    return build_body([{"role": "user", "content": text}], parameters, stream=stream)


_CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_TOOLS: dict[str, Any] = {
    "tools": [
        {"type": "function", "function": {"name": "get_weather", "description": "The weather", "parameters": _CITY}}
    ],
    "tool_choice": "required",
    "max_tokens": _SOME,
}
_WEATHER = "What is the weather in Dublin?"
_SCHEMA = {"type": "json_schema", "json_schema": {"name": "place", "schema": {**_CITY, "additionalProperties": False}}}
_THINK: dict[str, Any] = {
    "chat_template_kwargs": {"enable_thinking": True},
    "include_reasoning": True,
    "max_tokens": _SOME,
}
_TEXT: dict[str, Any] = {"model": "", "prompt": "One, two,", "max_tokens": _FEW}


@dataclass(frozen=True, slots=True)
class Case:
    """One request, the same to both sides.

    Attributes:
        section: the part of the report that it is in.
        name: what is asked, in a few words.
        basis: what the local runtime's answer rests on.
        path: of the URL, with ``{target}``, ``{endpoint}``, ``{component}`` or ``{embeddings}`` in it.
        body: None: no body.
        headers: beside those that each request has; values may have the same names in braces.
        padded_to: bytes that the body has, with white space at its end. Default: as many as it has.
        at_once: how many of it are sent at the same time.
        closed_early: whether the connection is closed after the first piece of the answer.
        needs: what it needs to be asked.
    """

    section: str
    name: str
    basis: Basis
    path: str = CHAT
    body: Mapping[str, Any] | bytes | None = field(default_factory=_chat)
    authority: Authority = "token"
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"
    padded_to: int = 0
    at_once: int = 1
    closed_early: bool = False
    needs: Needs = ""

    @property
    def answer_tokens(self) -> int:
        """The most tokens that its answers can have. What asks for too many is refused."""
        asked = self.body if isinstance(self.body, Mapping) else {}
        tokens = int(asked.get("max_tokens", 0))
        return 0 if tokens == _TOO_MANY else tokens * int(asked.get("n", 1)) * self.at_once

    @property
    def prompt_bytes(self) -> int:
        """The bytes of its prompts: no tokenizer makes more tokens of them, but for what a template adds."""
        asked = self.body if isinstance(self.body, Mapping) else {}
        prompt = {name: asked[name] for name in ("messages", "tools", "input", "prompt") if name in asked}
        return len(encode_body(prompt)) * self.at_once


def _unknown(name: str, basis: Basis = "guessed", **more: Any) -> Case:
    return Case("To be found out", name, basis, **more)


CASES: tuple[Case, ...] = (
    Case("Chat", "a chat", "documented"),
    Case("Chat", "a stream", "documented", body=_chat(stream=True)),
    Case("Chat", "a stream without usage", "documented", body={**_chat(), "stream": True}),
    Case("Chat", "a tool call", "documented", body=_chat(_WEATHER, **_TOOLS)),
    Case("Chat", "a tool call, streamed", "documented", body=_chat(_WEATHER, stream=True, **_TOOLS)),
    Case("Chat", "structured output", "documented", body=_chat(_WEATHER, response_format=_SCHEMA, max_tokens=_SOME)),
    Case("Chat", "logprobs", "documented", body=_chat(logprobs=True, top_logprobs=2)),
    Case("Chat", "logprobs, streamed", "documented", body=_chat(stream=True, logprobs=True, top_logprobs=2)),
    Case("Chat", "two choices", "documented", body=_chat(n=2, temperature=1)),
    Case("Chat", "two choices, streamed", "documented", body=_chat(stream=True, n=2, temperature=1)),
    Case("Chat", "reasoning", "documented", body=_chat("What is 2 + 2?", **_THINK)),
    Case("Chat", "reasoning, streamed", "documented", body=_chat("What is 2 + 2?", stream=True, **_THINK)),
    Case("Chat", "four chats at once", "documented", at_once=4),
    Case("Chat", "a stream that is closed early", "documented", body=_chat(stream=True), closed_early=True),
    Case("Chat", "a chat after a stream was closed early", "documented"),
    Case("Errors of the container", "more tokens than the context has", "seen", body=_chat(max_tokens=_TOO_MANY)),
    Case(
        "Errors of the container",
        "more tokens than the context has, streamed",
        "guessed",
        body=_chat(stream=True, max_tokens=_TOO_MANY),
    ),
    Case("Errors of the container", "a parameter out of range", "seen", body=_chat(temperature=9)),
    Case("Errors of the container", "a model that is not served", "guessed", body={**_chat(), "model": NO_SUCH}),
    Case("Errors of the container", "a body that is not JSON", "guessed", body=b'{"messages": ['),
    Case("Errors of SageMaker", "an unknown endpoint", "seen", path=f"/endpoints/{NO_SUCH}{CHAT_PATH}"),
    Case(
        "Errors of SageMaker",
        "an unknown component",
        "guessed",
        path=f"/endpoints/{{endpoint}}/inference-components/{NO_SUCH}{CHAT_PATH}",
    ),
    Case(
        "Errors of SageMaker",
        "no component where there are some",
        "guessed",
        path=f"/endpoints/{{endpoint}}{CHAT_PATH}",
        needs="a component",
    ),
    Case("Errors of SageMaker", "the component in a header", "seen", headers={COMPONENT_HEADER: "{component}"}),
    Case("Errors of SageMaker", "a body that is too large", "guessed", padded_to=MAX_BODY_BYTES + 1),
    Case("Errors of SageMaker", "an unknown path", "documented", path="{target}/openai/v1/no-such-path"),
    Case("Who asks", "no token", "guessed", authority="no token"),
    Case("Who asks", "an expired token", "guessed", authority="expired token"),
    Case("Who asks", "a token of another region", "guessed", authority="token of another region"),
    Case("Who asks", "a token of an unknown access key", "guessed", authority="token of an unknown key"),
    Case("Who asks", "another bearer's token", "guessed", authority="another bearer's token"),
    Case("Who asks", "a SigV4 signature in place of a token", "seen", authority="signature"),
    Case("Who asks", "a token in place of a signature", "guessed", path=INVOKE),
    Case("InvokeEndpoint", "a chat through /invocations", "documented", path=INVOKE, authority="signature"),
    Case(
        "InvokeEndpoint",
        "a stream through /invocations-response-stream",
        "documented",
        path=INVOKE_STREAM,
        body=_chat(stream=True),
        authority="signature",
    ),
    Case(
        "InvokeEndpoint",
        "an error of the container through /invocations",
        "documented",
        path=INVOKE,
        body=_chat(temperature=9),
        authority="signature",
    ),
    Case(
        "InvokeEndpoint",
        "an error of the container through /invocations-response-stream",
        "guessed",
        path=INVOKE_STREAM,
        body=_chat(stream=True, temperature=9),
        authority="signature",
    ),
    Case("InvokeEndpoint", "a text completion", "documented", path=INVOKE, body=_TEXT, authority="signature"),
    Case(
        "InvokeEndpoint",
        "a text completion, streamed",
        "documented",
        path=INVOKE_STREAM,
        body={**_TEXT, "stream": True, "stream_options": {"include_usage": True}},
        authority="signature",
    ),
    Case(
        "InvokeEndpoint",
        "an unknown endpoint through /invocations",
        "documented",
        path=f"/endpoints/{NO_SUCH}/invocations",
        authority="signature",
    ),
    Case(
        "Embeddings",
        "an embedding",
        "documented",
        path=EMBED,
        body={"model": "", "input": ["Hello."]},
        authority="signature",
        needs="an embeddings endpoint",
    ),
    Case(
        "Embeddings",
        "an embedding in base64",
        "documented",
        path=EMBED,
        body={"model": "", "input": "Hello.", "encoding_format": "base64"},
        authority="signature",
        needs="an embeddings endpoint",
    ),
    _unknown("the header Target-Variant", headers={"x-amzn-sagemaker-target-variant": "AllTraffic"}),
    _unknown("the header Target-Variant of no variant", headers={"x-amzn-sagemaker-target-variant": NO_SUCH}),
    _unknown("the header Inference-Id", headers={"x-amzn-sagemaker-inference-id": "my-inference"}),
    _unknown("the header Session-Id", headers={"x-amzn-sagemaker-session-id": "NEW_SESSION"}),
    _unknown("the header Custom-Attributes", headers={"x-amzn-sagemaker-custom-attributes": "c000b4f9-my-trace"}),
    _unknown("the header Target-Model", headers={"x-amzn-sagemaker-target-model": "model.tar.gz"}),
    _unknown("the header Prefix-Aware-Id", headers={"x-amzn-sagemaker-prefix-aware-id": "my-prefix"}),
    _unknown("prompt_cache_key", "documented", body=_chat(prompt_cache_key="my-prefix")),
    _unknown("/v1/models", "documented", path="{target}/openai/v1/models", method="GET", body=None),
    _unknown(
        "/v1/completions",
        "documented",
        path="{target}/openai/v1/completions",
        body={"prompt": "Hello", "max_tokens": _FEW},
    ),
    _unknown(
        "/v1/embeddings", "documented", path="{target}/openai/v1/embeddings", body={"model": "", "input": "Hello."}
    ),
    _unknown(
        "/v1/responses",
        "documented",
        path="{target}/openai/v1/responses",
        body={"input": "Hello", "max_output_tokens": _FEW},
    ),
    _unknown("GET on the chat's path", method="GET", body=None),
    _unknown("a token for 12 hours, longer than most credentials", authority="token for 12 hours"),
)


@dataclass(frozen=True, slots=True)
class Side:
    """Who is asked: SageMaker, or the local runtime in its place.

    Attributes:
        url: the runtime's base URL.
        target: the endpoint and the component that chat.
        embeddings: the endpoint that makes embeddings; None: there is none.
    """

    url: str
    region: str
    target: Target
    embeddings: str | None
    credentials: FrozenCredentials


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it is sent."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def asked(component: str | None, embeddings: str | None) -> Iterator[tuple[Case, str]]:
    """Each case, and why it cannot be asked of what is there; empty where it can."""
    has = {"": True, "a component": component is not None, "an embeddings endpoint": embeddings is not None}
    for case in CASES:
        yield case, "" if has[case.needs] else f"needs {case.needs}"


def outgoing(case: Case, side: Side, now: datetime) -> Outgoing:
    """A case's request to one side.

    Args:
        case: what is asked.
        side: whom.
        now: an aware datetime: tokens and signatures are made for it.
    """
    names = {
        "target": side.target.path,
        "endpoint": side.target.endpoint,
        "component": side.target.component or NO_SUCH,
        "embeddings": side.embeddings,
    }
    url = side.url + case.path.format(**names)
    body = case.body if isinstance(case.body, bytes) else b"" if case.body is None else encode_body(case.body)
    body = body.ljust(case.padded_to)
    component = side.target.component if case.path in (INVOKE, INVOKE_STREAM) else None
    streams = isinstance(case.body, Mapping) and bool(case.body.get("stream"))
    headers = build_headers({}, stream=streams, component=component)
    headers |= {name: value.format(**names) for name, value in case.headers.items()}
    return Outgoing(case.method, url, headers | _authorizing(case.authority, side, now, url, headers, body), body)


def _authorizing(
    authority: Authority, side: Side, now: datetime, url: str, headers: Mapping[str, str], body: bytes
) -> dict[str, str]:
    if authority == "no token":
        return {}
    if authority == "another bearer's token":
        return {"authorization": "Bearer sk-made-up"}
    if authority == "signature":
        return signed_headers(side.credentials, side.region, now, url=url, headers=headers, body=body)
    credentials = _KEY if authority == "token of an unknown key" else side.credentials
    region, expiry, signed_at = side.region, _TOKEN_SECONDS, now
    if authority == "token of another region":
        region = "eu-west-1" if region != "eu-west-1" else "us-east-1"
    elif authority == "expired token":
        signed_at = now - timedelta(hours=1)
    elif authority == "token for 12 hours":
        expiry = MAX_EXPIRY_SECONDS
    return {"authorization": f"Bearer {sign_token(credentials, region, expiry, signed_at)}"}
