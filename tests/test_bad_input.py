"""What the caller must change is said before anything is sent, in each of the four kinds of call."""

from __future__ import annotations

from typing import Any

import litellm
import pytest

from tests.conftest import MESSAGES, Upstream
from tests.scripted import completion, json_answer

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/e"
CASES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"model": "sagemaker_openai/my_endpoint"}, litellm.BadRequestError, "not the name of an endpoint"),
    ({"model": "sagemaker_openai/a/b/c"}, litellm.BadRequestError, "has 3 parts"),
    ({"model": "sagemaker_openai/a/b", "model_id": "c"}, litellm.BadRequestError, "give one of them"),
    ({"model": "sagemaker_openai/e/.."}, litellm.BadRequestError, "not the name of an inference component"),
    ({"model": f"sagemaker_openai/{ARN}", "aws_region_name": "us-west-2"}, litellm.BadRequestError, "must agree"),
    ({"aws_region_name": "evil.example/"}, litellm.BadRequestError, "not an AWS region"),
    ({"model_id": 3}, litellm.BadRequestError, "model_id must be a string"),
    ({"aws_sagemaker_token_expiry": 0}, litellm.BadRequestError, "1 to 43200"),
    ({"aws_sagemaker_token_expiry": 43201}, litellm.BadRequestError, "1 to 43200"),
    ({"aws_sagemaker_token_expiry": "soon"}, litellm.BadRequestError, "aws_sagemaker_token_expiry must be a number"),
    ({"aws_sagemaker_token_expiry": True}, litellm.BadRequestError, "aws_sagemaker_token_expiry must be a number"),
    ({"aws_sagemaker_cold_start_timeout": -1}, litellm.BadRequestError, "a number of seconds from 0 to 3600, not -1"),
    ({"aws_sagemaker_cold_start_timeout": 3601}, litellm.BadRequestError, "seconds from 0 to 3600, not 3601"),
    ({"aws_sagemaker_cold_start_timeout": "inf"}, litellm.BadRequestError, "seconds from 0 to 3600, not inf"),
    ({"aws_sagemaker_cold_start_timeout": float("nan")}, litellm.BadRequestError, "from 0 to 3600, not nan"),
    ({"aws_sagemaker_allow_zero_temp": "maybe"}, litellm.BadRequestError, "must be true or false"),
    ({"aws_sagemaker_token_expiri": 3}, litellm.BadRequestError, "did you mean aws_sagemaker_token_expiry"),
    ({"fake_stream": "perhaps"}, litellm.BadRequestError, "fake_stream must be true or false"),
    ({"extra_body": {"aws_secret_access_key": "x"}}, litellm.BadRequestError, "extra_body carries"),
    ({"extra_headers": {"Authorization": "x"}}, litellm.BadRequestError, "api_key"),
    ({"extra_headers": {"X-A": None}}, litellm.BadRequestError, "must be a string, not NoneType"),
    ({"extra_body": {"aws_region_name": "x"}}, litellm.BadRequestError, "extra_body carries aws_region_name"),
    ({"api_key": "TOP\nSECRET"}, litellm.BadRequestError, "api_key is not a bearer token"),
    ({"api_key": "TOP SECRET"}, litellm.BadRequestError, "api_key is not a bearer token"),
    ({"api_key": "TOPSECRE\u0164"}, litellm.BadRequestError, "api_key is not a bearer token"),
    ({"timeout": -1}, litellm.BadRequestError, "timeout must be a number of seconds above 0"),
    ({"api_base": "http://example.com"}, litellm.BadRequestError, "plain http"),
    ({"sagemaker_base_url": "http://example.com", "api_key": "t"}, litellm.BadRequestError, "plain http"),
    ({"api_base": "https://runtime.sagemaker.eu-west-1.amazonaws.com"}, litellm.BadRequestError, "must agree"),
    ({"aws_profile_name": "nobody"}, litellm.BadRequestError, "nobody"),
    ({"messages": [{"role": "user", "content": "x" * 6_300_000}]}, litellm.BadRequestError, "at most 6,291,456"),
    ({"client": "a string"}, litellm.BadRequestError, "client must be"),
]


@pytest.mark.parametrize(("call", "expected", "says"), CASES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_bad_input(
    upstream: Upstream, call: dict[str, Any], expected: type[Exception], says: str, stream: bool, is_async: bool
) -> None:
    server = upstream(json_answer(completion()))
    with pytest.raises(expected, match=says) as refused:
        await _call(is_async, stream, **call)
    assert "SECRE" not in f"{refused.value!r} {refused.value.__cause__!r}"
    assert server.seen == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_no_credentials(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, stream: bool, is_async: bool
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    server = upstream(json_answer(completion()))
    with pytest.raises(litellm.AuthenticationError, match="no AWS credentials found: set AWS_ACCESS_KEY_ID"):
        await _call(is_async, stream)
    assert server.seen == []


async def test_no_region(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    server = upstream(json_answer(completion()))
    with pytest.raises(litellm.BadRequestError, match="no AWS region: give aws_region_name"):
        await _call(is_async=False, stream=False)
    assert server.seen == []


async def _call(is_async: bool, stream: bool, **more: Any) -> None:
    call = {"model": "sagemaker_openai/e", "messages": MESSAGES, "stream": stream, **more}
    if is_async:
        answer = await litellm.acompletion(**call)
        if stream:
            _ = [piece async for piece in answer]
    else:
        answer = litellm.completion(**call)
        if stream:
            list(answer)
