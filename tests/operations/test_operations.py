"""What LiteLLM may ask of a custom provider and this one does not serve: said so, once, and nothing is sent."""

from __future__ import annotations

import io
from typing import Any

import litellm
import pytest
from litellm import CustomLLM

from litellm_sagemaker_openai import SageMakerOpenAI
from tests.conftest import Upstream
from tests.scripted import json_answer

MODEL = "sagemaker_openai/my-endpoint"
SAYS = "sagemaker_openai/ serves chat, text completions, embeddings and rerank, and no images"


def picture() -> io.BytesIO:
    image = io.BytesIO(b"not looked at")
    image.name = "cat.png"
    return image


async def call(operation: str, on: Any = litellm, model: str = MODEL) -> None:
    edit = {"image": picture()} if operation.endswith("edit") else {}
    answer = getattr(on, operation)(model=model, prompt="A cat", **edit)
    if operation.startswith("a"):
        await answer


@pytest.mark.parametrize("operation", ["image_generation", "aimage_generation", "image_edit", "aimage_edit"])
async def test_images(upstream: Upstream, operation: str) -> None:
    server = upstream(json_answer({}))
    with pytest.raises(litellm.BadRequestError, match=SAYS) as refused:
        await call(operation)
    assert (refused.value.status_code, refused.value.llm_provider) == (400, "sagemaker_openai")
    assert server.seen == []


@pytest.mark.parametrize("operation", ["image_generation", "aimage_generation", "aimage_edit"])
async def test_a_router_does_not_try_again(router_of: Any, monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    router = router_of({"model_name": "m", "litellm_params": {"model": MODEL}}, num_retries=3)
    tries: list[str] = []
    method = getattr(SageMakerOpenAI, operation)

    def counted(*given: Any, **asked: Any) -> Any:
        tries.append(asked["model"])
        return method(*given, **asked)

    monkeypatch.setattr(SageMakerOpenAI, operation, counted)
    with pytest.raises(litellm.BadRequestError, match=SAYS):
        await call(operation, router, "m")
    assert tries == ["my-endpoint"]


def test_there_is_no_other_operation_that_litellm_would_ask_for() -> None:
    asked = {name for name in vars(CustomLLM) if not name.startswith("_")}
    assert asked <= set(vars(SageMakerOpenAI))
