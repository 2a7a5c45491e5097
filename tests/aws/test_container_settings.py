"""What is read of a container's image and environment variables."""

from __future__ import annotations

from typing import Any

import pytest

from litellm_sagemaker_openai.aws.container_settings import (
    Container,
    ModelSettings,
    agreed,
    read_settings,
    token_count,
)
from litellm_sagemaker_openai.capabilities import Fact, values_of

DLC = "763104351884.dkr.ecr.us-west-2.amazonaws.com"
VLLM = f"{DLC}/vllm:0.20.2-gpu-py312-cu130-ubuntu22.04-sagemaker"
SGLANG = f"{DLC}/sglang:0.5.9-gpu-py312-cu129-ubuntu24.04-sagemaker"
LMI = f"{DLC}/djl-inference:0.36.0-lmi28.0.0-cu130"
TGI = f"{DLC}/huggingface-pytorch-tgi-inference:2.7.0-tgi3.3.6-gpu-py311-cu124-ubuntu22.04-v2.0"
TEI = f"{DLC}/tei:2.0.1-tei1.9.3-gpu-py310-cu129-ubuntu24.04"


def read(image: str, artifact: str | None = None, **environment: str) -> dict[str, Any]:
    """The values that are read."""
    return values_of(read_settings(Container(image, environment, artifact)).known())


# Each image as aws/deep-learning-containers has it in docs/src/data, as sagemaker-core 2.27.0 has it in
# image_uri_config, or as its maker publishes it.
@pytest.mark.parametrize(
    ("image", "container", "version"),
    [
        (VLLM, "vllm", "0.20.2"),
        (f"{DLC}/vllm:0.27-gpu-py312-cu130-ubuntu22.04-sagemaker-v1", "vllm", "0.27"),
        (f"{DLC}/vllm:0.30.0-gpu-py312-cu130-ubuntu24.04-sagemaker", "vllm", "0.30.0"),
        (f"{DLC}/vllm:server-sagemaker-cuda-v2.6", "vllm", None),
        (f"{DLC}/sglang:server-sagemaker-cuda-v1.4", "sglang", None),
        (f"{DLC}/djl-inference:0.38.0-lmi29.0.0-cu130", "lmi", "29.0.0"),
        (f"{DLC}/vllm:omni-sagemaker-cuda-v1.5", "vllm", None),
        (f"{DLC}/huggingface-vllm:0.25.1-transformers5.10.2-gpu-py312-cu130-ubuntu22.04", "vllm", "0.25.1"),
        (f"{DLC}/huggingface-vllm-omni:0.20.0-transformers5.8.1-gpu-py312-cu130-amzn2023", "vllm", "0.20.0"),
        ("vllm/vllm-openai:v0.32.0", "vllm", "0.32.0"),
        ("vllm/vllm-openai:latest", "vllm", None),
        (SGLANG, "sglang", "0.5.9"),
        (f"{DLC}/huggingface-sglang:0.5.8-transformers4.57.3-gpu-py312-cu129-ubuntu24.04", "sglang", "0.5.8"),
        (LMI, "lmi", "28.0.0"),
        (f"{DLC}/djl-inference:0.33.0-tensorrtllm0.21.0-cu128", "lmi", None),
        (TGI, "tgi", "3.3.6"),
        (TEI, "tei", "1.9.3"),
        (f"{DLC}/tei-cpu:2.0.1-tei1.8.2-cpu-py310-ubuntu22.04", "tei", "1.8.2"),
        ("registry.example:5000/team/vllm@sha256:" + "0" * 64, "vllm", None),
        ("registry.example:5000/vllm/our-server:1.0.0", None, None),
        (f"{DLC}/huggingface-pytorch-inference:2.6.0-transformers4.49.0-gpu-py312", None, None),
        ("", None, None),
    ],
)
def test_container_and_version(image: str, container: str | None, version: str | None) -> None:
    known = read(image)
    assert (known.get("container"), known.get("version")) == (container, version)


def test_a_copy_under_another_name_is_known_by_its_variables() -> None:
    settings = read_settings(Container("registry.example/our-llm:7", {"SM_VLLM_MAX_MODEL_LEN": "4096"}))
    assert settings.known() == {
        "container": Fact("vllm", "SM_VLLM_MAX_MODEL_LEN is set"),
        "context_length": Fact(4096, "SM_VLLM_MAX_MODEL_LEN=4096"),
    }
    assert read("registry.example/our-llm:7", OPTION_MAX_MODEL_LEN="4096", MAX_TOTAL_TOKENS="4096") == {}


def test_a_vllm() -> None:
    environment = {
        "SM_VLLM_MODEL": "Qwen/Qwen3-4B",
        "SM_VLLM_MAX_MODEL_LEN": "32768",
        "SM_VLLM_ENABLE_AUTO_TOOL_CHOICE": "true",
        "SM_VLLM_TOOL_CALL_PARSER": "hermes",
        "SM_VLLM_REASONING_PARSER": "qwen3",
        "SM_VLLM_ENABLE_LORA": "true",
        "SM_VLLM_API_KEY": "secret",
        "HF_TOKEN": "hf_secret",
    }
    container = Container(VLLM, environment)
    settings = read_settings(container)
    tools = "SM_VLLM_ENABLE_AUTO_TOOL_CHOICE=true, SM_VLLM_TOOL_CALL_PARSER=hermes"
    assert settings.known() == {
        "container": Fact("vllm", "image vllm"),
        "version": Fact("0.20.2", "image tag 0.20.2-gpu-py312-cu130-ubuntu22.04-sagemaker"),
        "model_id": Fact("Qwen/Qwen3-4B", "SM_VLLM_MODEL=Qwen/Qwen3-4B"),
        "mode": Fact("chat", "SM_VLLM_TOOL_CALL_PARSER=hermes"),
        "context_length": Fact(32768, "SM_VLLM_MAX_MODEL_LEN=32768"),
        "tool_calls": Fact(True, tools),
        "reasoning": Fact(True, "SM_VLLM_REASONING_PARSER=qwen3"),
        "structured_outputs": Fact(True, "vLLM takes response_format"),
        "lora": Fact(True, "SM_VLLM_ENABLE_LORA=true"),
    }
    assert settings.model_info() == {
        "mode": Fact("chat", "SM_VLLM_TOOL_CALL_PARSER=hermes"),
        "max_input_tokens": Fact(32768, "SM_VLLM_MAX_MODEL_LEN=32768"),
        "supports_function_calling": Fact(True, tools),
        "supports_tool_choice": Fact(True, tools),
        "supports_response_schema": Fact(True, "vLLM takes response_format"),
        "supports_reasoning": Fact(True, "SM_VLLM_REASONING_PARSER=qwen3"),
    }
    assert "secret" not in f"{settings!r} {container!r}"


@pytest.mark.parametrize(
    ("image", "environment", "known"),
    [
        # vLLM needs both for tools, and SGLang the parser alone.
        (VLLM, {"SM_VLLM_TOOL_CALL_PARSER": "hermes"}, {"mode": "chat", "structured_outputs": True}),
        (VLLM, {"SM_VLLM_ENABLE_AUTO_TOOL_CHOICE": "true"}, {}),
        (
            VLLM,
            {"SM_VLLM_TOOL_CALL_PARSER": "hermes", "SM_VLLM_ENABLE_AUTO_TOOL_CHOICE": ""},
            {"mode": "chat", "structured_outputs": True, "tool_calls": True},
        ),
        (
            VLLM,
            {"SM_VLLM_TOOL_CALL_PARSER": "hermes", "SM_VLLM_ENABLE_AUTO_TOOL_CHOICE": "false"},
            {"mode": "chat", "structured_outputs": True},
        ),
        (VLLM, {"SM_VLLM_TOOL_CALL_PARSER": "true", "SM_VLLM_ENABLE_AUTO_TOOL_CHOICE": "true"}, {}),
        (VLLM, {"SM_VLLM_REASONING_PARSER": ""}, {}),
        (
            SGLANG,
            {
                "SM_SGLANG_TOOL_CALL_PARSER": "qwen",
                "SM_SGLANG_REASONING_PARSER": "qwen3",
                "SM_SGLANG_CONTEXT_LENGTH": "65536",
                "SM_SGLANG_LORA_PATHS": "a=/opt/ml/model/a",
            },
            {
                "mode": "chat",
                "tool_calls": True,
                "reasoning": True,
                "structured_outputs": True,
                "context_length": 65536,
                "lora": True,
            },
        ),
        (
            SGLANG,
            {"SM_SGLANG_TOOL_CALL_PARSER": "qwen", "SM_SGLANG_GRAMMAR_BACKEND": "none"},
            {"mode": "chat", "tool_calls": True},
        ),
        (
            LMI,
            {
                "OPTION_ENABLE_AUTO_TOOL_CHOICE": "True",
                "OPTION_TOOL_CALL_PARSER": "hermes",
                "OPTION_REASONING_PARSER": "qwen3",
                "OPTION_MAX_MODEL_LEN": "16k",
                "OPTION_ENABLE_LORA": "1",
            },
            {"mode": "chat", "tool_calls": True, "reasoning": True, "context_length": 16000, "lora": True},
        ),
        (LMI, {"OPTION_TOOL_CALL_PARSER": "hermes", "OPTION_ENABLE_AUTO_TOOL_CHOICE": ""}, {"mode": "chat"}),
        (
            TGI,
            {"MAX_INPUT_TOKENS": "3000", "MAX_TOTAL_TOKENS": "4096", "LORA_ADAPTERS": "a/b"},
            {"mode": "chat", "longest_prompt": 3000, "context_length": 4096, "lora": True},
        ),
        (TGI, {"MAX_INPUT_LENGTH": "3000"}, {"mode": "chat", "longest_prompt": 3000}),
        (TGI, {"MAX_INPUT_LENGTH": "3000", "MAX_INPUT_TOKENS": "3000"}, {"mode": "chat"}),  # it does not start
        (TEI, {"MAX_BATCH_TOKENS": "16384"}, {"mode": "embedding"}),  # of a batch, not of an input
        # Of another server.
        (VLLM, {"SM_SGLANG_CONTEXT_LENGTH": "1", "OPTION_MAX_MODEL_LEN": "1", "MAX_TOTAL_TOKENS": "1"}, {}),
    ],
)
def test_settings_of_each_kind(image: str, environment: dict[str, str], known: dict[str, Any]) -> None:
    found = read(image, **environment)
    assert {name: value for name, value in found.items() if name not in ("container", "version")} == known


@pytest.mark.parametrize(
    ("image", "environment", "mode"),
    [
        (VLLM, {}, None),  # vLLM decides by the model
        (VLLM, {"SM_VLLM_TASK": "embed"}, "embedding"),
        (VLLM, {"SM_VLLM_TASK": "auto"}, None),
        (VLLM, {"SM_VLLM_TASK": "generate"}, "chat"),
        (VLLM, {"SM_VLLM_RUNNER": "generate"}, "chat"),
        (VLLM, {"SM_VLLM_RUNNER": "pooling"}, "embedding"),
        (VLLM, {"SM_VLLM_CONVERT": "embed"}, "embedding"),
        (VLLM, {"SM_VLLM_CONVERT": "embed", "SM_VLLM_RUNNER": "pooling"}, "embedding"),
        (VLLM, {"SM_VLLM_CONVERT": "classify", "SM_VLLM_RUNNER": "pooling"}, None),
        (VLLM, {"SM_VLLM_RUNNER": "pooling", "SM_VLLM_TOOL_CALL_PARSER": "hermes"}, "embedding"),
        (VLLM, {"HF_TASK": "feature-extraction"}, None),  # vLLM does not read it
        (SGLANG, {"SM_SGLANG_IS_EMBEDDING": "true"}, "embedding"),
        (SGLANG, {"SM_SGLANG_IS_EMBEDDING": "false"}, None),
        (LMI, {"OPTION_TASK": "text-embedding"}, "embedding"),
        (LMI, {"OPTION_TASK": "text-generation"}, "chat"),
        (LMI, {"HF_TASK": "feature-extraction"}, "embedding"),
        (LMI, {"OPTION_TASK": "classify"}, None),
        (TGI, {"HF_TASK": "text-generation"}, "chat"),
        (TEI, {"HF_TASK": "feature-extraction"}, "embedding"),
        ("huggingface-pytorch-inference:2.6.0", {"HF_TASK": "feature-extraction"}, "embedding"),
        ("huggingface-pytorch-inference:2.6.0", {"HF_TASK": "text-generation"}, None),  # it serves no chats
    ],
)
def test_chat_or_embeddings(image: str, environment: dict[str, str], mode: str | None) -> None:
    known = read(image, **environment)
    assert known.get("mode") == mode
    if mode != "chat":
        assert not {"tool_calls", "reasoning", "structured_outputs"} & set(known)


@pytest.mark.parametrize(
    ("image", "artifact", "environment", "model_id"),
    [
        (VLLM, None, {"SM_VLLM_MODEL": "a/b", "HF_MODEL_ID": "c/d"}, "a/b"),
        (VLLM, None, {"HF_MODEL_ID": "c/d"}, "c/d"),
        (VLLM, "s3://bucket/model/", {"HF_MODEL_ID": "c/d"}, "s3://bucket/model/"),
        (VLLM, "s3://bucket/model/", {"SM_VLLM_MODEL": "/opt/ml/model"}, "s3://bucket/model/"),
        (VLLM, None, {"SM_VLLM_MODEL": "/opt/ml/model"}, None),
        (SGLANG, None, {"SM_SGLANG_MODEL_PATH": "a/b", "HF_MODEL_ID": "c/d"}, "a/b"),
        (SGLANG, None, {"HF_MODEL_ID": "c/d"}, None),
        (SGLANG, "s3://bucket/model.tar.gz", {}, "s3://bucket/model.tar.gz"),
        (LMI, None, {"HF_MODEL_ID": "a/b", "OPTION_MODEL_ID": "c/d"}, "a/b"),
        (LMI, None, {"OPTION_MODEL_ID": "s3://bucket/model/"}, "s3://bucket/model/"),
        (TGI, None, {"HF_MODEL_ID": "a/b"}, "a/b"),
        (TEI, "s3://bucket/model/", {"HF_MODEL_ID": "/opt/ml/model"}, "s3://bucket/model/"),
        ("our-server:1", None, {"HF_MODEL_ID": "a/b"}, "a/b"),
    ],
)
def test_model_id(image: str, artifact: str | None, environment: dict[str, str], model_id: str | None) -> None:
    assert read(image, artifact, **environment).get("model_id") == model_id


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("32768", 32768),
        (" 32768\n", 32768),
        ("+1", 1),
        ("32k", 32000),
        ("32K", 32768),
        ("25.6k", 25600),
        ("1m", 10**6),
        ("1M", 2**20),
        ("1.5K", None),  # vLLM refuses it
        ("-1", None),
        ("auto", None),
        ("", None),
        ("32 k", None),
        ("32,768", None),
        ("32kb", None),
        ("1e4", None),
        ("0x10", None),
        ("9" * 5000, None),
        ("9" * 400 + "k", None),
        ("٣٢", None),
    ],
)
def test_numbers_of_tokens(text: str, count: int | None) -> None:
    assert token_count(text, suffixes=True) == count
    plain = count if text.strip().lstrip("+").isdecimal() else None
    assert token_count(text, suffixes=False) == plain


@pytest.mark.parametrize("number", ["0", "-1", "many", "32k", "1000000000"])
def test_what_is_no_number_is_not_claimed(number: str) -> None:
    assert "context_length" not in read(SGLANG, SM_SGLANG_CONTEXT_LENGTH=number)


def test_what_is_not_known_of_the_environment() -> None:
    assert values_of(read_settings(Container(VLLM)).known()) == {"container": "vllm", "version": "0.20.2"}
    assert values_of(read_settings(Container(TEI)).known())["mode"] == "embedding"
    assert read_settings(Container(None)) == ModelSettings()


def test_several_agree_or_nothing_is_claimed() -> None:
    environment = {"SM_VLLM_MAX_MODEL_LEN": "32768", "SM_VLLM_MODEL": "a/b"}
    one = read_settings(Container(VLLM, environment))
    same = read_settings(Container(VLLM, {**environment, "SM_VLLM_MAX_MODEL_LEN": "32K"}))
    shorter = read_settings(Container(VLLM, {**environment, "SM_VLLM_MAX_MODEL_LEN": "8192"}))
    assert agreed([one]) == one
    assert agreed([one, same]) == one
    assert set(one.known()) - set(agreed([one, shorter]).known()) == {"context_length"}
    assert agreed([one, ModelSettings()]) == agreed([]) == ModelSettings()


def test_a_value_cannot_leave_its_line() -> None:
    """Whoever may deploy a model may not write a proxy's configuration, nor to an operator's terminal."""
    source = read_settings(
        Container(VLLM, {"SM_VLLM_REASONING_PARSER": "x\n  mode: y\x1b[2J\u2028z\x85" + "w" * 999})
    ).mode
    assert source is not None
    assert source.source.startswith("SM_VLLM_REASONING_PARSER=x mode: y[2J z www")
    assert (len(source.source), len(source.source.splitlines())) == (201, 1)


def test_tensorrt_in_lmi_reads_none_of_vllms() -> None:
    variables = {"HF_MODEL_ID": "a/b", "OPTION_MAX_MODEL_LEN": "32768", "OPTION_REASONING_PARSER": "qwen3"}
    assert read(f"{DLC}/djl-inference:0.33.0-tensorrtllm0.21.0-cu128", **variables) == {
        "container": "lmi",
        "model_id": "a/b",
    }
    assert "context_length" not in read(LMI, **variables, OPTION_ROLLING_BATCH="trtllm")
    assert read(LMI, **variables, OPTION_ROLLING_BATCH="vllm")["context_length"] == 32768


def test_an_own_image_with_the_variables_of_both() -> None:
    assert read("team/server:1", SM_VLLM_MAX_MODEL_LEN="8192", SM_SGLANG_CONTEXT_LENGTH="4096") == {}


def test_a_prompt_that_leaves_no_room_for_an_answer() -> None:
    limits = {"MAX_TOTAL_TOKENS": "4096", "MAX_INPUT_TOKENS": "4096"}
    assert "longest_prompt" not in read(TGI, **limits)
    assert read(TGI, **{**limits, "MAX_INPUT_TOKENS": "4095"})["longest_prompt"] == 4095
