"""A container's image and environment variables → what the model server in it is set to. Pure.

Only the variables that are read here are ever shown: others hold secrets, such as ``HF_TOKEN``. What a container does
with them is from its own sources, of 2026-08 for AWS's:

- vLLM, SGLang (github.com/aws/deep-learning-containers, scripts/docker/{vllm,sglang}/sagemaker_entrypoint.sh and
  sagemaker_args.py): ``SM_VLLM_SOME_NAME=x`` is ``--some-name x``. ``true`` and nothing are a flag without a value,
  ``false`` leaves it out.
- LMI (github.com/deepjavalibrary/djl-serving, ModelInfo.java and vllm_rb_properties.py): ``OPTION_SOME_NAME=x`` is
  ``option.some_name``, and vLLM's argument of that name. Empty ones are left out. A ``serving.properties`` among the
  model's files goes before; it cannot be seen from here. With TensorRT-LLM it reads none of vLLM's (trt_properties.py).
- TGI and TEI (github.com/huggingface, launcher/src/main.rs and router/src/main.rs): each argument is a variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

from litellm_sagemaker_openai.capabilities import Fact, Facts

# The last part of an image's name → the kind. AWS's, as docs/src/data and docker/ in aws/deep-learning-containers have
# them, and the makers' own.
_KINDS = {
    **dict.fromkeys(("vllm", "huggingface-vllm", "huggingface-vllm-omni", "vllm-openai"), "vllm"),
    **dict.fromkeys(("sglang", "huggingface-sglang"), "sglang"),
    **dict.fromkeys(("djl-inference", "djl-serving"), "lmi"),
    **dict.fromkeys(("huggingface-pytorch-tgi-inference", "text-generation-inference"), "tgi"),
    **dict.fromkeys(("tei", "tei-cpu", "text-embeddings-inference"), "tei"),
}
_PREFIXES = {"vllm": "SM_VLLM_", "sglang": "SM_SGLANG_", "lmi": "OPTION_"}
_SPECIFIC_PREFIXES = ("SM_VLLM_", "SM_SGLANG_")  # nothing else reads them, whatever the image is called
_VLLM_IN_LMI = frozenset(
    f"OPTION_{option}"
    for option in ("MAX_MODEL_LEN", "ENABLE_AUTO_TOOL_CHOICE", "TOOL_CALL_PARSER", "REASONING_PARSER", "ENABLE_LORA")
)
# Tags: 0.20.2-gpu-py312-…; 0.36.0-lmi28.0.0-cu130; 2.7.0-tgi3.3.6-gpu-…; 2.0.1-tei1.9.3-gpu-…
_VERSION = r"(\d+\.\d+[\w.]*)"
_VERSIONS = {"vllm": rf"v?{_VERSION}", "sglang": rf"v?{_VERSION}"}

# What a model is started for → LiteLLM's mode. vLLM's --task (older ones), --runner and --convert; LMI's option.task;
# Hugging Face's names of tasks. "pooling" may also be a reranker, which LiteLLM cannot call at a custom provider.
_MODES = {
    **dict.fromkeys(("embed", "embedding", "pooling", "text-embedding"), "embedding"),
    **dict.fromkeys(("feature-extraction", "sentence-similarity"), "embedding"),
    **dict.fromkeys(("generate", "text-generation"), "chat"),
}
_UNDECIDED = ("", "auto", "none")
_PYDANTIC_TRUE = ("1", "on", "t", "true", "y", "yes")  # LMI reads its own options with pydantic

_MODEL_DIRECTORY = "/opt/ml/model"  # where SageMaker puts the model's files
_BEYOND_ANY_CONTEXT = 10**9  # tokens
_SUFFIXES = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True, slots=True)
class Container:
    """A container as it was specified.

    Attributes:
        image: its URI. None: not known.
        environment: its variables. None: not known.
        artifact: the URI of the model's files in S3, if there are any.
    """

    image: str | None
    environment: Mapping[str, str] | None = field(default=None, repr=False)
    artifact: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """What a model is deployed with. None: not known.

    Attributes:
        container: ``vllm``, ``sglang``, ``lmi``, ``tgi`` or ``tei``.
        version: the container's, from the image's tag; of an LMI container, LMI's.
        model_id: a Hugging Face id, or the URI of the model's files in S3.
        mode: ``chat`` or ``embedding``.
        context_length: prompt and answer together, in tokens.
        longest_prompt: in tokens, where that is limited by itself, as in TGI.
        tool_calls: ``True`` where tools can be given and the answer has ``tool_calls``.
        reasoning: ``True`` where reasoning is told from the answer.
        structured_outputs: ``True`` where ``response_format`` with a schema is kept.
        lora: ``True`` where LoRA adapters can be loaded.
        routing: SageMaker's RoutingStrategy for the instances, such as ``PREFIX_AWARE``.
        prefix_length: its PrefixLength, with ``PREFIX_AWARE``.
        concurrency_threshold: its ConcurrencyThreshold, with ``PREFIX_AWARE``.
    """

    container: Fact | None = None
    version: Fact | None = None
    model_id: Fact | None = None
    mode: Fact | None = None
    context_length: Fact | None = None
    longest_prompt: Fact | None = None
    tool_calls: Fact | None = None
    reasoning: Fact | None = None
    structured_outputs: Fact | None = None
    lora: Fact | None = None
    routing: Fact | None = None
    prefix_length: Fact | None = None
    concurrency_threshold: Fact | None = None

    def known(self) -> dict[str, Fact]:
        """What is known, by the attributes' names."""
        values = {each.name: getattr(self, each.name) for each in fields(ModelSettings)}
        return {name: value for name, value in values.items() if value is not None}

    def model_info(self) -> Facts:
        """The part that LiteLLM has names for.

        The context length is LiteLLM's ``max_input_tokens``. ``max_output_tokens`` and ``max_tokens`` are not there:
        no setting limits the answer, and clients that read them ask for that many tokens in each call (OpenHands, its
        llm.py of 2026). Of the whole context, vLLM says "'max_tokens' or 'max_completion_tokens' is too large".
        """
        facts = {
            "mode": self.mode,
            "max_input_tokens": self.longest_prompt or self.context_length,
            "supports_function_calling": self.tool_calls,
            "supports_tool_choice": self.tool_calls,
            "supports_response_schema": self.structured_outputs,
            "supports_reasoning": self.reasoning,
        }
        return {name: fact for name, fact in facts.items() if fact is not None}


def agreed(settings: Iterable[ModelSettings]) -> ModelSettings:
    """What holds for each of them: of several variants or instance types, any may answer a call."""
    every = list(settings)
    found: dict[str, Fact] = {}
    for name, fact in (every[0].known() if every else {}).items():
        others = [each.known().get(name) for each in every[1:]]
        if all(other is not None and other.value == fact.value for other in others):
            found[name] = fact
    return ModelSettings(**found)


def read_settings(container: Container) -> ModelSettings:
    """What a container is set to. What is malformed, so that the server would not start with it, is not claimed."""
    variables = container.environment or {}
    kind = _kind(container.image or "", variables)
    read = _Variables("" if kind is None else str(kind.value), variables)
    if read.kind == "lmi" and _has_tensorrt(container.image or "", variables):
        read = _Variables(read.kind, {name: value for name, value in variables.items() if name not in _VLLM_IN_LMI})
    mode = read.mode()
    chats = mode is not None and mode.value == "chat"
    return ModelSettings(
        container=kind,
        version=_version(read.kind, container.image or ""),
        model_id=read.model_id(container.artifact) if container.environment is not None else None,
        mode=mode,
        context_length=read.context_length(),
        longest_prompt=read.longest_prompt(),
        tool_calls=read.tool_calls() if chats else None,
        reasoning=read.reasoning() if chats else None,
        structured_outputs=read.structured_outputs() if chats else None,
        lora=read.lora(),
    )


def _kind(image: str, variables: Mapping[str, str]) -> Fact | None:
    name, _ = _name_and_tag(image)
    if name in _KINDS:
        return Fact(_KINDS[name], f"image {name}")
    set_for = {
        kind: Fact(kind, f"{variable} is set")
        for kind, prefix in _PREFIXES.items()
        for variable in sorted(variables, reverse=True)
        if prefix in _SPECIFIC_PREFIXES and variable.startswith(prefix)
    }
    return next(iter(set_for.values())) if len(set_for) == 1 else None  # for both of them: it may be either


def _has_tensorrt(image: str, variables: Mapping[str, str]) -> bool:
    _, tag = _name_and_tag(image)
    return "tensorrtllm" in tag or variables.get("OPTION_ROLLING_BATCH", "").strip().lower() == "trtllm"


def _version(kind: str, image: str) -> Fact | None:
    _, tag = _name_and_tag(image)
    match = re.match(_VERSIONS.get(kind, rf"(?:.*-)?{kind}{_VERSION}"), tag) if kind else None
    return Fact(match[1], f"image tag {tag}") if match else None


def _name_and_tag(image: str) -> tuple[str, str]:
    """``registry:5000/team/vllm:0.20.2-gpu@sha256:…`` → ``vllm``, ``0.20.2-gpu``."""
    name, _, tag = image.partition("@")[0].rpartition("/")[2].partition(":")
    return name, tag


@dataclass(frozen=True, slots=True)
class _Variables:
    """A container's environment, as a server of that kind reads it."""

    kind: str
    values: Mapping[str, str] = field(repr=False)

    def mode(self) -> Fact | None:
        said = [each for each in self._mode_variables() if self.values[each].lower() not in _UNDECIDED]
        modes = {_MODES.get(self.values[each].lower()) for each in said}
        if len(modes) == 1 and (mode := modes.pop()) and (self.kind or mode == "embedding"):
            return Fact(mode, self._shown(said[0]))
        if said and self.kind:  # two that disagree, or something else, such as a classifier
            return None
        if self.kind == "tei":
            return Fact("embedding", "TEI makes embeddings")
        if self._is_on("IS_EMBEDDING") and self.kind == "sglang":
            return Fact("embedding", self._shown("SM_SGLANG_IS_EMBEDDING"))
        if self.kind == "tgi":
            return Fact("chat", "TGI generates text")
        parser = self._parser("TOOL_CALL_PARSER") or self._parser("REASONING_PARSER")
        return Fact("chat", self._shown(parser)) if parser else None

    def _mode_variables(self) -> list[str]:
        """Those that are set and say what the model is started for."""
        names = [*(f"{_PREFIXES[self.kind]}{each}" for each in ("TASK", "CONVERT", "RUNNER"))] if self._is_vllm else []
        return [
            name for name in (*names, *(() if self.kind in ("vllm", "sglang") else ("HF_TASK",))) if name in self.values
        ]

    @property
    def _is_vllm(self) -> bool:
        return self.kind in ("vllm", "lmi")

    def model_id(self, artifact: str | None) -> Fact | None:
        """The first that is set, in the containers' own order; the files in S3 where that is their directory."""
        files = Fact(artifact, "the model's files") if artifact else None
        own = {
            "vllm": ("SM_VLLM_MODEL",),
            "sglang": ("SM_SGLANG_MODEL_PATH", "SM_SGLANG_MODEL"),
            "lmi": ("HF_MODEL_ID", "OPTION_MODEL_ID"),
        }.get(self.kind, ("HF_MODEL_ID",))
        name = next((each for each in own if self.values.get(each)), None)
        if name is None and self.kind == "vllm" and files is None and self.values.get("HF_MODEL_ID"):
            name = "HF_MODEL_ID"
        if name is None or self.values[name].startswith(_MODEL_DIRECTORY):
            return files
        return Fact(self.values[name], self._shown(name))

    def context_length(self) -> Fact | None:
        if self._is_vllm:
            return self._number(f"{_PREFIXES[self.kind]}MAX_MODEL_LEN", suffixes=True)
        name = {"sglang": "SM_SGLANG_CONTEXT_LENGTH", "tgi": "MAX_TOTAL_TOKENS"}.get(self.kind)
        return self._number(name) if name else None

    def longest_prompt(self) -> Fact | None:
        """TGI refuses to start with both of its names for it, and where it leaves no room for an answer."""
        names = [each for each in ("MAX_INPUT_TOKENS", "MAX_INPUT_LENGTH") if each in self.values]
        longest = self._number(names[0]) if self.kind == "tgi" and len(names) == 1 else None
        context = self.context_length()
        leaves_none = longest and context and int(str(longest.value)) >= int(str(context.value))
        return None if leaves_none else longest

    def tool_calls(self) -> Fact | None:
        parser = self._parser("TOOL_CALL_PARSER")
        if parser is None:
            return None
        if not self._is_vllm:
            return Fact(True, self._shown(parser))
        switch = self._is_on("ENABLE_AUTO_TOOL_CHOICE")
        return Fact(True, f"{self._shown(switch)}, {self._shown(parser)}") if switch else None

    def reasoning(self) -> Fact | None:
        parser = self._parser("REASONING_PARSER")
        return Fact(True, self._shown(parser)) if parser else None

    def structured_outputs(self) -> Fact | None:
        """vLLM and SGLang keep a schema without being told to: tests/wire/vllm/json_schema.http is of a vLLM 0.32 that
        was not, and SGLang's --grammar-backend is xgrammar by default (its server_args.py); "none" switches it off."""
        if self.kind == "vllm":
            return Fact(True, "vLLM takes response_format")
        if self.kind == "sglang" and self.values.get("SM_SGLANG_GRAMMAR_BACKEND", "").lower() != "none":
            return Fact(True, "SGLang takes response_format")
        return None

    def lora(self) -> Fact | None:
        name = self._is_on("ENABLE_LORA")
        if name is None:
            implied = {"sglang": "SM_SGLANG_LORA_PATHS", "tgi": "LORA_ADAPTERS"}.get(self.kind, "")
            name = implied if self.values.get(implied) else None
        return Fact(True, self._shown(name)) if name else None

    def _is_on(self, option: str) -> str | None:
        """The variable's name where it switches the option on."""
        name = f"{_PREFIXES.get(self.kind, '')}{option}"
        value = self.values.get(name, "false").strip().lower()
        on = value in _PYDANTIC_TRUE if self.kind == "lmi" else value in ("true", "")
        return name if on and self.kind in _PREFIXES else None

    def _parser(self, option: str) -> str | None:
        """The variable's name where it names a parser."""
        name = f"{_PREFIXES.get(self.kind, '')}{option}"
        value = self.values.get(name, "").strip().lower()
        return name if value not in ("", "true", "false") and self.kind in _PREFIXES else None

    def _number(self, name: str, *, suffixes: bool = False) -> Fact | None:
        number = token_count(self.values.get(name, ""), suffixes=suffixes)
        return Fact(number, self._shown(name)) if number else None

    def _shown(self, name: str) -> str:
        return f"{name}={self.values[name]}"


def token_count(text: str, *, suffixes: bool) -> int | None:
    """A number of tokens as the servers read it; None where it is not one that a context can have, or -1 or ``auto``:
    the server's own choice.

    Args:
        text: such as ``32768``.
        suffixes: vLLM's ``32k`` is 32,000, ``32K`` is 32,768, and ``25.6k`` is 25,600 (human_readable_int in its
            engine/arg_utils.py; of these, decimals are for the small letters only).
    """
    match = re.fullmatch(r"\s*\+?(\d{1,12})(?:(\.\d{1,12})?([kmgt])|([KMGT]))?\s*", text, re.ASCII)
    if match is None or (not suffixes and not text.strip().lstrip("+").isdecimal()):
        return None
    whole, decimals, small, large = match.groups()
    count = int(float(whole + (decimals or "")) * _SUFFIXES[small]) if small else int(whole) * _SUFFIXES.get(large, 1)
    return count if 0 < count < _BEYOND_ANY_CONTEXT else None
