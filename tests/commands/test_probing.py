"""``check --probe`` and ``config --probe``: what is claimed of a model, and what is not."""

from __future__ import annotations

import itertools
import json
import os
import struct
import threading
import zlib
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, get_args, get_type_hints

import pytest
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner, Result
from litellm.types.llms.openai import REASONING_EFFORT
from litellm.types.utils import ModelInfoBase

from litellm_sagemaker_openai.capabilities import Fact, Facts, values_of
from litellm_sagemaker_openai.cli import main
from litellm_sagemaker_openai.commands import probing
from litellm_sagemaker_openai.commands.checking import CheckOptions, Endpoint, measure
from litellm_sagemaker_openai.commands.probing import (
    IMAGE,
    PROBES,
    Answered,
    Finding,
    Refused,
    Reply,
    Unanswered,
    context_length,
    measured,
    refused,
)
from litellm_sagemaker_openai.local.frontdoor import Container, container_error
from litellm_sagemaker_openai.local.server import Running
from litellm_sagemaker_openai.target import parse_target
from litellm_sagemaker_openai.upstream_errors import FailureKind, UpstreamError, read_error
from tests.aws_apis import Aws
from tests.conftest import CREDENTIALS, REGION, WIRE, Upstream
from tests.scripted import Answer, Seen, completion, json_answer
from tests.terminal import in_terminal

each = pytest.mark.parametrize

PROBE = {probe.name: probe for probe in PROBES}
NAMES = set(get_type_hints(ModelInfoBase))
CHAT = json_answer(completion("Hello."))


def recorded(name: str) -> Reply:
    """What ``check --probe`` makes of a recorded answer (tests/wire), as SageMaker passes it on."""
    head, _, body = (WIRE / f"{name}.http").read_bytes().partition(b"\r\n\r\n")
    status = int(head.split()[1])
    if status == 200:
        return Answered(json.loads(body))
    passed_on = container_error(status, body, Container("primary", "my-endpoint", REGION))
    return refused(read_error(passed_on.status, passed_on.body.encode())) or Unanswered("failed")


def answer(content: str | None = "Hello.", finish: str = "stop", **message: Any) -> Reply:
    choice = {"message": {"content": content, **message}, "finish_reason": finish}
    return Answered({"choices": [choice]})


def called(*functions: tuple[str, Any]) -> Reply:
    return answer(None, tool_calls=[{"function": {"name": name, "arguments": given}} for name, given in functions])


def facts_of(findings: Sequence[Finding]) -> dict[str, Any]:
    return {name: value for finding in findings for name, value in values_of(finding.facts).items()}


LOW, NONE, MADE_UP = (
    f"vllm/probes/{name}" for name in ("reasoning_effort_low", "reasoning_effort_none", "err_reasoning_effort")
)
LEVELS = [*probing.EFFORTS]


class TestQuestions:
    def test_the_image_has_two_colours(self) -> None:
        data, pixels = b64decode(IMAGE.partition(",")[2]), b""
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        position = 8
        while position < len(data):
            length, kind = struct.unpack_from(">I4s", data, position)
            body = data[position + 8 : position + 8 + length]
            assert struct.unpack_from(">I", data, position + 8 + length) == (zlib.crc32(kind + body),)
            if kind == b"IHDR":
                assert body == struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
            pixels += body if kind == b"IDAT" else b""
            position += 12 + length
        green, yellow = bytes((0, 128, 0)), bytes((255, 255, 0))
        assert zlib.decompress(pixels) == (b"\0" + green * 32 + yellow * 32) * 64

    def test_levels_are_litellms(self) -> None:
        assert get_args(REASONING_EFFORT) == probing.EFFORTS

    def test_what_is_claimed_has_litellms_name(self) -> None:
        embedded = probing.embeddings(4, "openai")
        for names in (*(probe.names for probe in PROBES), embedded.names):
            assert set(names) <= NAMES

    def test_each_says_how_long_its_answer_may_be(self) -> None:
        for probe in PROBES:
            assert all(question["max_tokens"] for question in probe.questions), probe.name
        assert (probing.MOST_REQUESTS, probing.MOST_TOKENS) == (22, 8864)


class TestRecorded:
    """The judgements, on what vLLM 0.32 and llama.cpp really answer."""

    @each(
        ("probe", "replies", "facts", "status"),
        [
            ("system messages", ["vllm/chat"], {}, "skipped"),  # cut at 8 tokens
            ("system messages", ["vllm/json_schema"], {}, "warning"),
            ("tool calls", ["vllm/probes/err_tools_without_parser"], {"supports_function_calling": False}, "warning"),
            ("tool calls", ["vllm/json_schema"], {}, "warning"),
            ("tool calls", ["vllm/tools_required"], {}, "warning"),  # its arguments are "Infinity"
            ("tool choice", ["vllm/tools_required", "vllm/tool_named"], {"supports_tool_choice": True}, "ok"),
            ("tool choice", ["vllm/tools_required", "vllm/json_schema"], {}, "warning"),
            ("tool choice", ["vllm/tools_required", "vllm/err_image"], {}, "warning"),
            (
                "tool choice",
                ["vllm/probes/err_tool_choice_without_parser"] * 2,
                {"supports_tool_choice": False},
                "warning",
            ),
            ("JSON schema", ["vllm/json_schema"], {"supports_response_schema": True}, "ok"),
            ("JSON schema", ["llama.cpp/json_schema"], {}, "warning"),  # another schema
            ("JSON schema", ["vllm/probes/json_object"], {}, "warning"),
            ("JSON object", ["vllm/probes/json_object"], {}, "ok"),
            ("JSON object", ["vllm/tool_named"], {}, "warning"),
            ("image", ["vllm/err_image"], {"supports_vision": False}, "warning"),
            ("image", ["vllm/json_schema"], {}, "warning"),
            ("reasoning", ["vllm/reasoning", LOW], {"supports_reasoning": True}, "ok"),
            ("reasoning", ["vllm/chat", "vllm/chat"], {}, "warning"),
            ("reasoning", ["vllm/chat", MADE_UP], {}, "warning"),
            (
                "reasoning levels",
                [NONE, *[LOW] * 6, MADE_UP],
                {"reasoning_effort_levels": LEVELS, "supports_none_reasoning_effort": True},
                "ok",
            ),
            ("reasoning levels", [*[LOW] * 7, MADE_UP], {"reasoning_effort_levels": LEVELS[1:]}, "ok"),
            ("reasoning levels", [NONE, *[LOW] * 7], {"supports_none_reasoning_effort": True}, "warning"),
            (
                "reasoning levels",
                [MADE_UP] * 3 + [LOW] * 2 + [MADE_UP] * 3,
                {"reasoning_effort_levels": LEVELS[3:5]},
                "ok",
            ),
            ("temperature 0", ["vllm/chat"], {}, "ok"),
            ("temperature 0", ["vllm/err_temperature"], {}, "warning"),
            ("stop", ["vllm/probes/stop"], {}, "ok"),
            ("stop", ["vllm/chat"], {}, "warning"),
            ("n", ["vllm/probes/n2"], {}, "ok"),
            ("n", ["vllm/chat"], {}, "warning"),
            ("logprobs", ["vllm/probes/logprobs"], {}, "ok"),
            ("logprobs", ["llama.cpp/logprobs"], {}, "ok"),
            ("logprobs", ["vllm/chat"], {}, "warning"),
            ("context length", ["vllm/err_max_tokens"], {"max_input_tokens": 4096}, "ok"),
            ("context length", ["llama.cpp/err_context"], {"max_input_tokens": 2048}, "ok"),
            ("context length", ["llama.cpp/chat"], {}, "warning"),
            ("context length", ["vllm/err_temperature"], {}, "warning"),
            ("temperature 0", ["vllm/err_engine_dead"], {}, "skipped"),
            ("temperature 0", ["vllm/err_model"], {}, "skipped"),
            ("temperature 0", ["vllm/err_context"], {}, "skipped"),  # the context is too short for the question
        ],
    )
    def test_what_is_claimed(self, probe: str, replies: list[str], facts: dict[str, Any], status: str) -> None:
        findings = PROBE[probe].findings([recorded(name) for name in replies])
        assert facts_of(findings) == facts
        assert findings[0].status == status
        assert {finding.name for finding in findings} <= {probe, "parallel tool calls"}

    @each(
        ("message", "length"),
        [
            ("max_tokens=9 cannot be greater than max_model_len=max_total_tokens=8192. Please", 8192),
            ("'max_tokens' or 'max_completion_tokens' is too large: 1000000000. This model's maximum context length is "
             "40960 tokens and your request has 14 input tokens (1000000000 > 40960 - 14).", 40960),
            ("You passed 9001 input tokens and requested 100 output tokens. However, the model's context length is "
             "only 8192 tokens", 8192),
            ("The decoder prompt (length 21535) is longer than the maximum model length of 16384.", 16384),
            ("Requested token count exceeds the model's maximum context length of 8192 tokens. You requested a total "
             "of 1000000014 tokens", 8192),
            ("Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens).", 59862),
            ("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 14 `inputs`", 4096),
            ("max_model_len=1000000000", None),
            ("max_model_len=0", None),
            (f"max_model_len={'9' * 100_000}", None),
            ("no", None),
        ],
    )  # fmt: skip
    def test_the_context_of_a_refusal(self, message: str, length: int | None) -> None:
        found = context_length(message)
        assert (found and found.value) == length
        assert found is None or str(length) in found.source

    @pytest.mark.filterwarnings("ignore:Router.get_model_group_info is deprecated")  # since LiteLLM 1.110
    def test_litellms_router_takes_it(self, router_of: Any) -> None:
        findings = [
            *PROBE["reasoning levels"].findings([recorded(name) for name in (NONE, *[LOW] * 6, MADE_UP)]),
            *PROBE["reasoning"].findings([recorded("vllm/reasoning"), recorded(LOW)]),
            *PROBE["context length"].findings([recorded("vllm/err_max_tokens")]),
            *PROBE["image"].findings([recorded("vllm/err_image")]),
        ]
        told = measured(findings)
        parameters = {"model": "sagemaker_openai/my-endpoint", **values_of(told.parameters)}
        model = {"model_name": "m", "litellm_params": parameters, "model_info": values_of(told.facts)}
        group = router_of(model).get_model_group_info("m")
        assert (group.max_input_tokens, group.supports_reasoning, group.supports_vision) == (4096, True, False)
        assert list(group.supported_reasoning_efforts) == LEVELS


class TestClaims:
    def test_tools(self) -> None:
        dublin = '{"city": "Dublin"}'
        both = PROBE["tool calls"].findings([called(("get_weather", dublin), ("get_time", dublin))])
        assert facts_of(both) == {"supports_function_calling": True, "supports_parallel_function_calling": True}
        one = PROBE["tool calls"].findings([called(("get_weather", dublin))])
        assert facts_of(one) == {"supports_function_calling": True}
        assert "does not tell" in one[1].detail

    @each(
        ("reply", "said"),
        [
            (called(("get_weather", '{"city":')), "not as the tools are"),
            (called(("get_weather", {"city": "Dublin"})), "not as the tools are"),
            (called(("get_weather", '"Dublin"')), "not as the tools are"),
            (called(("other", "{}")), "not as the tools are"),
            (called((None, None)), "not as the tools are"),  # type: ignore[arg-type]
            (answer('<tool_call>{"name": "get_weather"}</tool_call>'), "its parser is missing"),
            (answer('[TOOL_CALLS][{"name": "get_weather"}]'), "its parser is missing"),
            (answer('{"name": "get_weather", "arguments": {}}'), "its parser is missing"),
            (answer("It rains."), "which does not tell whether it can"),
        ],
    )
    def test_no_tools(self, reply: Reply, said: str) -> None:
        findings = PROBE["tool calls"].findings([reply])
        assert (facts_of(findings), [each.status for each in findings]) == ({}, ["warning", "skipped"])
        assert said in findings[0].detail

    def test_an_answer_that_was_cut_tells_nothing(self) -> None:
        """Such as of a model that still thinks: what the settings tell holds."""
        for probe in PROBES[:6]:
            findings = probe.findings([answer("Let me think", finish="length")] * len(probe.questions))
            assert {(finding.status, finding.names) for finding in findings} == {("skipped", ())}, probe.name

    @each(
        ("text", "seen"),
        [
            ("Green and yellow.", True),
            ("yellow, GREEN", True),
            ("Green", False),
            ("Red and blue.", False),
            ("red, orange, yellow, green, blue", False),  # each colour there is
            ("I cannot see images.", False),
        ],
    )
    def test_an_image(self, text: str, seen: bool) -> None:
        findings = PROBE["image"].findings([answer(text)])
        assert facts_of(findings) == ({"supports_vision": True} if seen else {})

    def test_a_refusal_in_other_words_is_no_claim(self) -> None:
        for probe in PROBES:
            findings = probe.findings([Refused("Conversation must alternate.")] * len(probe.questions))
            assert facts_of(findings) == {}, probe.name

    def test_a_system_message(self) -> None:
        probe = PROBE["system messages"]
        assert facts_of(probe.findings([answer("Pineapple!")])) == {"supports_system_messages": True}
        thinks = answer(None, finish="length", reasoning="They want: pineapple")
        assert facts_of(probe.findings([thinks])) == {"supports_system_messages": True}
        refusal = Refused("System role not supported")  # Gemma 2's chat template
        assert facts_of(probe.findings([refusal])) == {"supports_system_messages": False}

    def test_reasoning(self) -> None:
        probe, thinks = PROBE["reasoning"], answer("9.9", reasoning_content="Hm.")
        [finding] = probe.findings([thinks, thinks])
        assert values_of(finding.parameters) == {"allowed_openai_params": ["reasoning_effort"]}
        [finding] = probe.findings([thinks, Refused("reasoning_effort: extra field")])
        assert (facts_of([finding]), finding.parameters) == ({"supports_reasoning": True}, {})
        [finding] = probe.findings([answer("<think>Hm.</think>9.9"), answer("9.9")])
        assert (facts_of([finding]), finding.status) == ({}, "warning")
        assert "--reasoning-parser" in finding.advice

    def test_an_answer_without_a_word_is_no_stop_word(self) -> None:
        assert PROBE["stop"].findings([answer("")])[0].status == "warning"
        assert PROBE["stop"].findings([answer("Hi!")])[0].status == "ok"

    @each(
        ("upstream", "is_refusal"),
        [
            (UpstreamError(400, "no", from_container=True), True),
            (UpstreamError(422, "no", from_container=True), True),
            (UpstreamError(500, "image input is not supported - hint: …", from_container=True), True),  # llama.cpp
            (UpstreamError(500, "broken", from_container=True), False),
            *((UpstreamError(status, "no", from_container=True), False) for status in (401, 403, 404, 408, 429, 503)),
            (UpstreamError(400, "no"), False),  # in SageMaker's words
            (UpstreamError(503, "no", failure=FailureKind.NO_CAPACITY, from_container=True), False),
        ],
    )
    def test_which_failures_tell_something(self, upstream: UpstreamError, is_refusal: bool) -> None:
        assert (refused(upstream) is not None) == is_refusal


class TestComparing:
    KNOWN: ClassVar[Facts] = {
        "supports_vision": Fact(True, "stated"),
        "max_input_tokens": Fact(32768, "SM_VLLM_MAX_MODEL_LEN=32768"),
        "supports_function_calling": Fact(True, "SM_VLLM_TOOL_CALL_PARSER=hermes"),
        "supports_response_schema": Fact(True, "stated"),
        "supports_reasoning": Fact(True, "SM_VLLM_REASONING_PARSER=qwen3"),
    }
    REPLIES: ClassVar[Mapping[str, list[Reply]]] = {
        "image": [recorded("vllm/err_image")],
        "context length": [recorded("vllm/err_max_tokens")],
        "tool calls": [answer("It rains.")],
        "JSON schema": [answer('{"ok": true}')],
        "reasoning": [Unanswered("SageMaker answered 429")],
    }

    def test_what_was_told_and_is_not_so(self) -> None:
        findings = {
            name: probing.compared(PROBE[name].findings(replies)[0], self.KNOWN)
            for name, replies in self.REPLIES.items()
        }
        assert {name: finding.status for name, finding in findings.items()} == {
            "image": "failed",
            "context length": "failed",
            "tool calls": "warning",
            "JSON schema": "ok",
            "reasoning": "skipped",
        }
        assert findings["context length"].advice == (
            "SM_VLLM_MAX_MODEL_LEN=32768 tells max_input_tokens: 32768, which is not so"
        )
        assert findings["tool calls"].advice.endswith("hermes tells supports_function_calling: true; not seen")
        told = measured([Finding("settings", "ok", "", facts=self.KNOWN), *findings.values()])
        assert values_of(told.facts) == {
            "supports_vision": False,
            "max_input_tokens": 4096,
            "supports_response_schema": True,
            "supports_reasoning": True,  # as it was read: it was not measured
        }

    @each(
        ("told", "shown", "status"),
        [(32768, 8192, "failed"), (8192, 8192, "ok"), (4096, 4096, "ok")],
    )
    def test_a_prompt_may_have_less_than_the_context(self, told: int, shown: int, status: str) -> None:
        """TGI's MAX_INPUT_TOKENS, beside its MAX_TOTAL_TOKENS."""
        known = {"max_input_tokens": Fact(told, "MAX_INPUT_TOKENS")}
        [finding] = PROBE["context length"].findings([Refused("`max_new_tokens` must be <= 8192")])
        finding = probing.compared(finding, known)
        assert finding.status == status
        told_at_last = measured([Finding("settings", "ok", "", facts=known), finding])
        assert values_of(told_at_last.facts) == {"max_input_tokens": shown}


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, [*arguments])
    for secret in (CREDENTIALS.secret_key, CREDENTIALS.session_token or "", "sagemaker-api-key-", "Signature="):
        assert secret not in result.output
    return result


def quoted(status: int, message: str) -> Answer:
    """A container's refusal, in SageMaker's quotation."""
    body = json.dumps({"error": {"message": message, "type": "BadRequestError", "code": status}})
    passed_on = container_error(status, body.encode(), Container("primary", "my-endpoint", REGION))
    return Answer([passed_on.body.encode()], passed_on.status, "application/json")


def asked(seen: Seen) -> str:
    """The name of the probe that asks this; empty where none does."""
    body = {name: value for name, value in seen.json.items() if name != "model"}
    return next((probe.name for probe in PROBES if body in [dict(question) for question in probe.questions]), "")


def found(timeout: float = 30, name: str = "my-endpoint") -> dict[str, Finding]:
    """The findings, without the check's own steps."""
    endpoint = Endpoint.of(CheckOptions(parse_target(name), timeout), REGION)
    return {finding.name: finding for finding in measure(endpoint, {}, lambda text: None)}


ON_ECHO = {
    "mode": "chat",
    "supports_system_messages": True,
    "supports_function_calling": True,
    "supports_parallel_function_calling": True,
    "supports_tool_choice": True,
    "supports_response_schema": True,
    "supports_reasoning": True,
    "supports_none_reasoning_effort": True,
}
NOT_ON_ECHO = {"endpoint": "skipped", "settings": "skipped", "image": "warning", "reasoning levels": "warning"}


class TestCommand:
    def test_as_json(self, runtime: Running) -> None:
        result = run("check", "my-endpoint", "--probe", "--json")
        told = json.loads(result.stdout)
        assert result.exit_code == 0
        assert {step["name"]: step["status"] for step in told["steps"] if step["status"] != "ok"} == NOT_ON_ECHO
        assert all(set(step) == {"name", "status", "detail", "advice"} for step in told["steps"])
        values = {fact["name"]: fact["value"] for fact in told["facts"]}
        assert values.pop("max_input_tokens") >= 8192
        assert values == ON_ECHO
        assert all(fact["source"] for fact in told["facts"])
        assert told["litellm_params"] == {"allowed_openai_params": ["reasoning_effort"]}
        assert (
            result.stderr == "Asks up to 22 questions more, for answers of 8,864 tokens at most and mostly far fewer.\n"
        )
        assert len(runtime.app.state.received) == 3 + 22

    def test_what_the_settings_tell_is_compared(self, runtime: Running, aws_apis: Aws) -> None:
        variables = {
            "SM_VLLM_MAX_MODEL_LEN": "1000000",
            "SM_VLLM_ENABLE_AUTO_TOOL_CHOICE": "true",
            "SM_VLLM_TOOL_CALL_PARSER": "hermes",
            "HF_TOKEN": "hf_secret",
        }
        aws_apis.make_endpoint("my-endpoint", environment=variables)
        result = run("check", "my-endpoint", "--probe", "--json")
        told = json.loads(result.stdout)
        steps = {step["name"]: step for step in told["steps"]}
        assert steps["settings"]["detail"].startswith("mode ")
        assert steps["context length"]["status"] == "failed"
        assert "SM_VLLM_MAX_MODEL_LEN=1000000 tells max_input_tokens: 1000000" in steps["context length"]["advice"]
        assert (steps["tool calls"]["status"], result.exit_code) == ("ok", 1)
        assert "hf_secret" not in result.output

    @pytest.mark.parametrize("as_variable", [False, True])
    def test_what_a_configuration_states_is_compared(
        self, runtime: Running, aws_apis: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_variable: bool
    ) -> None:
        aws_apis.make_endpoint(
            "my-endpoint", environment={"SM_VLLM_MAX_MODEL_LEN": "4096", "SM_VLLM_RUNNER": "generate"}
        )
        monkeypatch.setenv("THE_MODEL", "sagemaker_openai/my-endpoint")
        stated = {
            "mode": "embedding",
            "max_input_tokens": 100,
            "supports_vision": True,
            "supports_function_calling": False,
            "supports_parallel_function_calling": True,
            "supports_tool_choice": None,
            "team": "secret",
        }
        model = "os.environ/THE_MODEL" if as_variable else "sagemaker_openai/my-endpoint"
        other = {
            "model_name": "other",
            "litellm_params": {"model": "sagemaker_openai/other"},
            "model_info": {"mode": 1},
        }
        entry = {"model_name": "chat", "litellm_params": {"model": model}, "model_info": stated}
        file = tmp_path / "proxy_config.yaml"
        file.write_text(yaml.safe_dump({"model_list": [other, entry, "odd", {"litellm_params": None}]}))
        result = run("check", "my-endpoint", "--probe", "--json", "--config", str(file))
        steps = {step["name"]: step for step in json.loads(result.stdout)["steps"]}
        failed = {name: step["advice"] for name, step in steps.items() if step["status"] == "failed"}
        assert failed == {
            "settings": 'model_info of chat tells mode: "embedding", which is not so',
            "chat": 'model_info of chat tells mode: "embedding", which is not so',
            "tool calls": "model_info of chat tells supports_function_calling: false, which is not so",
        }
        assert "model_info of chat tells supports_vision: true; not seen" in steps["image"]["advice"]
        assert "secret" not in result.output
        assert result.exit_code == 1

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("model_list: []", "has no model sagemaker_openai/my-endpoint in its model_list"),
            ("[", "cannot read"),
            ("model_list: [{model_name: a, litellm_params: {model: 'sagemaker_openai/*'}}]", "has no model"),
            ("model_list: [{model_name: a, litellm_params: {model: 'openai/my-endpoint'}}]", "has no model"),
            ("", "has no model"),
        ],
    )
    def test_a_configuration_without_it(self, tmp_path: Path, text: str, said: str) -> None:
        file = tmp_path / "proxy_config.yaml"
        file.write_text(text)
        result = run("check", "my-endpoint", "--probe", "--config", str(file))
        assert (said in result.stderr, result.exit_code, result.stdout) == (True, 1, "")

    def test_model_info(self, runtime: Running) -> None:
        result = run("check", "shared-endpoint/coder", "--probe", "--model-info", "--hf-model-name", "echo")
        assert result.exit_code == 0
        told = yaml.safe_load(result.stdout)
        assert told.pop("litellm_params") == {
            "model": "sagemaker_openai/shared-endpoint/coder",
            "hf_model_name": "echo",
            "allowed_openai_params": ["reasoning_effort"],
        }
        assert told["model_info"].pop("max_input_tokens") >= 8192
        assert told == {"model_info": ON_ECHO}
        lines = result.stdout.partition("    model_info:\n")[2].splitlines()
        assert lines
        assert all(" # " in line for line in lines)
        assert "✓ tool calls" in result.stderr

    def test_in_words(self, runtime: Running) -> None:
        result = run("check", "my-endpoint", "--probe")
        first, *lines = result.stdout.splitlines()
        assert first.startswith("Asks up to 22 questions more")
        assert "✓ parallel tool calls 2 calls in one answer" in lines
        assert lines[-1] == "It works: model=sagemaker_openai/my-endpoint"
        assert not result.stderr

    def test_wrong_usage(self) -> None:
        for arguments in (["--model-info"], ["--config", __file__], ["--probe", "--model-info", "--json"]):
            assert run("check", "my-endpoint", *arguments).exit_code == 2

    def test_a_check_that_fails_asks_nothing(self, upstream: Upstream) -> None:
        server = upstream(quoted(500, "CUDA out of memory"))
        result = run("check", "my-endpoint", "--probe", "--model-info")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "✗ chat" in result.stderr
        assert [seen.path.rpartition("/")[2] for seen in server.seen] == ["completions", "invocations"]

    def test_config(self, runtime: Running) -> None:
        result = run("config", "my-endpoint", "--probe")
        assert result.exit_code == 0, result.stderr
        [model] = yaml.safe_load(result.stdout)["model_list"]
        assert model["litellm_params"]["allowed_openai_params"] == ["reasoning_effort"]
        assert model["model_info"].pop("max_input_tokens") >= 8192
        assert model["model_info"] == ON_ECHO
        # The most that any answer to each of them may have, and that to the first, which is whether it chats.
        bodies = [received.body for received in runtime.app.state.received]
        most = sum(body["max_tokens"] * body.get("n", 1) for body in bodies) - probing.BEYOND_ANY_CONTEXT
        assert f"asks each of 1 up to 23 questions, for answers of {most:,} tokens at most" in result.stderr

    def test_config_asks_nothing_that_it_cannot_write(self, runtime: Running, tmp_path: Path) -> None:
        for file in (tmp_path / "proxy.yaml", tmp_path / "nowhere" / "proxy.yaml"):
            (tmp_path / "proxy.yaml").touch()
            assert run("config", "my-endpoint", "--probe", "--output", str(file)).exit_code == 1
        assert not runtime.app.state.received

    def test_config_of_what_is_in_service(self, upstream: Upstream, aws_apis: Aws) -> None:
        """One that fails is written without; an Asynchronous Inference endpoint is not asked."""
        aws_apis.make_endpoint("broken")
        aws_apis.make_endpoint("reports", AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": "s3://b/p"}})
        server = upstream(quoted(500, "\x1b[31mCUDA\nmodel_list: out of memory"))
        result = run("config", "--probe")
        assert result.exit_code == 0, result.stderr
        for model in yaml.safe_load(result.stdout)["model_list"]:
            assert not set(model.get("model_info", {})) & {"supports_vision", "supports_system_messages"}
        assert "broken: embeddings: no chat: the container answered 500: [31mCUDA model_list: out of" in result.stderr
        assert {seen.path.split("/")[2] for seen in server.seen} == {"broken"}

    def test_config_prefers_what_the_answers_tell(self, upstream: Upstream, aws_apis: Aws) -> None:
        variables = {"SM_VLLM_MAX_MODEL_LEN": "32768", "SM_VLLM_REASONING_PARSER": "qwen3"}
        aws_apis.make_endpoint("my-endpoint", environment=variables)
        hm = json_answer(completion("9.9", message={"reasoning": "Hm."}))

        def container(seen: Seen) -> Answer:
            if asked(seen) == "context length":
                return quoted(400, "max_tokens=1000000000 cannot be greater than max_model_len=4096")
            if "reasoning_effort" in seen.json:
                return quoted(400, "reasoning_effort: extra inputs are not permitted")
            return json_answer(completion("Hi!")) if asked(seen) == "stop" else hm

        upstream(container)
        result = run("config", "--probe")
        [model] = yaml.safe_load(result.stdout)["model_list"]
        assert model["model_info"]["max_input_tokens"] == 4096
        assert model["model_info"]["supports_reasoning"] is True
        assert "allowed_openai_params" not in model["litellm_params"]  # the container refuses it
        assert "SM_VLLM_MAX_MODEL_LEN=32768 tells max_input_tokens: 32768, which is not so" in result.stderr


VECTORS = json_answer({"data": [{"embedding": [0.5] * 384, "index": 0}], "usage": {"prompt_tokens": 2}})


class TestEmbeddings:
    @each(
        ("field", "parameters"),
        [("input", {}), ("inputs", {"aws_sagemaker_embedding_format": "huggingface"}),
         ("text_inputs", {"aws_sagemaker_embedding_format": "jumpstart"})],
    )  # fmt: skip
    def test_a_model_that_does_not_chat(self, field: str, parameters: dict[str, str], upstream: Upstream) -> None:
        def container(seen: Seen) -> Answer:
            if seen.path.endswith("/completions"):
                return quoted(404, "Not Found")
            return VECTORS if field in seen.json else quoted(422, f"missing field `{field}`")

        upstream(container)
        result = run("check", "my-endpoint", "--probe", "--json")
        told = json.loads(result.stdout)
        steps = {step["name"]: step for step in told["steps"]}
        assert result.exit_code == 0
        assert (steps["chat"]["status"], steps["embeddings"]["status"], steps["tools"]["status"]) == (
            "skipped",
            "ok",
            "skipped",
        )
        assert {fact["name"]: fact["value"] for fact in told["facts"]} == {
            "mode": "embedding",
            "output_vector_size": 384,
        }
        assert told["litellm_params"] == parameters

    @each("answered", [quoted(400, "no"), CHAT, Answer(end="reset"), quoted(500, "broken")])
    def test_neither(self, answered: Answer, upstream: Upstream) -> None:
        upstream(lambda seen: quoted(404, "Not Found") if seen.path.endswith("/completions") else answered)
        findings = found()
        assert list(findings) == ["embeddings"]
        assert findings["embeddings"].status == "skipped"
        assert not measured(findings.values()).facts


# What a container says that lacks it, by probe.
LACKS = {
    "system messages": "System role not supported",
    "tool calls": '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
    "tool choice": 'tool_choice="required" requires --tool-call-parser to be set',
    "JSON schema": "response_format is not supported",
    "image": "At most 0 image(s) may be provided in one request.",
}


class TestContainers:
    def test_one_that_lacks_everything(self, upstream: Upstream) -> None:
        upstream(
            lambda seen: quoted(400, LACKS.get(asked(seen), "extra inputs are not permitted")) if asked(seen) else CHAT
        )
        findings = found()
        assert values_of(measured(findings.values()).facts) == {
            "mode": "chat",
            "supports_system_messages": False,
            "supports_function_calling": False,
            "supports_tool_choice": False,
            "supports_response_schema": False,
            "supports_vision": False,
        }
        assert {finding.status for name, finding in findings.items() if name != "chat"} == {"warning", "skipped"}
        assert findings["context length"].detail == "needs: stop"

    def test_one_that_lies(self, upstream: Upstream) -> None:
        """It answers 200 and plain text to everything, and gets nothing for it."""
        upstream(json_answer(completion("Of course: I am a large language model, and I can do it.")))
        findings = found()
        assert values_of(measured(findings.values()).facts) == {"mode": "chat"}
        assert [name for name, finding in findings.items() if finding.status == "ok"] == ["chat", "temperature 0"]

    @each("failure", [quoted(429, "busy"), quoted(503, "busy"), quoted(401, "who?"), Answer(end="reset")])
    def test_failures_in_the_middle_are_no_answers(self, failure: Answer, upstream: Upstream) -> None:
        upstream(lambda seen: failure if asked(seen) in LACKS else CHAT)
        findings = found()
        assert {finding.status for name, finding in findings.items() if name in ("system messages", "tool calls")} == {
            "skipped"
        }
        assert findings["tool calls"].detail.startswith("not measured: ")
        assert values_of(measured(findings.values()).facts) == {"mode": "chat"}

    def test_it_goes_on_after_one_failure(self, upstream: Upstream) -> None:
        upstream(lambda seen: quoted(429, "busy") if asked(seen) in ("tool calls", "image") else CHAT)
        findings = found()
        assert findings["temperature 0"].status == "ok"

    def test_it_gives_up_after_some(self, upstream: Upstream) -> None:
        server = upstream(lambda seen: quoted(503, "busy") if asked(seen) else CHAT)
        findings = found()
        assert len(server.seen) == 1 + 3
        assert findings["logprobs"].detail == "not asked: the 3 before were not answered"

    def test_one_that_says_what_a_terminal_would_obey(self, upstream: Upstream) -> None:
        evil = "image\x1b]0;owned\x07\n\u2028model_list: []\x9b2J # \ud800\ufffe"
        calls = [
            {
                "id": "1",
                "type": "function",
                "function": {"name": "get_weather", "arguments": json.dumps({"city": evil})},
            }
        ]

        def container(seen: Seen) -> Answer:
            if asked(seen) == "image":
                return quoted(400, evil)
            message = {"tool_calls": calls} if asked(seen) == "tool calls" else {}
            return json_answer(completion(evil, message=message))

        upstream(container)
        result = run("check", "my-endpoint", "--probe", "--model-info")
        assert yaml.safe_load(result.stdout)["model_info"] == {
            "mode": "chat",
            "supports_function_calling": True,
            "supports_vision": False,
        }
        assert not {"\x1b", "\x07", "\x9b"} & set(result.output)

    def test_one_that_goes_on_and_on(self, upstream: Upstream) -> None:
        def endless() -> Iterator[bytes]:
            yield b'{"choices": ['
            yield from itertools.repeat(b" " * 65536)

        server = upstream(
            lambda seen: Answer(endless(), content_type="application/json") if asked(seen) == "n" else CHAT
        )
        finding = found()["n"]
        assert finding.status == "skipped"
        assert "more than 4,194,304 bytes" in finding.detail
        assert server.seen

    def test_one_that_trickles(self, upstream: Upstream) -> None:
        """A byte now and then passes httpx's timeout, which is for each of them."""
        upstream(lambda seen: Answer(_trickle(), content_type="application/json") if asked(seen) == "n" else CHAT)
        finding = found(timeout=0.5)["n"]
        assert "did not end in 0.5 s" in finding.detail

    def test_large_and_deep_answers(self, upstream: Upstream) -> None:
        deep = "[" * 100_000
        upstream(lambda seen: json_answer(completion(deep + "x" * 1_000_000)) if asked(seen) else CHAT)
        findings = found()
        assert max(len(finding.detail) for finding in findings.values()) < 600


def _trickle() -> Iterator[bytes]:
    pause = threading.Event()
    while True:
        yield b" "
        pause.wait(0.05)


@pytest.mark.slow(reason="starts the command in a process of its own, which imports LiteLLM")
def test_ctrl_c_ends_it(upstream: Upstream) -> None:
    upstream(lambda seen: Answer(end="stall") if asked(seen) == "tool calls" else CHAT)
    with in_terminal(["check", "my-endpoint", "--probe"], os.environ) as terminal:
        terminal.wait_for("Asking for tool calls (2 of 13)")
        terminal.type("\x03")
        assert terminal.wait_for_the_end() == 130
        assert not terminal.cursor_is_hidden
    assert "system messages" in terminal.screen
