"""What is held of the models in service: when AWS is asked again, and what is known meanwhile."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from litellm_sagemaker_openai.aws.control_plane import Found, Listed
from litellm_sagemaker_openai.aws.credentials import CredentialsError
from litellm_sagemaker_openai.aws.in_service import (
    ASK_AGAIN_SECONDS,
    MissingPermissions,
    ModelsInService,
    callable_models,
    models_in_service,
)
from tests.aws_apis import Aws
from tests.commands.test_endpoints import ASYNCHRONOUS
from tests.conftest import CREDENTIALS, REGION
from tests.operating.proxies import until
from tests.scripted import Answer, scripted

LOCAL = "http://127.0.0.1:9"


class Account:
    """Answers each time with ``models``, or raises ``failure``; ``now`` is its clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.models = frozenset({"a"})
        self.failure: Exception | None = None
        self.answers = threading.Semaphore(0)
        self.asked = 0
        self.warned: list[str] = []
        self.held = ModelsInService(self.ask, lambda error: self.warned.append(str(error)), lambda: self.now)

    def ask(self) -> frozenset[str]:
        self.asked += 1
        if self.asked:
            self.answers.acquire(timeout=30)
        if self.failure:
            raise self.failure
        return self.models

    def answer(self, known: Callable[[], bool]) -> None:
        self.answers.release()
        for _ in until("the answer"):
            if known():
                return


@pytest.fixture
def account() -> Account:
    return Account()


def test_nothing_waits_for_an_answer_and_all_see_it(account: Account) -> None:
    assert account.held.known() == account.held.known() == account.held.held == set()
    account.answer(lambda: account.held.known() == {"a"})
    assert account.asked == 1


def test_it_is_asked_again_once_it_is_old_and_what_was_known_is_given_meanwhile(account: Account) -> None:
    account.held.known()
    account.answer(lambda: bool(account.held.held))
    account.now, account.models = ASK_AGAIN_SECONDS - 1, frozenset({"b"})
    assert account.held.known() == {"a"}
    assert account.asked == 1
    account.now = ASK_AGAIN_SECONDS
    assert account.held.known() == account.held.known() == {"a"}
    account.answer(lambda: account.held.known() == {"b"})
    assert account.asked == 2


def test_a_failure_is_said_once_and_asked_about_no_sooner(account: Account) -> None:
    account.failure = CredentialsError("none")
    for round_ in range(3):
        account.now = round_ * ASK_AGAIN_SECONDS
        for _ in range(5):
            assert account.held.known() == set()
        account.answer(lambda round_=round_: account.asked == round_ + 1)  # type: ignore[misc]
    assert account.asked == 3
    for _ in until("the warning"):
        if account.warned:
            break
    assert account.warned == ["none"]


def test_what_was_found_outlives_failures_for_an_hour(account: Account) -> None:
    account.held.known()
    account.answer(lambda: bool(account.held.held))
    account.failure = CredentialsError("none")
    account.now = 3600.0
    account.held.known()
    account.answer(lambda: bool(account.warned))
    assert account.held.held == {"a"}
    account.now = 7200.0
    account.held.known()
    account.answer(lambda: account.held.held == set())
    account.failure, account.now = None, 10_000.0
    account.held.known()
    account.answer(lambda: account.held.held == {"a"})
    account.failure, account.now = CredentialsError("again"), 20_000.0
    account.held.known()
    account.answer(lambda: account.warned == ["none", "again"])


def test_so_many_ask_at_once() -> None:
    accounts = [Account() for _ in range(20)]
    for each in accounts:
        each.held.known()
    for _ in until("some to ask"):
        if sum(each.asked for each in accounts) == 8:
            break
    time.sleep(0.1)
    assert sum(each.asked for each in accounts) == 8
    for each in accounts:
        each.failure = CredentialsError("none")
        each.answers.release()
    for _ in until("all to have asked"):
        if all(each.warned for each in accounts):
            break


ENDS = """
import atexit, threading, time
from litellm_sagemaker_openai.aws import control_plane, in_service

asked, begun = [], threading.Event()

def slow(self, summary):
    asked.append(summary)
    begun.set()
    time.sleep(0.2)

class Client:
    class meta: region_name = 'us-west-2'
    def get_paginator(self, name): return self
    def paginate(self): return self
    def build_full_result(self): return {"Endpoints": [{"EndpointName": str(n)} for n in range(1000)]}

control_plane._Ask.endpoint = slow
held = in_service.ModelsInService(lambda: control_plane.find(Client()), lambda error: print("warned", error))
held.known()
begun.wait(30)
time.sleep(0.5)
atexit.register(lambda: print(len(asked)))
"""


def test_a_process_that_ends_does_not_ask_on() -> None:
    """A server that Ctrl-C ends waits for threads of a pool, and for all that is in it."""
    done = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    assert int(done.stdout) < 50


def test_who_asks_now_waits(account: Account) -> None:
    account.answers.release()
    assert account.held.ask_now() == account.held.known() == {"a"}
    assert account.asked == 1


def listed(endpoint: str, **more: Any) -> Listed:
    known: dict[str, Any] = dict.fromkeys(Listed.__dataclass_fields__)
    return Listed(**{**known, "endpoint": endpoint, "callable": True, "asynchronous": False, **more})


def test_what_is_known_to_answer_is_listed() -> None:
    host = listed("gpus", callable=False, model=None)
    found = Found(
        REGION,
        (
            listed("a"),
            listed("queued", asynchronous=True),
            listed("unknown", asynchronous=None),
            listed("whether-it-hosts-components", callable=None),
            host,
            replace(host, callable=True, inference_component="coder"),
        ),
    )
    assert callable_models(found) == {"a", "gpus/coder"}


def test_so_many_and_the_same_ones() -> None:
    found = Found(REGION, tuple(listed(f"e{number:04}") for number in range(2000)))
    assert callable_models(found) == {f"e{number:04}" for number in range(500)}


def ask() -> frozenset[str]:
    return models_in_service(CREDENTIALS, REGION, None, LOCAL)


def test_an_accounts_models(aws_apis: Aws) -> None:
    aws_apis.make_endpoint("my-gpus", "coder")
    aws_apis.make_endpoint("reports", **ASYNCHRONOUS)
    assert ask() == {"my-gpus/coder"}


@pytest.mark.parametrize("action", ["DescribeEndpoint", "DescribeEndpointConfig", "ListInferenceComponents"])
def test_without_a_permission(aws_apis: Aws, action: str) -> None:
    aws_apis.make_endpoint("my-endpoint")
    aws_apis.sagemaker.refuses(action)
    with pytest.raises(MissingPermissions, match=f"lack sagemaker:{action}$") as raised:
        ask()
    assert raised.value.models == (set() if action == "DescribeEndpoint" else {"my-endpoint"})


def test_what_tells_only_more_is_not_needed(aws_apis: Aws) -> None:
    aws_apis.make_endpoint("my-gpus", "coder")
    for action in ("DescribeInferenceComponent", "DescribeModel"):
        aws_apis.sagemaker.refuses(action)
    assert ask() == {"my-gpus/coder"}


def test_aws_is_not_asked_about_the_local_runtime(monkeypatch: pytest.MonkeyPatch, every_name_is_here: None) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_SAGEMAKER", raising=False)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert ask() == set()
    with pytest.raises(Exception, match=r"Could not connect|Connection"):
        models_in_service(CREDENTIALS, REGION, None, f"https://runtime.sagemaker.{REGION}.amazonaws.com")


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'{"Endpoints": "none"}'])
def test_another_server_in_its_place(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(lambda seen: Answer([answer])) as other:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", other.url)
        with pytest.raises(ValueError, match=rf"^{other.url} does not answer as SageMaker's control plane does$"):
            ask()


def test_no_signature_is_logged(aws_apis: Aws, caplog: pytest.LogCaptureFixture) -> None:
    aws_apis.make_endpoint("my-gpus", "coder")
    caplog.set_level(logging.DEBUG)
    assert ask()
    said = [record.getMessage() for record in caplog.records if record.name.startswith(("botocore", "urllib3"))]
    assert not [line for line in said if CREDENTIALS.session_token in line or "AWS4-HMAC-SHA256" in line]  # type: ignore[operator]
