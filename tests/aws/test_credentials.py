"""Whose credentials sign: LiteLLM's AWS parameters with LiteLLM's meaning, held, shared, dropped when refused."""

from __future__ import annotations

import asyncio
import base64
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import litellm
import pytest
from botocore.credentials import Credentials, RefreshableCredentials

from litellm_sagemaker_openai.aws import credentials
from litellm_sagemaker_openai.aws.auth import authorizations, bearer
from litellm_sagemaker_openai.aws.credentials import HOLD_SECONDS, CredentialsError, CredentialSource, freeze
from litellm_sagemaker_openai.aws.identity import AwsIdentity
from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials
from litellm_sagemaker_openai.bounded_table import BoundedTable
from litellm_sagemaker_openai.errors import no_credentials
from litellm_sagemaker_openai.litellm_seams.aws_credentials import _litellm_resolver, source_for
from litellm_sagemaker_openai.refusals import Mistake
from tests.conftest import CREDENTIALS, MESSAGES, REGION, Upstream
from tests.scripted import Answer, Scripted, Seen, chunk, completion, json_answer, scripted, sse

ROLE = "arn:aws:iam::123456789012:role/inference"


def resolve(identity: AwsIdentity, region: str = REGION) -> FrozenCredentials:
    got = source_for(identity, region).get()
    return got.result(30) if isinstance(got, Future) else got


class Sts:
    """An STS that hands out numbered credentials and remembers what it was asked."""

    def __init__(self, server: Scripted) -> None:
        self.server = server

    def asked(self, action: str) -> list[dict[str, str]]:
        queries = [{k: v[0] for k, v in parse_qs(seen.body.decode()).items()} for seen in self.server.seen]
        return [query for query in queries if query["Action"] == action]


def _sts_answer(seen: Seen, count: Iterator[int]) -> Answer:
    action = parse_qs(seen.body.decode())["Action"][0]
    expiration = (datetime.now(timezone.utc) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    number = next(count)
    credentials = (
        f"<Credentials><AccessKeyId>ASIA{number}</AccessKeyId><SecretAccessKey>secret{number}</SecretAccessKey>"
        f"<SessionToken>token{number}</SessionToken><Expiration>{expiration}</Expiration></Credentials>"
    )
    caller = "<Arn>arn:aws:iam::123456789012:user/me</Arn><UserId>u</UserId><Account>123456789012</Account>"
    result = caller if action == "GetCallerIdentity" else f"{credentials}<PackedPolicySize>1</PackedPolicySize>"
    body = (
        f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>{result}'
        f"</{action}Result></{action}Response>"
    )
    return Answer([body.encode()], content_type="text/xml")


def _sts_error(status: int, code: str) -> Answer:
    error = f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
    return Answer([error.encode()], status=status, content_type="text/xml")


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sts]:
    count = iter(range(1000))
    with scripted(lambda seen: _sts_answer(seen, count)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
        yield Sts(server)


class TestIdentities:
    def test_the_environment(self) -> None:
        assert resolve(AwsIdentity()) == CREDENTIALS

    def test_a_changed_environment_is_seen_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert resolve(AwsIdentity()).access_key == CREDENTIALS.access_key
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIACHANGED")
        assert resolve(AwsIdentity()).access_key == "AKIACHANGED"

    def test_keys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_SESSION_TOKEN")
        keys = AwsIdentity(aws_access_key_id="AKIA1", aws_secret_access_key="s1")
        assert resolve(keys) == FrozenCredentials("AKIA1", "s1", None)
        with_token = AwsIdentity(aws_access_key_id="AKIA1", aws_secret_access_key="s1", aws_session_token="t1")
        assert resolve(with_token) == FrozenCredentials("AKIA1", "s1", "t1")

    def test_a_profile(self, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "credentials").write_text("[work]\naws_access_key_id = AKIAW\naws_secret_access_key = sw\n")
        assert resolve(AwsIdentity(aws_profile_name="work")) == FrozenCredentials("AKIAW", "sw", None)

    def test_a_role(self, sts: Sts) -> None:
        identity = AwsIdentity(
            aws_role_name=ROLE,
            aws_session_name="me",
            aws_external_id="external",
            aws_session_tags=(("team", "genai"),),
        )
        assert resolve(identity).access_key.startswith("ASIA")
        (asked,) = sts.asked("AssumeRole")
        assert (asked["RoleArn"], asked["RoleSessionName"], asked["ExternalId"]) == (ROLE, "me", "external")
        assert (asked["Tags.member.1.Key"], asked["Tags.member.1.Value"]) == ("team", "genai")

    def test_a_role_is_assumed_once_however_many_ask(self, sts: Sts) -> None:
        identity = AwsIdentity(aws_role_name=ROLE, aws_session_name="once")
        assert len({resolve(identity) for _ in range(20)}) == 1
        assert len(sts.asked("AssumeRole")) == 1

    def test_a_role_at_an_sts_of_ones_own(self, sts: Sts, monkeypatch: pytest.MonkeyPatch) -> None:
        identity = AwsIdentity(aws_role_name=ROLE, aws_session_name="own-sts", aws_sts_endpoint=sts.server.url)
        assert resolve(identity).session_token

    @pytest.fixture
    def web_identity_file(self, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> str:
        (tmp_path / "jwt").write_text("the.web.identity")
        monkeypatch.setenv("LITELLM_OIDC_ALLOWED_CREDENTIAL_DIRS", str(tmp_path))
        return f"oidc/file/{tmp_path}/jwt"

    def test_a_web_identity_has_the_roles_whole_authority(self, sts: Sts, web_identity_file: str) -> None:
        """LiteLLM's own adds a session policy of Bedrock's actions alone."""
        identity = AwsIdentity(aws_web_identity_token=web_identity_file, aws_role_name=ROLE, aws_session_name="web")
        assert resolve(identity).access_key.startswith("ASIA")
        (asked,) = sts.asked("AssumeRoleWithWebIdentity")
        assert asked["WebIdentityToken"] == "the.web.identity"
        assert "Policy" not in asked

    def test_what_litellms_own_does_with_a_web_identity(self, sts: Sts, web_identity_file: str) -> None:
        """The fact behind the departure: where this fails, ``_SageMakerAWSLLM`` can let LiteLLM's method be."""
        from litellm.llms.bedrock.base_aws_llm import BaseAWSLLM

        BaseAWSLLM().get_credentials(
            aws_web_identity_token=web_identity_file,
            aws_role_name=ROLE,
            aws_session_name="theirs",
            aws_region_name=REGION,
        )
        (asked,) = sts.asked("AssumeRoleWithWebIdentity")
        assert "bedrock:InvokeModel" in asked["Policy"]
        assert "sagemaker:" not in asked["Policy"]

    @pytest.mark.parametrize("token", [None, "", "token-2"])
    @pytest.mark.parametrize("secret", [None, "", "secret-2"])
    @pytest.mark.parametrize("key", [None, "", "AKIA2"])
    @pytest.mark.parametrize("whose", ["environment", "call"])
    def test_keys_are_what_litellm_makes_of_them(
        self, whose: str, key: str | None, secret: str | None, token: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without a boto3 session where they are whole. With others in the environment, where the call gives some."""
        from litellm.llms.bedrock.base_aws_llm import BaseAWSLLM

        names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        given: dict[str, Any] = dict(zip(names, (key, secret, token), strict=True))
        if whose == "environment":
            for name, value in given.items():
                monkeypatch.delenv(name.upper()) if value is None else monkeypatch.setenv(name.upper(), value)
            given = {}
        said = {name: value for name, value in given.items() if value}

        def outcome(made: Any) -> Any:
            try:
                return freeze(made())
            except Exception as error:
                return str(error)

        def litellms() -> Any:
            resolver = BaseAWSLLM()
            resolver.iam_cache = type(resolver.iam_cache)()
            return resolver.get_credentials(aws_region_name=REGION, **said)

        assert outcome(lambda: _litellm_resolver(AwsIdentity(**given), REGION)()) == outcome(litellms)

    def test_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        with pytest.raises(CredentialsError, match="no AWS credentials found"):
            resolve(AwsIdentity())

    def test_a_role_that_may_not_be_assumed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        body = (
            b'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
            b"<Code>AccessDenied</Code><Message>User: arn:aws:iam::123456789012:user/me may not</Message></Error>"
            b"</ErrorResponse>"
        )
        with scripted(Answer([body], 403, "text/xml")) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
            with pytest.raises(CredentialsError, match="AssumeRole answered AccessDenied") as refused:
                resolve(AwsIdentity(aws_role_name=ROLE, aws_session_name="denied"))
        assert "123456789012" not in str(refused.value)

    def test_it_shows_no_secret(self) -> None:
        shown = repr(
            AwsIdentity(
                "AKIA", "the-key", "the-token", aws_web_identity_token="the-jwt", aws_external_id="the-external"
            )
        )
        assert "the-" not in shown


class TestSource:
    def test_credentials_are_held_and_asked_for_again(self) -> None:
        now, versions = [0.0], iter(Credentials(f"AKIA{n}", "s") for n in range(9))
        source = CredentialSource(lambda: lambda: next(versions), clock=lambda: now[0])
        assert _got(source).access_key == "AKIA0"
        now[0] = HOLD_SECONDS - 0.1
        assert source.get() == FrozenCredentials("AKIA0", "s", None)
        now[0] = HOLD_SECONDS
        assert _got(source).access_key == "AKIA1"

    def test_one_resolution_serves_all_who_wait(self) -> None:
        started, go_on, count = threading.Event(), threading.Event(), []

        def slow() -> Credentials:
            count.append(1)
            started.set()
            assert go_on.wait(30)
            return Credentials("AKIA", "s")

        source = CredentialSource(lambda: slow)
        waiting = [source.get() for _ in range(200)]
        assert started.wait(30)
        go_on.set()
        assert {future.result(30) for future in waiting if isinstance(future, Future)} == {
            FrozenCredentials("AKIA", "s")
        }
        assert len(count) == 1

    def test_what_was_refused_is_dropped_with_all_that_led_to_it(self) -> None:
        resolvers = iter([lambda: Credentials("AKIAOLD", "s"), lambda: Credentials("AKIANEW", "s")])
        source = CredentialSource(lambda: next(resolvers))
        refused = _got(source)
        source.invalidate(refused)
        assert _got(source).access_key == "AKIANEW"
        source.invalidate(refused)  # a second caller with the same old credentials changes nothing
        assert source.get() == FrozenCredentials("AKIANEW", "s", None)

    def test_a_failure_is_not_held(self) -> None:
        answers = iter([None, Credentials("AKIA", "s")])
        source = CredentialSource(lambda: lambda: next(answers))
        with pytest.raises(CredentialsError):
            _got(source)
        assert _got(source).access_key == "AKIA"

    def test_a_refresh_in_the_middle_mixes_no_two_versions(self) -> None:
        version = [0]

        def refresh() -> dict[str, str]:
            version[0] += 1
            expiry = (datetime.now(timezone.utc) + timedelta(seconds=1)).isoformat()  # at once due again
            return {
                "access_key": f"A{version[0]}",
                "secret_key": f"S{version[0]}",
                "token": f"T{version[0]}",
                "expiry_time": expiry,
            }

        credentials = RefreshableCredentials.create_from_metadata(refresh(), refresh, "test")
        for _ in range(20):
            frozen = freeze(credentials)
            assert {frozen.access_key[1:], frozen.secret_key[1:], (frozen.session_token or "")[1:]} == {
                frozen.access_key[1:]
            }

    def test_however_many_sources_are_slow_another_is_not_held_up(self) -> None:
        go_on = threading.Event()

        def slow() -> Credentials:
            assert go_on.wait(60)
            return Credentials("AKIASLOW", "s")

        waiting = [CredentialSource(lambda: slow).get() for _ in range(100)]
        assert _got(CredentialSource(lambda: lambda: Credentials("AKIA", "s"))).access_key == "AKIA"
        go_on.set()
        assert {future.result(30).access_key for future in waiting if isinstance(future, Future)} == {"AKIASLOW"}

    def test_any_failure_is_a_credentials_error(self) -> None:
        def expired() -> None:
            raise RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired.")

        with pytest.raises(CredentialsError, match="still expired"):
            _got(CredentialSource(lambda: expired))

    def test_where_fresh_ones_are_refused_too_they_are_not_asked_for_again_and_again(self) -> None:
        now, count = [0.0], iter(range(1000))
        source = CredentialSource(lambda: lambda: Credentials(f"AKIA{next(count)}", "s"), clock=lambda: now[0])

        def refused_call() -> int:
            """A call that AWS refuses, as often as it is tried: the tries."""
            steps, answer, tries = authorizations(source, lambda frozen: bearer(frozen, REGION, 60)), None, 0
            while True:
                try:
                    step = steps.send(answer)
                except StopIteration:
                    return tries
                tries += not isinstance(step, Future)
                answer = step.result(30) if isinstance(step, Future) else 403

        assert [refused_call() for _ in range(20)] == [2] + [1] * 19
        assert next(count) == 2
        now[0] = HOLD_SECONDS + 1
        assert refused_call() == 2

    @pytest.mark.slow(reason="starts a process that imports LiteLLM")
    def test_a_forked_process_resolves_its_own(self) -> None:
        code = (
            "import os, sys\n"
            "from litellm_sagemaker_openai.litellm_seams.aws_credentials import source_for\n"
            "from litellm_sagemaker_openai.settings import AwsIdentity\n"
            "first = source_for(AwsIdentity(), 'us-west-2').get().result(30)\n"
            "child = os.fork()\n"
            "if child == 0:\n"
            "    identity = AwsIdentity(aws_access_key_id='A', aws_secret_access_key='B')\n"
            "    got = [source_for(each, 'us-west-2').get().result(20) for each in (AwsIdentity(), identity)]\n"
            "    os._exit(0 if got[0] == first else 1)\n"
            "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        )
        assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0

    def test_a_fork_while_another_thread_holds_a_sources_lock(self) -> None:
        """Of any source: ``SageMakerAuth`` has one that is in no table."""
        code = (
            "import os, signal, sys\n"
            "from types import SimpleNamespace\n"
            "from litellm_sagemaker_openai.aws.credentials import CredentialSource\n"
            "keys = SimpleNamespace(access_key='A', secret_key='B', token=None)\n"
            "source = CredentialSource(lambda: lambda: keys)\n"
            "with source._lock:\n"
            "    child = os.fork()\n"
            "    if child == 0:\n"
            "        signal.alarm(60)\n"
            "        os._exit(0 if source.get().result(30).access_key == 'A' else 1)\n"
            "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        )
        assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0


class TestFailures:
    """AWS's own failures pass, and are retried and fall back; what is configured wrongly is not."""

    @pytest.mark.parametrize(
        ("answer", "passes"),
        [
            (_sts_error(403, "AccessDenied"), False),
            (_sts_error(400, "ExpiredTokenException"), False),
            (_sts_error(400, "Throttling"), True),
            (_sts_error(503, "ServiceUnavailable"), True),
            (b"", True),
        ],
        ids=["denied", "expired", "throttled", "down", "hung up"],
    )
    def test_of_sts(self, monkeypatch: pytest.MonkeyPatch, answer: Answer | bytes, passes: bool) -> None:
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        with scripted(answer) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
            with pytest.raises(CredentialsError) as raised:
                resolve(AwsIdentity(aws_role_name=ROLE, aws_session_name=f"fails-{server.url[-5:]}"))
        assert raised.value.is_temporary is passes
        failure = no_credentials(raised.value, model="e")
        assert type(failure) is (litellm.ServiceUnavailableError if passes else litellm.AuthenticationError)
        told = str(no_credentials(raised.value, model="e", whose=Mistake.OPERATORS))  # a client of a proxy
        assert server.url not in told
        assert "AssumeRole" not in told

    @pytest.mark.parametrize(("status", "passes"), [(500, True), (404, True)])
    def test_of_a_containers_endpoint(self, monkeypatch: pytest.MonkeyPatch, status: int, passes: bool) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
        with scripted(json_answer({}, status)) as server:
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url)
            with pytest.raises(CredentialsError) as raised:
                resolve(AwsIdentity())
        assert raised.value.is_temporary is passes


class TestManyIdentities:
    def test_those_with_keys_of_their_own_do_not_push_out_the_operators(self, sts: Sts) -> None:
        operators = AwsIdentity(aws_role_name=ROLE, aws_session_name="litellm")
        resolve(operators)
        for number in range(1100):
            source_for(AwsIdentity(aws_access_key_id=f"AKIA{number}", aws_secret_access_key="made up"), REGION)
        resolve(operators)
        assert len(sts.asked("AssumeRole")) == 1

    @pytest.mark.parametrize("keys", [{}, {"aws_access_key_id": "AKIA", "aws_secret_access_key": "s"}], ids=len)
    def test_what_is_in_use_stays(self, sts: Sts, keys: dict[str, Any]) -> None:
        used = AwsIdentity(aws_role_name=ROLE, aws_session_name="used", **keys)
        for number in range(1100):
            resolve(used)
            source_for(AwsIdentity(aws_role_name=ROLE, aws_session_name=f"other-{number}", **keys), REGION)
        assert len(sts.asked("AssumeRole")) == 1


def test_each_of_botocores_loggers_is_filtered_before_it_is_loaded() -> None:
    """What is to be quiet may load botocore, and then logs with loggers that were not there."""
    code = (
        "import logging\n"
        "from litellm_sagemaker_openai.aws.credentials import _no_secrets, quiet_botocore\n"
        "with quiet_botocore():\n"
        "    import boto3\n"
        "    clients = [boto3.client(name, 'us-west-2') for name in ('sts', 's3', 'sagemaker-runtime')]\n"
        "loggers = logging.root.manager.loggerDict.items()\n"
        "found = [each for name, each in loggers if name.startswith(('botocore', 'boto3', 'urllib3'))]\n"
        "assert len(found) > 50 and all(_no_secrets in each.filters for each in found)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


_FRESH = """
import os, resource, signal, sys, threading, time
from litellm_sagemaker_openai.aws import credentials
source = credentials.CredentialSource(lambda: credentials.default_credentials)
"""


def _in_a_fresh_process(code: str) -> str:
    """What it prints."""
    ran = subprocess.run(
        [sys.executable, "-c", _FRESH + code], stdout=subprocess.PIPE, text=True, check=True, timeout=60
    )
    return ran.stdout


def test_a_fork_waits_until_botocore_is_loaded() -> None:
    """Else the child has a half of it for as long as it lives.

    The parent does no more than load it: a fork while a thread is in OpenSSL may take a lock of OpenSSL's along.
    """
    code = (
        "threading.Thread(target=credentials.load, args=['botocore.session']).start()\n"
        "while 'botocore' not in sys.modules:\n"
        "    time.sleep(0.0001)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    signal.alarm(30)\n"
        "    print(source.wait().access_key, flush=True)\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
    )
    assert _in_a_fresh_process(code).strip() == CREDENTIALS.access_key


def test_where_botocore_cannot_be_loaded_now_it_is_later() -> None:
    """As where a process has opened all the files that it may: nobody waits, and nothing of it is kept."""
    code = (
        "_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))\n"
        "files = []\n"
        "try:\n"
        "    while True:\n"
        "        files.append(os.open(os.devnull, os.O_RDONLY))\n"
        "except OSError:\n"
        "    pass\n"
        "started = time.monotonic()\n"
        "try:\n"
        "    source.wait()\n"
        "except credentials.CredentialsError as error:\n"
        "    print(error.is_temporary, error)\n"
        "print(time.monotonic() - started < 10)\n"
        "for file in files:\n"
        "    os.close(file)\n"
        "print(source.wait().access_key)\n"
        "import botocore.endpoint, botocore.retries.standard\n"
        "loggers = botocore.endpoint.logger, botocore.retries.standard.logger\n"
        "print(all(credentials._no_secrets in each.filters for each in loggers))\n"
    )
    failed, at_once, then, is_quiet = _in_a_fresh_process(code).splitlines()
    assert failed.startswith("True AWS credentials could not be resolved:")
    assert "Too many open files" in failed
    assert (at_once, then, is_quiet) == ("True", CREDENTIALS.access_key, "True")


class TestConfiguration:
    def test_the_runtimes_of_made_up_regions_do_not_pile_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(credentials, "_runtime_urls", BoundedTable(2))
        looked_up = _counted(monkeypatch, "_resolve_url")
        regions = ["us-west-2", "made-up-1", "us-west-2", "made-up-2", "us-west-2", "made-up-1"]
        assert [credentials.runtime_url(region).split(".")[2] for region in regions] == regions
        assert looked_up == ["us-west-2", "made-up-1", "made-up-2", "made-up-1"]  # the one in use once

    def test_nor_do_the_regions_of_profiles(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        names = ["used", "a", "used", "b", "used", "a"]
        (tmp_path / "config").write_text("".join(f"[profile {each}]\nregion = us-{each}-1\n" for each in set(names)))
        monkeypatch.setattr(credentials, "_profile_regions", BoundedTable(2))
        looked_up = _counted(monkeypatch, "_session")
        assert [credentials.profile_region(name) for name in names] == [f"us-{name}-1" for name in names]
        assert looked_up == ["used", "a", "b", "a"]


CONFIGURED: list[dict[str, str]] = [
    {},
    {"AWS_ENDPOINT_URL": "http://127.0.0.1:8080"},
    {"AWS_ENDPOINT_URL": "https://gateway.example/at/a-path/", "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": ""},
    {"AWS_ENDPOINT_URL": "https://a.example", "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": "https://B.example:8443"},
    {"AWS_ENDPOINT_URL": "https://a.example", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
    {"AWS_ENDPOINT_URL": "https://a.example", "config": "[default]\nignore_configured_endpoint_urls = true\n"},
    {"AWS_ENDPOINT_URL": "https://a.example", "config": "[default]\nendpoint_url = https://b.example\n"},
    {"AWS_USE_FIPS_ENDPOINT": "true"},
    {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
    {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
    {"config": "[default]\nregion = eu-west-1\noutput = json\n"},
    {"config": "[default]\nendpoint_url = https://b.example\n"},
    {"config": "[default]\nuse_fips_endpoint = true\n"},
    {"config": "[default]\nuse_dualstack_endpoint = true\n"},
    {"config": "[default]\nservices = s\n[services s]\nsagemaker_runtime =\n  endpoint_url = https://b.example\n"},
    {"credentials": "[default]\nendpoint_url = https://b.example\n"},
    {"AWS_PROFILE": "work", "config": "[default]\nuse_fips_endpoint = true\n[profile work]\nregion = eu-west-1\n"},
    {"AWS_DEFAULT_PROFILE": "work", "config": "[profile work]\nendpoint_url = https://b.example\n"},
    {"profile": "work", "AWS_PROFILE": "other", "config": "[profile work]\nuse_fips_endpoint = true\n"},
    {"profile": "work", "credentials": "[work]\naws_access_key_id = AKIA\n"},
]
SAME_ERROR: list[dict[str, str]] = [
    {"AWS_ENDPOINT_URL": "no-url"},
    {"AWS_ENDPOINT_URL": "https://not_a_host.example"},
    {"AWS_ENDPOINT_URL": "https://dots..example"},
    {"AWS_ENDPOINT_URL": f"https://{'long.' * 60}example"},
    {"AWS_PROFILE": "missing"},
    {"profile": "missing", "config": "[default]\nregion = eu-west-1\n"},
    {"config": "[default]\nservices = missing\n"},
    {"config": "no section\n"},
    {"AWS_ENDPOINT_URL": "https://a.example", "credentials": "[default]\nregion = a\nregion = b\n"},
    {"profile": ""},
]


def _configure(configured: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """Sets the environment and writes AWS's files; the profile that is asked for."""
    for name, value in configured.items():
        if name in ("config", "credentials"):
            (folder / name).write_text(value)
        elif name != "profile":
            monkeypatch.setenv(name, value)
    return configured.get("profile")


class TestRuntimeUrl:
    """botocore is asked for the runtime's URL only where it is not certain. What is certain is what it would answer."""

    @pytest.mark.parametrize("configured", CONFIGURED, ids=str)
    def test_it_is_botocores(self, configured: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        profile = _configure(configured, tmp_path, monkeypatch)
        assert credentials.runtime_url(REGION, profile) == credentials.botocores_url(REGION, profile)

    @pytest.mark.parametrize("configured", SAME_ERROR, ids=str)
    def test_so_are_its_errors(
        self, configured: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        profile = _configure(configured, tmp_path, monkeypatch)
        with pytest.raises(ValueError, match=" ") as botocores:
            credentials.botocores_url(REGION, profile)
        with pytest.raises(ValueError, match=f"^{re.escape(str(botocores.value))}$"):
            credentials.runtime_url(REGION, profile)

    def test_a_model_of_ones_own_is_left_to_botocore(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """``~/.aws/models`` comes before botocore's own rules for endpoints."""
        monkeypatch.setenv("HOME", str(tmp_path))
        assert credentials._ordinary_url(REGION, None) is not None
        (tmp_path / ".aws" / "models").mkdir(parents=True)
        assert credentials._ordinary_url(REGION, None) is None

    def test_without_aws_files_botocore_is_not_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = _counted(monkeypatch, "botocores_url")
        assert credentials.runtime_url("eu-central-1") == "https://runtime.sagemaker.eu-central-1.amazonaws.com"
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", "https://gateway.example")
        assert credentials.runtime_url("eu-central-1") == "https://gateway.example"
        assert asked == []
        assert credentials.runtime_url("cn-north-1") == "https://gateway.example"
        monkeypatch.delenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME")
        assert credentials.runtime_url("cn-north-1") == "https://runtime.sagemaker.cn-north-1.amazonaws.com.cn"
        assert asked == ["cn-north-1"]


def _counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[Any]:
    """The first arguments with which one of the module's functions was called."""
    called: list[Any] = []
    function = getattr(credentials, name)

    def counted(first: Any, *more: Any) -> Any:
        called.append(first)
        return function(first, *more)

    monkeypatch.setattr(credentials, name, counted)
    return called


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_call_is_tried_once_more_with_fresh_credentials(
    upstream: Upstream, sts: Sts, is_async: bool, stream: bool, status: int
) -> None:
    """The role's session was revoked: what LiteLLM and this provider hold of it is dropped, and assumed anew."""

    def refuse_the_first(seen: Seen) -> Answer:
        return json_answer({"message": "Forbidden"}, status) if len(server.seen) == 1 else json_answer(completion())

    server = upstream(refuse_the_first)
    call: dict[str, Any] = {
        "model": "sagemaker_openai/e",
        "messages": MESSAGES,
        "stream": stream,
        "aws_role_name": ROLE,
        "aws_session_name": f"revoked-{is_async}-{stream}-{status}",
    }
    if is_async:
        answer = await litellm.acompletion(**call)
        _ = [piece async for piece in answer] if stream else answer
    else:
        answer = litellm.completion(**call)
        _ = list(answer) if stream else answer
    keys = [_access_key(seen) for seen in server.seen]
    assert len(keys) == 2
    assert keys[0] != keys[1]


@pytest.mark.slow(reason="two seconds of calls beside a source that waits")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_slow_source_of_credentials_holds_up_nobody_else(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """STS takes as long as it takes 200 calls to another deployment to be answered, and is asked once."""
    others_done, count = threading.Event(), iter(range(1000))

    def slow(seen: Seen) -> Answer:
        if b"Action=AssumeRole" in seen.body:
            assert others_done.wait(60)
        return _sts_answer(seen, count)

    def answer(seen: Seen) -> Answer:
        if seen.json.get("stream"):
            return Answer([sse(chunk({"content": "Hello."}), chunk({}, finish="stop"))])
        return json_answer(completion("Hello."))

    async def ask(**more: Any) -> str:
        reply: Any = await litellm.acompletion(model="sagemaker_openai/e", messages=MESSAGES, stream=stream, **more)
        if not stream:
            return str(reply.choices[0].message.content)
        return "".join([piece.choices[0].delta.content or "" async for piece in reply])

    server = upstream(answer)
    with scripted(slow) as sts_server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts_server.url)
        role = {"aws_role_name": ROLE, "aws_session_name": f"slow-{stream}"}
        waiting = [asyncio.create_task(ask(**role)) for _ in range(200)]
        while not Sts(sts_server).asked("AssumeRole"):
            await asyncio.sleep(0.01)
        assert await asyncio.gather(*(ask() for _ in range(200))) == ["Hello."] * 200
        assert len(server.seen) == 200  # of those who wait for their credentials, none was sent
        waiting.pop().cancel()  # one who leaves takes nothing along
        others_done.set()
        assert await asyncio.gather(*waiting) == ["Hello."] * 199
        assert len(Sts(sts_server).asked("AssumeRole")) == 1


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_source_that_takes_longer_than_the_calls_timeout(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    server, answered = upstream(json_answer(completion())), threading.Event()

    def slow(seen: Seen) -> Answer:
        assert answered.wait(60)
        return _sts_answer(seen, iter(range(9)))

    call: dict[str, Any] = {
        "model": "sagemaker_openai/e",
        "messages": MESSAGES,
        "timeout": 0.3,
        "aws_role_name": ROLE,
        "aws_session_name": f"too-slow-{is_async}",
    }
    with scripted(slow) as sts_server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts_server.url)
        with pytest.raises(litellm.Timeout, match=r"credentials were not resolved within 0\.3 seconds"):
            await litellm.acompletion(**call) if is_async else litellm.completion(**call)
        answered.set()
    assert server.seen == []


def _got(source: CredentialSource) -> FrozenCredentials:
    got = source.get()
    assert isinstance(got, Future)
    return got.result(30)


def _access_key(seen: Seen) -> str:
    token = base64.b64decode(seen.headers["authorization"].partition("key-")[2]).decode()
    return unquote(token.partition("X-Amz-Credential=")[2]).partition("/")[0]
