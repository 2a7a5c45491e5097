"""Objects in Amazon S3, for asynchronous inference: stored, read and removed with a call's own credentials.

boto3's requests block, so each runs in a thread of this module's own and is waited for elsewhere.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeVar

import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError

from litellm_sagemaker_openai.aws.credentials import CredentialsError, CredentialSource, environment, quiet_botocore
from litellm_sagemaker_openai.aws.s3_location import S3Location
from litellm_sagemaker_openai.operator_log import operator_log
from litellm_sagemaker_openai.upstream_errors import PROVIDER, AnswerError, FailureKind, UpstreamError, quoted

_T = TypeVar("_T")


_MOST_THREADS = 32
_MOST_CLIENTS = 64
_CREDENTIALS_SECONDS = 60.0
_CONNECT_SECONDS, _READ_SECONDS = 5.0, 20.0
# What in the environment decides how botocore reaches S3.
_S3_VARIABLES = (
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_CA_BUNDLE",
)
_PERMISSIONS = {
    "PutObject": "s3:PutObject",
    "GetObject": "s3:GetObject, and s3:ListBucket on the bucket, without which S3 answers 403 to what is not there yet",
    "DeleteObject": "s3:DeleteObject",
}
# Refusals, with status 400, of credentials or connections that the next request does not have.
_PASSING = frozenset({"ExpiredToken", "InvalidToken", "RequestTimeout", "TokenRefreshRequired"})


@dataclass(frozen=True, slots=True)
class Absent:
    """An object that is not there, as far as S3 says.

    ``trouble`` says why S3 could not tell, empty where it could. Without ``s3:ListBucket`` it answers 403 for what is
    not there: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """

    trouble: str = ""


class S3Error(AnswerError):
    """S3 refused a request, or could not be reached. The caller is not told AWS's words, which name accounts."""

    def __init__(self, operation: str, location: S3Location, error: ClientError | BotoCoreError) -> None:
        self.code = "" if isinstance(error, BotoCoreError) else str(error.response["Error"]["Code"])
        status, said = _said(error, operation)
        super().__init__(
            UpstreamError(
                status, f"{location}: {said}", failure=FailureKind.BROKEN, operator_detail=f"{operation}: {error}"
            )
        )


@dataclass(frozen=True, slots=True)
class S3:
    """S3 as one call reaches it. None of its methods waits.

    Args:
        source: of the call's credentials.
        region: the endpoint's; botocore finds the way to a bucket in another one.
        profile: whose settings of the AWS config file hold.
        verify: whether certificates are checked, or the file of the authorities to check with.
        environment: what of the environment decides where S3 is; by default as it is now.
    """

    source: CredentialSource = field(repr=False)
    region: str
    profile: str | None = None
    verify: bool | str = True
    environment: tuple[str | None, ...] = field(default_factory=lambda: environment(_S3_VARIABLES))

    def put(self, location: S3Location, body: bytes) -> Future[None]:
        """Store an object. The future raises ``S3Error`` or ``CredentialsError``."""

        def put(client: Any) -> None:
            client.put_object(Bucket=location.bucket, Key=location.key, Body=body, ContentType="application/json")

        return _submit(lambda: self._ask("PutObject", location, put))

    def get(self, location: S3Location) -> Future[bytes | Absent]:
        """An object, or that it is not there yet. The future raises ``S3Error`` or ``CredentialsError``."""

        def get(client: Any) -> bytes:
            with client.get_object(Bucket=location.bucket, Key=location.key)["Body"] as body:
                return bytes(body.read())

        def get_or_absent() -> bytes | Absent:
            try:
                return self._ask("GetObject", location, get)
            except S3Error as error:
                return _absent(error)

        return _submit(get_or_absent)

    def remove(self, location: S3Location, stored: Future[None]) -> Future[None]:
        """Remove an object once it is stored, if it is; one that is not yet begun is not stored.

        Where that fails it stays, and the log says so.
        """
        stored.cancel()

        def remove(client: Any) -> None:
            client.delete_object(Bucket=location.bucket, Key=location.key)

        def remove_if_stored() -> None:
            wait([stored])  # it was submitted before this, so a thread has it
            if stored.cancelled() or (isinstance(error := stored.exception(), S3Error) and error.upstream.status < 500):
                return  # never sent, or refused
            try:
                self._ask("DeleteObject", location, remove)
            except (S3Error, CredentialsError) as error:
                operator_log.warning("%s: an uploaded request stays: %s", PROVIDER, error)

        return _submit(remove_if_stored)

    def _ask(self, operation: str, location: S3Location, ask: Callable[[Any], _T]) -> _T:
        with quiet_botocore():
            try:
                return ask(_client(self))
            except (ClientError, BotoCoreError) as error:
                raise S3Error(operation, location, error) from error


class _FromSource(Credentials):  # type: ignore[misc]  # botocore has no types
    """botocore's credentials, read from a source at each request: what expires during a long wait is resolved anew."""

    def __init__(self, source: CredentialSource) -> None:
        super().__init__("unused", "unused")
        self._source = source

    def get_frozen_credentials(self) -> Any:
        got = self._source.get()
        try:
            frozen = got.result(_CREDENTIALS_SECONDS) if isinstance(got, Future) else got
        except FutureTimeout as error:
            raise CredentialsError(f"not resolved within {_CREDENTIALS_SECONDS:g} seconds") from error
        return ReadOnlyCredentials(frozen.access_key, frozen.secret_key, frozen.session_token)


@functools.lru_cache(maxsize=_MOST_CLIENTS)
def _client(s3: S3) -> Any:
    session = botocore.session.Session(profile=s3.profile)
    credentials = _FromSource(s3.source)
    session.register_component("credential_provider", SimpleNamespace(load_credentials=lambda: credentials))
    return session.create_client(
        "s3",
        region_name=s3.region,
        verify=None if s3.verify is True else s3.verify,  # None leaves it to AWS_CA_BUNDLE
        config=Config(connect_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS, max_pool_connections=_MOST_THREADS),
    )


_threads = ThreadPoolExecutor(_MOST_THREADS, "sagemaker-openai-s3")


def _submit(work: Callable[[], _T]) -> Future[_T]:
    return _threads.submit(work)


def _start_anew() -> None:
    global _threads
    _threads = ThreadPoolExecutor(_MOST_THREADS, "sagemaker-openai-s3")
    _client.cache_clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_start_anew)  # a fork takes no threads along, and shares the connections


def _said(error: ClientError | BotoCoreError, operation: str) -> tuple[int, str]:
    """The status that S3's refusal has for the caller, and what to say of it."""
    if isinstance(error, BotoCoreError):
        return 503, f"S3 could not be reached ({type(error).__name__})"
    status = int(error.response["ResponseMetadata"]["HTTPStatusCode"])
    said = f"S3 answered {status} {quoted(error.response['Error']['Code'])} to {operation}"
    return status, f"{said} (the role needs {_PERMISSIONS[operation]} there)" if status == 403 else said


def _absent(error: S3Error) -> Absent:
    """What a refused or failed look for an object means.

    Raises:
        S3Error: it will mean the same tomorrow.
    """
    code = error.code
    if code == "NoSuchKey":
        return Absent()
    if error.upstream.status in (403, 429) or error.upstream.status >= 500 or code in _PASSING:
        return Absent(error.upstream.message)
    raise error
