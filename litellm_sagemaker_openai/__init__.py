"""LiteLLM provider for the models on your own Amazon SageMaker AI endpoints, over ``/openai/v1``.

``register()`` adds the provider ``sagemaker_openai/`` to LiteLLM; a proxy config names ``sagemaker_openai`` as its
``custom_handler``. ``generate_token`` and ``SageMakerAuth`` serve other clients, and ``describe`` says how a model is
deployed; they do not import LiteLLM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litellm_sagemaker_openai._version import __version__

if TYPE_CHECKING:
    from litellm_sagemaker_openai.aws.auth import SageMakerAuth, generate_token
    from litellm_sagemaker_openai.aws.credentials import CredentialsError
    from litellm_sagemaker_openai.aws.description import Description, describe
    from litellm_sagemaker_openai.litellm_seams.fallbacks import no_fallback_on_bad_request
    from litellm_sagemaker_openai.litellm_seams.metrics_callback import metrics
    from litellm_sagemaker_openai.operations.queued_inference.results import (
        AsyncResultNotReady,
        afetch_async_result,
        fetch_async_result,
    )
    from litellm_sagemaker_openai.provider import SageMakerOpenAI, register, sagemaker_openai
    from litellm_sagemaker_openai.reranking import arerank, rerank
    from litellm_sagemaker_openai.sessions import Session, aclose_session, aopen_session, close_session, open_session

__all__ = [
    "AsyncResultNotReady",
    "CredentialsError",
    "Description",
    "SageMakerAuth",
    "SageMakerOpenAI",
    "Session",
    "__version__",
    "aclose_session",
    "afetch_async_result",
    "aopen_session",
    "arerank",
    "close_session",
    "describe",
    "fetch_async_result",
    "generate_token",
    "metrics",
    "no_fallback_on_bad_request",
    "open_session",
    "register",
    "rerank",
    "sagemaker_openai",
]

# Loaded when first used (PEP 562): `import litellm_sagemaker_openai` loads neither LiteLLM nor botocore.
_LAZY_EXPORTS = {
    "AsyncResultNotReady": "operations.queued_inference.results",
    "CredentialsError": "aws.credentials",
    "Description": "aws.description",
    "SageMakerAuth": "aws.auth",
    "SageMakerOpenAI": "provider",
    "Session": "sessions",
    "aclose_session": "sessions",
    "afetch_async_result": "operations.queued_inference.results",
    "arerank": "reranking",
    "aopen_session": "sessions",
    "close_session": "sessions",
    "describe": "aws.description",
    "fetch_async_result": "operations.queued_inference.results",
    "generate_token": "aws.auth",
    "metrics": "litellm_seams.metrics_callback",
    "no_fallback_on_bad_request": "litellm_seams.fallbacks",
    "open_session": "sessions",
    "register": "provider",
    "rerank": "reranking",
    "sagemaker_openai": "provider",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY_EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module = _LAZY_EXPORTS[name]
    try:
        value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    except (AttributeError, ImportError) as error:
        if module.startswith("aws."):  # imports no LiteLLM
            raise
        from litellm_sagemaker_openai.litellm_version import import_failure

        raise import_failure(name, error) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
