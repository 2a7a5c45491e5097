"""Chat by SageMaker's other routes behind the real proxy, with ``configs/async_inference.yaml`` and
``configs/invoke_endpoint.yaml``; moto's S3."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REGION
from tests.operating.conftest import fine
from tests.operating.proxies import Proxy, config, events, proxy, text_of
from tests.scripted import Answer, Scripted, Seen, completion, json_answer, on_its_route, scripted

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")

BUCKET = "my-bucket"
NEVER = "Never."  # a question that gets no answer


@dataclass(frozen=True)
class Behind:
    """The proxy, and what stands behind it."""

    proxy: Proxy
    sagemaker: Scripted


@pytest.fixture(scope="module")
def behind(_moto: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    def script(seen: Seen) -> Answer:
        if not seen.path.endswith("/async-invocations"):
            return fine(seen)
        key = "results/never.out" if NEVER.encode() in seen.body else "results/1.out"
        return json_answer({"InferenceId": "id-1"}, 202, **{"X-Amzn-SageMaker-OutputLocation": f"s3://{BUCKET}/{key}"})

    _moto.forget()
    s3 = _moto.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=BUCKET, Key="results/1.out", Body=json.dumps(completion()))
    folder, configurations = (
        tmp_path_factory.mktemp("proxy"),
        map(config, ("async_inference.yaml", "invoke_endpoint.yaml")),
    )
    environment = {"AWS_ENDPOINT_URL_S3": _moto.url}
    with (
        scripted(on_its_route(script)) as sagemaker,
        proxy(folder, *configurations, sagemaker=sagemaker.url, environment=environment) as started,
    ):
        yield Behind(started, sagemaker)


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat(behind: Behind, stream: bool) -> None:
    response = behind.proxy.chat("long-answers", stream=stream)
    assert response.status_code == 200, response.text
    assert text_of(response) == "Hello."
    assert response.headers["llm_provider-x-amzn-sagemaker-outputlocation"] == f"s3://{BUCKET}/results/1.out"
    assert response.headers["llm_provider-x-amzn-sagemaker-inference-id"] == "id-1"
    if stream:
        assert events(response)[-1]["choices"][0]["finish_reason"] == "stop"
    else:
        assert response.json()["usage"]["total_tokens"] == 18


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_by_invoke_endpoint(behind: Behind, stream: bool) -> None:
    behind.sagemaker.seen.clear()
    response = behind.proxy.chat("my-adapter", stream=stream)
    assert text_of(response) == "SageMaker's."
    [seen] = behind.sagemaker.seen
    assert seen.path == f"/endpoints/my-gpus/invocations{'-response-stream' if stream else ''}"
    assert seen.headers["x-amzn-sagemaker-inference-component"] == "my-adapter"
    assert response.headers["llm_provider-x-amzn-requestid"] == "served-1"
    if stream:
        assert [event for event in events(response) if event.get("usage")] == []  # it was not asked for
    else:
        assert response.json()["usage"]["total_tokens"] == 18


def test_a_result_that_does_not_come_in_time(behind: Behind) -> None:
    behind.sagemaker.seen.clear()
    response = behind.proxy.chat("long-answers", question=NEVER, timeout=3)
    assert response.status_code == 408
    said = response.json()["error"]["message"]
    assert f"get it later with fetch_async_result('s3://{BUCKET}/results/never.out')" in said
    assert len(behind.sagemaker.seen) == 1  # the proxy has num_retries: 2


def queued(s3: Any) -> Any:
    """SageMaker as it documents file names: it leaves the result under the extension and the name of the request."""

    def script(seen: Seen) -> Answer:
        extension = seen.headers.get("x-amzn-sagemaker-s3outputpathextension", "")
        key = "/".join(part for part in ("results", extension, seen.headers["x-amzn-sagemaker-filename"]) if part)
        question = seen.json["messages"][-1]["content"]
        s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(completion(f"The answer to: {question}")))
        return json_answer({"InferenceId": "id-1"}, 202, **{"X-Amzn-SageMaker-OutputLocation": f"s3://{BUCKET}/{key}"})

    return script


def test_two_users_of_one_file_name_get_their_own_answers(aws_apis: Any, tmp_path: Path) -> None:
    """A file name that the operator set: the second question used to get the first one's answer."""
    s3 = aws_apis.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=BUCKET, Key="results/answer.json", Body=json.dumps(completion("Somebody's secret.")))
    params = {
        "model": "sagemaker_openai/queue",
        "litellm_credential_name": "sagemaker",
        "aws_sagemaker_async": True,
        "aws_sagemaker_async_filename": "answer.json",
    }
    configuration = {"model_list": [{"model_name": "queue", "litellm_params": params}]}
    environment = {"AWS_ENDPOINT_URL_S3": aws_apis.url}
    with (
        scripted(queued(s3)) as sagemaker,
        proxy(tmp_path, configuration, sagemaker=sagemaker.url, environment=environment) as started,
    ):
        for question in ("user A's", "user B's"):
            response = started.chat("queue", question=question)
            assert response.status_code == 200, response.text
            assert text_of(response) == f"The answer to: {question}"
