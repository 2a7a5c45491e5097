"""`make live DEPLOY=1`, with moto as the control plane: whatever happens, nothing is left, or it is said what is."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner, Result

from examples import deploy_endpoint
from litellm_sagemaker_openai.aws import control_plane
from litellm_sagemaker_openai.local.runtime import RuntimeConfig
from litellm_sagemaker_openai.local.server import running
from tests.conftest import CREDENTIALS, REGION
from tests.examples.test_deploy_example import NOTHING, ROLE, made_by_hand, what_there_is
from tools import live_run
from tools.live import main

pytestmark = pytest.mark.medium(reason="asks moto's control plane")

each = pytest.mark.parametrize

NAME = "live-7"
DEPLOY = [NAME, "--deploy", "--region", REGION, "--yes", "--poll", "0"]
DELETED = f"All that was made for {NAME} is deleted."
DELETE_IT = f"Delete it:\n  python examples/deploy_endpoint.py {NAME} --delete --region {REGION}\n"
Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The command, in a folder of its own."""
    monkeypatch.setenv("SAGEMAKER_ROLE", ROLE)
    monkeypatch.chdir(tmp_path)

    def run_it(*arguments: str) -> Result:
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        result = CliRunner().invoke(main, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert {number: signal.getsignal(number) for number in before} == before
        return result

    return run_it


@pytest.fixture
def sagemaker(aws_apis: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The client that all share: to make one takes longer than what it is asked here."""
    client = aws_apis.client("sagemaker")
    monkeypatch.setattr(control_plane, "client", lambda *_: client)
    return client


def compares(monkeypatch: pytest.MonkeyPatch, then: Callable[[], bool]) -> None:
    """What happens in the place of the comparison."""
    monkeypatch.setattr(live_run, "compare", lambda *_: then())


def test_the_endpoint_is_made_asked_and_deleted(
    run: Run, aws_apis: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sagemaker = aws_apis.client("sagemaker")
    served = {NAME: ("coder",)}
    with running(RuntimeConfig(served, CREDENTIALS, REGION)) as runtime:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", runtime.url)
        result = run(*DEPLOY, "--component", "coder", "--model", "Qwen/Qwen3-4B", "--instance-type", "ml.g6.xlarge")
    assert result.exit_code == 0, result.output
    said = result.stderr.splitlines()
    assert any(f"First it makes the endpoint {NAME} of 1 x ml.g6.xlarge" in line for line in said)
    assert any("https://aws.amazon.com/sagemaker/ai/pricing/" in line for line in said)
    assert said[-1] == DELETED
    assert what_there_is(sagemaker) == NOTHING
    assert aws_apis.sagemaker.calls["CreateInferenceComponent", REGION] == 1
    assert len(list(tmp_path.glob("live-report-*.md"))) == 1


def test_without_a_name_one_is_made_up(run: Run, sagemaker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    def look() -> bool:
        names.extend(what_there_is(sagemaker)["endpoints"])
        return False

    compares(monkeypatch, look)
    assert run(*DEPLOY[1:]).exit_code == 0
    assert run(*DEPLOY[1:]).exit_code == 0
    assert len({*names}) == 2
    assert all(name.startswith("litellm-live-") for name in names)
    assert what_there_is(sagemaker) == NOTHING


def differs() -> bool:
    return True


def fails() -> bool:
    raise ValueError("what nobody thought of")


def breaks() -> bool:
    raise SystemExit(7)


def signalled(number: int) -> Callable[[], bool]:
    def stop() -> bool:
        signal.raise_signal(number)
        return False

    return stop


@each(
    ("happens", "status"),
    [
        (differs, 1),
        (fails, 1),
        (breaks, 7),
        (signalled(signal.SIGINT), 130),
        (signalled(signal.SIGTERM), 130),
        (signalled(signal.SIGHUP), 130),
    ],
)
def test_it_is_deleted_whatever_happens(
    happens: Callable[[], bool], status: int, run: Run, sagemaker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def after_it_is_there() -> bool:
        assert what_there_is(sagemaker)["endpoints"] == [NAME]
        return happens()

    compares(monkeypatch, after_it_is_there)
    result = run(*DEPLOY)
    assert result.exit_code == status
    assert what_there_is(sagemaker) == NOTHING
    if happens.__name__ != "stop":
        assert result.stderr.endswith(("\nError: what nobody thought of\n", f"{DELETED}\n"))
        assert DELETED in result.stderr


def test_what_could_not_be_made_is_deleted(run: Run, sagemaker: Any, aws_apis: Any) -> None:
    aws_apis.sagemaker.shows(f"endpoint/{NAME}", {"EndpointStatus": "Failed", "FailureReason": "no capacity"})
    result = run(*DEPLOY)
    assert result.exit_code == 1
    assert result.stderr.endswith(f"{DELETED}\nError: endpoint {NAME}: Failed: no capacity\n")
    assert what_there_is(sagemaker) == NOTHING


def test_stopped_while_it_is_made(run: Run, sagemaker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    call = deploy_endpoint.call

    def stopped(client: Any, request: Any) -> Any:
        answer = call(client, request)
        if request.operation == "CreateEndpoint":
            signal.raise_signal(signal.SIGTERM)
        return answer

    monkeypatch.setattr(deploy_endpoint, "call", stopped)
    result = run(*DEPLOY)
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == DELETED
    assert what_there_is(sagemaker) == NOTHING


def test_the_first_signal_does_not_stop_the_deletion_and_the_second_does(
    run: Run, sagemaker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compares(monkeypatch, lambda: False)
    call, signals = deploy_endpoint.call, 1

    def deletes(client: Any, request: Any) -> Any:
        if request.operation == "DeleteEndpoint":
            for _ in range(signals):
                signal.raise_signal(signal.SIGINT)
        return call(client, request)

    monkeypatch.setattr(deploy_endpoint, "call", deletes)
    result = run(*DEPLOY)
    assert result.exit_code == 0
    assert "\nDeleting goes on, since the instances cost until it is done. " in result.stderr
    assert what_there_is(sagemaker) == NOTHING
    signals = 2
    result = run(*DEPLOY)
    assert result.exit_code == 130
    assert f"Not all is deleted: what was made for {NAME} may be left, and is billed. {DELETE_IT}" in result.stderr
    assert what_there_is(sagemaker)["endpoints"] == [NAME]
    assert DELETED not in result.stderr


def refusing(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """DeleteEndpoint is refused so many times."""
    call, left = deploy_endpoint.call, [None] * times

    def refused(client: Any, request: Any) -> Any:
        if request.operation == "DeleteEndpoint" and left:
            left.pop()
            raise ClientError(
                {"Error": {"Code": "AccessDeniedException", "Message": "not authorized"}}, "DeleteEndpoint"
            )
        return call(client, request)

    monkeypatch.setattr(deploy_endpoint, "call", refused)


def test_a_deletion_that_is_refused_is_tried_again(run: Run, sagemaker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compares(monkeypatch, lambda: False)
    refusing(3, monkeypatch)
    result = run(*DEPLOY)
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (0, DELETED)
    assert result.stderr.count("Deleting is tried again.") == 3
    assert what_there_is(sagemaker) == NOTHING


def test_what_is_left_is_said_with_the_command(run: Run, sagemaker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compares(monkeypatch, lambda: False)
    refusing(99, monkeypatch)
    result = run(*DEPLOY)
    assert result.exit_code == 1
    assert f"Not all is deleted: what was made for {NAME} may be left, and is billed. {DELETE_IT}" in result.stderr
    assert result.stderr.endswith("Error: DeleteEndpoint: AccessDeniedException: not authorized\n")
    assert DELETED not in result.stderr
    assert what_there_is(sagemaker)["endpoints"] == [NAME]


@each("by_hand", [True, False])
def test_what_exists_is_neither_touched_nor_deleted(
    by_hand: bool, run: Run, sagemaker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_hand:
        made_by_hand(sagemaker, NAME)
    else:
        arguments = [NAME, "--model", "Qwen/Qwen3-4B", "--region", REGION, "--poll", "0"]
        assert CliRunner().invoke(deploy_endpoint.main, arguments).exit_code == 0
    before = what_there_is(sagemaker)
    compares(monkeypatch, fails)
    result = run(*DEPLOY)
    assert result.exit_code == 1
    assert f"Error: endpoint {NAME} exists already: with --deploy, ENDPOINT is to be a new name" in result.stderr
    assert what_there_is(sagemaker) == before


def test_a_mistake_is_said_before_anything_is_made(
    run: Run, sagemaker: Any, aws_apis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SAGEMAKER_ROLE")
    result = run(*DEPLOY)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--role or SAGEMAKER_ROLE must be the execution role's ARN" in result.stderr
    assert "SM_VLLM" not in result.output
    assert not aws_apis.sagemaker.calls


def taken(sagemaker: Any, monkeypatch: pytest.MonkeyPatch, at: str, *, by_hand: bool) -> None:
    """Somebody makes the same name right before this operation: by hand, or with examples/deploy_endpoint.py."""
    call, others = deploy_endpoint.call, [True]

    def second(client: Any, request: Any) -> Any:
        if request.operation == at and others:
            others.pop()
            if by_hand:
                made_by_hand(sagemaker, NAME)
            else:
                arguments = [NAME, "--model", "Qwen/Qwen3-8B", "--region", REGION, "--poll", "0"]
                assert CliRunner().invoke(deploy_endpoint.main, arguments).exit_code == 0
        return call(client, request)

    monkeypatch.setattr(deploy_endpoint, "call", second)


@each("by_hand", [True, False])
@each("at", ["DescribeEndpoint", "CreateModel"])
def test_a_name_that_is_taken_meanwhile_is_not_deleted(
    at: str, by_hand: bool, run: Run, sagemaker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = deploy_endpoint.targets_of

    def free_then_taken(*arguments: Any, **more: Any) -> Any:
        found = check(*arguments, **more)
        monkeypatch.setattr(deploy_endpoint, "targets_of", check)
        taken(sagemaker, monkeypatch, at, by_hand=by_hand)
        return found

    monkeypatch.setattr(deploy_endpoint, "targets_of", free_then_taken)
    compares(monkeypatch, fails)
    result = run(*DEPLOY)
    assert result.exit_code == 1
    assert " exist" in result.stderr
    config, model = (f"{NAME}-1", f"{NAME}-weights") if by_hand else (NAME, NAME)
    assert what_there_is(sagemaker) == {**NOTHING, "endpoints": [NAME], "configs": [config], "models": [model]}
    assert sagemaker.describe_endpoint(EndpointName=NAME)["EndpointStatus"] == "InService"
