"""The limits of docs/reliability.md, each reached: in the real proxy and from Python, before the local runtime.

What a client of the proxy gets, in the head of the answer or as an event of a stream, and which exception an
application gets, is what the page's table says.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import httpx
import litellm
import openai
import pytest

from litellm_sagemaker_openai import preparation
from litellm_sagemaker_openai.local.runtime import RuntimeConfig
from litellm_sagemaker_openai.local.server import running
from litellm_sagemaker_openai.sending.timeouts import as_timeout
from tests.conftest import CREDENTIALS, MESSAGES, REGION, Upstream
from tests.docs.pages import code_in, tables
from tests.operating.conftest import fine, text_of
from tests.operating.proxies import Proxy, proxy
from tests.scripted import Answer, Seen, chunk, json_answer, scripted, sse

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy, and waits for time limits")

SILENT, STUCK, LARGE = "say nothing", "say one word and no more", "x" * 6_300_000
LIMIT = "SageMaker ended the call at its limit: a container has 60 seconds for a whole answer"


class Reached(NamedTuple):
    """A limit that is reached: the row of the page, the deployment, what it is asked, and what is said."""

    row: str
    deployment: str
    question: str
    stream: bool
    says: str


REACHED = (
    Reached("connecting", "unreachable", SILENT, False, "SageMaker could not be reached in time"),
    Reached("connecting", "unreachable", SILENT, True, "SageMaker could not be reached in time"),
    Reached("a whole answer", "answer", SILENT, False, LIMIT),
    Reached("a stream's first byte", "answer", SILENT, True, LIMIT),
    Reached("the next byte of a whole answer", "impatient", SILENT, False, "SageMaker did not answer in time"),
    Reached("the next byte of a whole answer", "impatient", STUCK, False, "SageMaker did not answer in time"),
    Reached("the next byte of a stream", "patient", STUCK, True, "SageMaker did not answer in time"),
    Reached("all of a stream", "stream", STUCK, True, "the connection to SageMaker broke"),
    Reached("a component that starts", "cold", SILENT, False, "no capacity after waiting"),
    Reached("a component that starts", "cold", SILENT, True, "no capacity after waiting"),
    Reached("the request's body", "answer", LARGE, False, "SageMaker takes at most 6,291,456"),
)
each = pytest.mark.parametrize("reached", REACHED, ids=[f"{each.row}, {each.stream}" for each in REACHED])


@pytest.fixture(scope="module")
def deployments() -> Iterator[dict[str, dict[str, Any]]]:
    """Parameters by the deployment's name."""
    over = threading.Event()

    def script(seen: Seen) -> Answer:
        if seen.json["messages"][0]["content"] == SILENT:
            over.wait()  # sends no head either
        return Answer([sse(chunk({"content": "Hello"}), done=False)], end="stall")

    with ExitStack() as stack:
        upstream = stack.enter_context(scripted(script))
        stack.callback(over.set)

        def runtime(**settings: Any) -> str:
            config = RuntimeConfig({"e": ()}, CREDENTIALS, REGION, upstream=f"{upstream.url}/v1", **settings)
            return stack.enter_context(running(config)).url

        yield {
            "unreachable": {"api_base": stack.enter_context(full_server()), "timeout": 0.3},
            "answer": {"api_base": runtime(answer_seconds=0.3)},
            "stream": {"api_base": runtime(stream_seconds=1.5)},
            "impatient": {"api_base": runtime(), "timeout": 0.3},
            "patient": {"api_base": runtime(), "timeout": 1.5},
            "cold": {"api_base": runtime(cold_start=3600), "aws_sagemaker_cold_start_timeout": 0.3},
        }


@contextmanager
def full_server() -> Iterator[str]:
    """A server that accepts no connection and has no room for another one that waits."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="module")
def started(deployments: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    common = {"model": "sagemaker_openai/e", "litellm_credential_name": "sagemaker"}
    models = [{"model_name": name, "litellm_params": {**common, **params}} for name, params in deployments.items()]
    config = {"model_list": models, "router_settings": {"num_retries": 0, "disable_cooldowns": True}}
    with proxy(tmp_path_factory.mktemp("proxy"), config, sagemaker="http://127.0.0.1:9") as process:
        yield process


def of_the_page(row: str) -> dict[str, str]:
    """A row of the page's table, by the columns' names."""
    [rows] = tables("docs/reliability.md", "Time limits")
    (found,) = [each for each in rows if each[0] == row]
    return dict(zip(("limit", "seconds", "ends", "python", "proxy", "set"), found, strict=True))


@each
def test_what_a_client_of_the_proxy_gets(started: Proxy, reached: Reached) -> None:
    response = started.chat(reached.deployment, question=reached.question, stream=reached.stream)
    assert reached.says in response.text
    if "error event" in (said := of_the_page(reached.row)["proxy"]):
        assert response.status_code == 200
        error = events_of(response)[-1]["error"]
        assert [error["code"]] == code_in(said)
    else:
        assert [str(response.status_code)] == code_in(said)


@each
async def test_what_an_application_gets(deployments: dict[str, Any], reached: Reached) -> None:
    messages = [{"role": "user", "content": reached.question}]
    call: dict[str, Any] = {"model": "sagemaker_openai/e", "messages": messages, "stream": reached.stream}
    with pytest.raises(openai.OpenAIError, match=reached.says) as raised:
        await text_of(await litellm.acompletion(**call, max_retries=0, **deployments[reached.deployment]))
    error = getattr(raised.value, "original_exception", None) or raised.value  # of MidStreamFallbackError
    assert [f"litellm.{type(error).__name__}"] == code_in(of_the_page(reached.row)["python"])


def events_of(response: httpx.Response) -> list[Any]:
    """The events of a stream that ended with an error, after which LiteLLM sends no ``[DONE]``."""
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


async def test_the_default_timeouts(upstream: Upstream, router_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What LiteLLM hands over where nobody says a timeout, and what a deployment's ``stream_timeout`` makes of it."""
    given: list[float] = []

    def spy(timeout: Any) -> httpx.Timeout:
        given.append(float(timeout))
        return as_timeout(timeout)

    monkeypatch.setattr(preparation, "as_timeout", spy)
    upstream(fine)
    _ = [piece async for piece in await litellm.acompletion("sagemaker_openai/e", MESSAGES, stream=True)]
    await litellm.acompletion("sagemaker_openai/e", MESSAGES)
    deployed = {"model_name": "m", "litellm_params": {"model": "sagemaker_openai/e"}}
    streamed = {"model_name": "s", "litellm_params": {"model": "sagemaker_openai/e", "stream_timeout": 8}}
    router = router_of(deployed, streamed)
    for group in ("m", "s"):
        await router.acompletion(group, MESSAGES)
        _ = [piece async for piece in await router.acompletion(group, MESSAGES, stream=True)]
    assert given == [600, 600, 6000, 6000, 6000, 8]
    assert of_the_page("the next byte of a stream")["seconds"].count("6000 s in a Router") == 1


def test_openais_client_sends_a_408_again(upstream: Upstream) -> None:
    server = upstream(json_answer({"error": {"message": "too late"}}, 408, **{"retry-after-ms": "1"}))
    with openai.OpenAI(base_url=server.url, api_key="k") as client, pytest.raises(openai.APIStatusError):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hello?"}])
    assert len(server.seen) == 3
