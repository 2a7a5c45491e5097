"""The proxy, started once, and what its clients' tests compare with."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from examples.demo import CONFIG, RUNTIME, litellm_proxy
from litellm_sagemaker_openai.local import echo
from litellm_sagemaker_openai.local.runtime import Received
from litellm_sagemaker_openai.local.server import running

NOWHERE = "http://127.0.0.1:9"  # Bedrock's place: nothing here may end there
ECHO = "Echo container, not a model. You said: "
CHAT_PATH = "/endpoints/my-endpoint/openai/v1/chat/completions"
REVIEWER_PATH = "/endpoints/my-gpus/inference-components/reviewer/openai/v1/chat/completions"


@dataclass(frozen=True)
class Proxied:
    """The proxy that clients call, and the requests that reached SageMaker behind it."""

    url: str
    key: str = field(repr=False)
    received: deque[Received]

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def body(self) -> Any:
        """The only request's body, as the container got it."""
        [request] = self.received
        return request.body

    @property
    def answer(self) -> Any:
        """What the container answers to the only request, whole: ``choices`` and ``usage``."""
        return answer_to(self.body)

    @property
    def tokens(self) -> tuple[int, int]:
        """The tokens that the container counted for the only request: the prompt's and the answer's."""
        return tokens_of(self.body)


def answer_to(body: Any) -> Any:
    return echo.complete({name: value for name, value in body.items() if not name.startswith("stream")})


def tokens_of(body: Any) -> tuple[int, int]:
    usage = answer_to(body)["usage"]
    return usage["prompt_tokens"], usage["completion_tokens"]


@pytest.fixture(scope="session")
def started_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """proxy_config.yaml without its fallbacks, which would hide what fails, and with two models more.

    ``lenient`` is ``chat`` with ``drop_params``: what LiteLLM thinks that the model does not know is left out.
    ``strict`` is ``reviewer`` for a container that refuses ``prompt_cache_key``.
    """
    config = yaml.safe_load(CONFIG.read_text())
    chat = config["model_list"][0]
    lenient = {"model_name": "lenient", "litellm_params": {**chat["litellm_params"], "drop_params": True}}
    models = {model["model_name"]: model for model in config["model_list"] if model["model_name"] != "chat-bedrock"}
    without_key = {**models["reviewer"]["litellm_params"], "additional_drop_params": ["prompt_cache_key"]}
    strict = {**models["reviewer"], "model_name": "strict", "litellm_params": without_key}
    config["model_list"] = [*models.values(), lenient, strict]
    config["router_settings"] = {"num_retries": 0}
    file = tmp_path_factory.mktemp("proxy") / "proxy_config.yaml"
    file.write_text(yaml.safe_dump(config))
    small = replace(RUNTIME, echo=echo.EchoConfig(context_length=8192))  # what is too long for it is soon made
    with running(small) as runtime, litellm_proxy(file, runtime.url, NOWHERE) as proxy:
        yield Proxied(proxy.url, proxy.master_key, runtime.app.state.received)


@pytest.fixture
def proxy(started_proxy: Proxied) -> Proxied:
    """The proxy; what SageMaker received before is forgotten."""
    started_proxy.received.clear()
    return started_proxy
