"""LiteLLM's custom handler: each method names its operation and hands over.

The one room that knows LiteLLM's handler signature. Nothing imports it but the package's front door.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Mapping
from typing import Any

from litellm import CustomLLM, CustomStreamWrapper, EmbeddingResponse, ModelResponse
from litellm.types.utils import ModelResponseStream

from litellm_sagemaker_openai import execution
from litellm_sagemaker_openai.errors import bad_request
from litellm_sagemaker_openai.litellm_seams import (
    callback,
    model_listing,
    name_rules,
    reasoning_effort,
    response_cache,
    stream_opening,
    stream_wrapper,
)
from litellm_sagemaker_openai.litellm_seams import text_completions as text_completions_seam
from litellm_sagemaker_openai.litellm_seams.callback_view import keep_secrets_out
from litellm_sagemaker_openai.litellm_seams.model_info import register_models
from litellm_sagemaker_openai.litellm_seams.registration import add_provider
from litellm_sagemaker_openai.litellm_version import too_old
from litellm_sagemaker_openai.operations.chat import chat
from litellm_sagemaker_openai.operations.embeddings import embeddings
from litellm_sagemaker_openai.operations.invoked_chat import invoked_chat
from litellm_sagemaker_openai.operations.operation import Operation
from litellm_sagemaker_openai.operations.text_completions import text_completions
from litellm_sagemaker_openai.operator_log import operator_log
from litellm_sagemaker_openai.options import QUEUED_CHAT, chat_kind
from litellm_sagemaker_openai.preparation import prepare
from litellm_sagemaker_openai.reranking import prepare_litellms

_NOT_SERVED = "sagemaker_openai/ serves chat, text completions, embeddings and rerank, and no images"

_CHATS: Mapping[str, Operation] = {each.name: each for each in (chat, invoked_chat)}


def _completion(call: Mapping[str, Any], parameters: Mapping[str, Any]) -> Operation:
    """LiteLLM asks for text completions by the same method."""
    if _is_text_completion(call):
        return text_completions
    kind = chat_kind(parameters)
    if kind == QUEUED_CHAT:
        from litellm_sagemaker_openai.operations.queued_inference.operation import queued_chat  # imports botocore

        return queued_chat
    return _CHATS[kind]


def _embeddings(_: Mapping[str, Any], __: Mapping[str, Any]) -> Operation:
    return embeddings


def _is_text_completion(call: Mapping[str, Any]) -> bool:
    return bool((call.get("litellm_params") or {}).get("text_completion"))


def _keep_no_text_as_a_chat(call: Mapping[str, Any]) -> None:
    if _is_text_completion(call):
        response_cache.keep_no_chat(call["logging_obj"])


class SageMakerOpenAI(CustomLLM):
    """The provider ``sagemaker_openai/<endpoint>[/<inference component>]``.

    It keeps no state of a call's. LiteLLM calls its methods with keywords; docs/parameters.md has the parameters.
    Each method raises LiteLLM's exceptions.
    """

    def completion(self, *_: Any, **call: Any) -> ModelResponse:
        """A whole answer."""
        response_cache.install(call["logging_obj"])
        _keep_no_text_as_a_chat(call)
        response: ModelResponse = execution.complete(prepare(_completion, call))
        return response

    def acompletion(self, *_: Any, **call: Any) -> Coroutine[Any, Any, ModelResponse | CustomStreamWrapper]:
        """A whole answer, or a stream where ``stream_opening`` asks for one, without blocking the event loop.

        Not a coroutine function: LiteLLM calls it in a worker thread and awaits what it returns in the event loop,
        so that what may read files, such as the runtime's URL, happens in the thread.
        """
        if stream_opening.is_flagged(call.get("optional_params") or {}):
            streamed = prepare(_completion, call, stream=True, is_async=True)
            return _LazyCoroutine(lambda: execution.open_wrapped_stream(streamed))
        whole = prepare(_completion, call, is_async=True)
        return _LazyCoroutine(lambda: execution.complete_async(whole))

    def streaming(self, *_: Any, **call: Any) -> Iterator[ModelResponseStream]:  # type: ignore[override]
        """An answer as it comes. What fails before the first chunk is raised before this returns."""
        response_cache.install(call["logging_obj"])
        _keep_no_text_as_a_chat(call)
        return execution.open_stream(prepare(_completion, call, stream=True))

    def astreaming(self, *_: Any, **call: Any) -> AsyncIterator[ModelResponseStream]:  # type: ignore[override]
        """An answer as it comes, without blocking the event loop. The connection opens with the first read.

        LiteLLM asks this way where ``stream_opening`` keeps out of a call.
        """
        _install()  # a proxy config, or an application, may have replaced LiteLLM's list of callbacks
        _keep_no_text_as_a_chat(call)
        return execution.stream_lazily(prepare(_completion, call, stream=True, is_async=True))

    def embedding(self, *_: Any, **call: Any) -> EmbeddingResponse:
        """The embeddings of a text or of several."""
        response_cache.install(call["logging_obj"])
        keep_secrets_out(call["logging_obj"])
        response: EmbeddingResponse = execution.complete(prepare(_embeddings, call))
        return response

    def aembedding(self, *_: Any, **call: Any) -> Coroutine[Any, Any, EmbeddingResponse]:
        """The embeddings of a text or of several, without blocking the event loop. Called as ``acompletion`` is."""
        _install()
        keep_secrets_out(call["logging_obj"])
        prepared = prepare(_embeddings, call, is_async=True)
        return _LazyCoroutine(lambda: execution.complete_async(prepared))

    def image_generation(self, *_: Any, **call: Any) -> Any:
        """Refused, as the other operations are that LiteLLM asks of a custom provider: they would come back as 500, and
        be tried again."""
        raise bad_request(ValueError(_NOT_SERVED), model=call["model"])

    aimage_generation = image_edit = aimage_edit = image_generation


def _install() -> None:
    stream_opening.install()
    callback.install(prepare_litellms)
    response_cache.install()
    stream_wrapper.install()
    reasoning_effort.install()
    model_listing.install()
    name_rules.install()
    text_completions_seam.install()


sagemaker_openai = SageMakerOpenAI()
# Here, for the proxy, which imports the handler and calls nothing else.
_install()
if (warning := too_old()) is not None:
    operator_log.warning("%s", warning)


def register(*, models: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Add the provider to LiteLLM, for ``litellm.completion(model="sagemaker_openai/…")``. Idempotent.

    Args:
        models: what models can do and cost, by the name that LiteLLM takes as model, with or without
            ``sagemaker_openai/``; each as LiteLLM's ``model_info``: ``{"my-endpoint": {"supports_function_calling":
            True, "max_input_tokens": 32768}}``, or ``{"my-endpoint": describe("my-endpoint").model_info()}``.
            LiteLLM answers ``supports_function_calling``, ``get_model_info``, ``completion_cost`` and the like by it,
            and frameworks ask that. What a further call states is added.

    Raises:
        ValueError: a name that LiteLLM does not know, or a value that it cannot have. No model is registered then.
    """
    _install()
    add_provider(sagemaker_openai)
    if models:
        register_models(models)


class _LazyCoroutine(Coroutine[Any, Any, Any]):
    """A coroutine that is made when it is first awaited.

    LiteLLM drops what ``acompletion`` returned where the caller left meanwhile, and Python would warn that a coroutine
    "was never awaited". ``asyncio.iscoroutine``, by which LiteLLM tells that it is to be awaited, knows this one too.
    """

    def __init__(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._make = make
        self._made: Coroutine[Any, Any, Any] | None = None

    def _started(self) -> Coroutine[Any, Any, Any]:
        self._made = self._made or self._make()
        return self._made

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._started().__await__()

    def send(self, value: Any) -> Any:
        return self._started().send(value)

    def throw(self, *error: Any) -> Any:
        return self._started().throw(*error)

    def close(self) -> None:
        if self._made is not None:
            self._made.close()
