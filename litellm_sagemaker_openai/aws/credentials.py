"""What AWS's configuration gives: credentials held and shared, the profile's region, the runtime's URL.

Resolving credentials may take seconds (STS, IMDS, a credential process): it runs in threads of its own, one at a
time per identity, so that it never blocks an event loop. Does not import LiteLLM, and botocore where it is used: that
takes 40 ms and 5 MB, and keys in the environment do without.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
import pkgutil
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from typing import Any

from litellm_sagemaker_openai.aws.hosts import ordinary_url
from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials
from litellm_sagemaker_openai.bounded_table import BoundedTable
from litellm_sagemaker_openai.monitoring.recorder import record
from litellm_sagemaker_openai.monitoring.table import CREDENTIALS_RESOLUTION

# BaseAWSLLM hands out assumed-role credentials until 60 s before they end (litellm.constants
# STS_CREDENTIAL_EXPIRY_SAFETY_MARGIN_SECONDS, 1.106.2), botocore refreshes its own 10 min before: ask well within.
HOLD_SECONDS = 20.0
_WAIT_SECONDS = 60.0
_MOST_KEPT = 1000  # profiles' regions, and runtimes' URLs
# What in the environment decides the region and the host that botocore resolves; a part of the caches' keys.
ENDPOINT_VARIABLES = (
    "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME",
    "AWS_ENDPOINT_URL",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
)
# What configures, beside a URL in the environment, another host than the region's own, or where botocore knows it from.
_HOST_VARIABLES = (
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_DATA_PATH",
)
_HOST_SETTINGS = {"services", "endpoint_url"} | {name[4:].lower() for name in _HOST_VARIABLES}

NO_CREDENTIALS = (
    "no AWS credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, give "
    "aws_access_key_id and aws_secret_access_key, aws_profile_name or aws_role_name, run where a role is attached, "
    "or give a token made elsewhere as api_key"
)


class CredentialsError(Exception):
    """An identity could not be resolved. The message says why and what to set; ``__cause__`` has the detail.

    Attributes:
        is_temporary: whether AWS, or the way to it, failed, rather than that something is configured wrongly.
    """

    def __init__(self, message: str, *, is_temporary: bool = False) -> None:
        super().__init__(message)
        self.is_temporary = is_temporary


_loading = threading.RLock()  # held also by whoever forks: see `register_at_fork`


def load(module: str) -> Any:
    """Import a module of botocore's, or boto3, in whatever thread comes first."""
    with _loading:
        return importlib.import_module(module)


_all_sources: weakref.WeakSet[CredentialSource] = weakref.WeakSet()


class CredentialSource:
    """One identity's credentials: resolved by one thread at a time, held for ``HOLD_SECONDS``, shared by all callers.

    Args:
        new_resolver: makes a function that gives botocore credentials, or None where there are none. That function
            may block, and may keep what it got for as long as it is good.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self, new_resolver: Callable[[], Callable[[], Any]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._new_resolver = new_resolver
        self._resolve = new_resolver()
        self._clock = clock
        self._lock = threading.Lock()
        self._held: FrozenCredentials | None = None
        self._held_since = 0.0
        self._paused_until = 0.0
        self._resolving: Future[FrozenCredentials] | None = None
        _all_sources.add(self)

    def get(self) -> FrozenCredentials | Future[FrozenCredentials]:
        """The credentials at once where they are held; else the one resolution that is under way. Never blocks."""
        with self._lock:
            if self._held is not None and self._clock() - self._held_since < HOLD_SECONDS:
                return self._held
            if self._resolving is None:
                self._resolving = Future()
                # A thread of its own: in a pool, sources that take their time would hold up all the others.
                threading.Thread(
                    target=self._refresh, args=(self._resolving,), name="sagemaker-openai-credentials", daemon=True
                ).start()
            return self._resolving

    def wait(self) -> FrozenCredentials:
        """The credentials, waited for. For a thread that may block.

        Raises:
            CredentialsError: there are none, or they did not come within a minute.
        """
        got = self.get()
        try:
            return got.result(_WAIT_SECONDS) if isinstance(got, Future) else got
        except FutureTimeoutError as error:
            raise CredentialsError(f"AWS credentials did not come within {_WAIT_SECONDS:g} s") from error

    def invalidate(self, refused: FrozenCredentials) -> bool:
        """Drop what AWS refused, and all that led to it, and say whether there is reason to resolve anew.

        There is none for ``HOLD_SECONDS`` after ``pause_refresh``: where the permission is missing, each refused call
        would ask STS again, and take the credentials away from the calls that AWS accepts.
        """
        with self._lock:
            if self._held == refused:
                if self._clock() < self._paused_until:
                    return False
                self._held = None
                self._resolve = self._new_resolver()
            return True

    def pause_refresh(self) -> None:
        """Fresh credentials were refused as well, or are the same: resolving them again would not help."""
        with self._lock:
            self._paused_until = self._clock() + HOLD_SECONDS

    def _refresh(self, waited_for: Future[FrozenCredentials]) -> None:
        frozen, failure, began = None, None, self._clock()
        try:
            with quiet_botocore():
                frozen = freeze(self._resolve())
        except CredentialsError as error:
            failure = error
        except Exception as error:  # botocore, boto3 and LiteLLM's secret managers raise what they like
            failure = _as_failure(error)
        record(CREDENTIALS_RESOLUTION, self._clock() - began, "failed" if frozen is None else "resolved")
        with self._lock:
            if frozen is not None:
                self._held, self._held_since = frozen, self._clock()
            if self._resolving is waited_for:
                self._resolving = None
        if frozen is not None:
            waited_for.set_result(frozen)
        else:
            waited_for.set_exception(failure)


def _begin_anew() -> None:
    """A fork takes no threads along: neither one that holds a lock, nor one that resolves."""
    for source in list(_all_sources):
        source._lock, source._resolving = threading.Lock(), None


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_begin_anew)
    # A module that is half loaded, by a thread that the fork does not take along, stays so: a fork waits for it.
    os.register_at_fork(before=_loading.acquire, after_in_parent=_loading.release, after_in_child=_loading.release)


class _QuietThreads(threading.local):
    """Which threads are resolving credentials, or sign with them."""

    resolving = False


class _NoSecrets(logging.Filter):
    """Keeps what botocore logs at DEBUG while it resolves credentials, or asks AWS, out of the logs: STS's answers
    whole, the web identity token, the strings that it signs. Other threads, and other levels, log as ever."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _threads.resolving or record.levelno > logging.DEBUG


_threads = _QuietThreads()
_no_secrets = _NoSecrets()


@contextmanager
def quiet_botocore() -> Iterator[None]:
    """Let botocore log nothing at DEBUG in this thread. tests/test_secrets.py shows what it would."""
    _filter_loggers()
    before, _threads.resolving = _threads.resolving, True
    try:
        yield
    finally:
        _threads.resolving = before


@functools.cache
def _filter_loggers() -> None:
    """A filter works on the logger that it is on and not on its children, so it goes on each: on those of all modules,
    since these may be loaded by what is to be quiet."""
    for package in ("botocore", "boto3", "urllib3"):
        spec = importlib.util.find_spec(package)
        for name in (package, *_modules_in(package, spec.submodule_search_locations if spec else None)):
            logging.getLogger(name).addFilter(_no_secrets)


def _modules_in(package: str, folders: Iterable[str] | None) -> Iterator[str]:
    """The names of a package's modules, its subpackages' included. Loads none, as ``pkgutil.walk_packages`` would."""
    for folder in filter(os.path.isdir, folders or ()):
        os.listdir(folder)  # raises where it cannot be read, which pkgutil takes for an empty one
    for each in pkgutil.iter_modules(folders or ()):
        yield f"{package}.{each.name}"
        if each.ispkg:
            inner = [os.path.join(folder, each.name) for folder in folders or ()]
            yield from _modules_in(f"{package}.{each.name}", inner)


def freeze(credentials: Any) -> FrozenCredentials:
    """One coherent version of botocore credentials. A refresh that falls between two reads would mix two versions.

    Raises:
        CredentialsError: there are none.
    """
    if credentials is None:
        raise CredentialsError(NO_CREDENTIALS)
    frozen = credentials.get_frozen_credentials() if hasattr(credentials, "get_frozen_credentials") else credentials
    if not frozen.access_key or not frozen.secret_key:
        raise CredentialsError(NO_CREDENTIALS)
    if isinstance(frozen, FrozenCredentials):
        return frozen
    return FrozenCredentials(frozen.access_key, frozen.secret_key, frozen.token)


def default_credentials(profile: str | None = None) -> Any:
    """botocore's credentials from the default AWS chain or of a profile, or None where it finds none. May block."""
    return load("botocore.session").Session(profile=profile).get_credentials()


_profile_regions: BoundedTable[Any, str | None] = BoundedTable(_MOST_KEPT)
_runtime_urls: BoundedTable[Any, str] = BoundedTable(_MOST_KEPT)


def profile_region(profile: str | None) -> str | None:
    """The region that the AWS config file has for a profile (None: the default one), if any.

    Raises:
        ValueError: there is no such profile.
    """
    key = (profile, environment(ENDPOINT_VARIABLES))
    return _profile_regions.get(key, lambda: _session(profile).get_config_variable("region") or None)


def runtime_url(region: str, profile: str | None = None) -> str:
    """The SageMaker runtime's base URL as botocore resolves it.

    So each partition's host, FIPS and dual-stack, ``AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME``, ``AWS_ENDPOINT_URL`` and
    the profile's ``endpoint_url`` are right. Costs a look-up where it was resolved before, and some 90 ms where that
    takes botocore: where more than a URL in the environment is configured, and outside AWS's largest partition.

    Raises:
        ValueError: there is no such profile, or no such host.
    """
    return _runtime_urls.get((region, profile, environment(ENDPOINT_VARIABLES)), lambda: _resolve_url(region, profile))


def _resolve_url(region: str, profile: str | None) -> str:
    return _ordinary_url(region, profile) or botocores_url(region, profile)


def _ordinary_url(region: str, profile: str | None) -> str | None:
    """What ``botocores_url`` would give, where that is certain without its 50 ms and 7 MB; else None."""
    if any(name in os.environ for name in _HOST_VARIABLES) or os.path.isdir(os.path.expanduser("~/.aws/models")):
        return None
    if not _HOST_SETTINGS.isdisjoint(_settings(profile)):
        return None
    named = os.environ.get("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME") or os.environ.get("AWS_ENDPOINT_URL")
    return ordinary_url(region, named)


def _settings(profile: str | None) -> Mapping[str, Any]:
    """A profile's settings in AWS's files. Where there are no files, botocore, which reads them, is not imported."""
    files = (("AWS_CONFIG_FILE", "~/.aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"))
    paths = (os.path.expanduser(os.path.expandvars(os.environ.get(*each))) for each in files)
    named = profile is not None or os.environ.keys() & {"AWS_PROFILE", "AWS_DEFAULT_PROFILE"}
    settings: Mapping[str, Any] = (
        _session(profile).get_scoped_config() if named or any(map(os.path.isfile, paths)) else {}
    )
    return settings


def botocores_url(region: str, profile: str | None) -> str:
    """The URL of botocore's client."""
    session = _session(profile)
    try:
        # The keys are only so that botocore does not search for some: the client signs nothing.
        client = session.create_client(
            "sagemaker-runtime", region_name=region, aws_access_key_id="unused", aws_secret_access_key="unused"
        )
    except load("botocore.exceptions").BotoCoreError as error:
        raise ValueError(f"no SageMaker runtime host for region {region!r}: {error}") from error
    url = str(client.meta.endpoint_url)
    client.close()
    return url


def _session(profile: str | None) -> Any:
    exceptions = load("botocore.exceptions")
    session = load("botocore.session").Session(profile=profile)
    try:
        session.get_scoped_config()
    except (exceptions.ProfileNotFound, exceptions.ConfigParseError) as error:
        raise ValueError(f"{error}; check aws_profile_name, AWS_PROFILE and the AWS config file") from error
    return session


def environment(names: tuple[str, ...]) -> tuple[str | None, ...]:
    """The values of environment variables, for a cache's key: a changed environment is then seen at once."""
    return tuple(map(os.environ.get, names))


def explain_failure(error: Exception) -> str:
    """Why credentials could not be resolved, for the caller.

    Without AWS's own message, which names accounts and users: it stands in the cause, which the operator's log gets.
    """
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, load("botocore.exceptions").ClientError):
        reason = f"{error.operation_name} answered {error.response.get('Error', {}).get('Code', 'an error')}"
    return f"AWS credentials could not be resolved: {reason}"


def _as_failure(error: Exception) -> CredentialsError:
    try:
        failure = CredentialsError(explain_failure(error), is_temporary=_is_temporary(error))
    except (ImportError, OSError) as unloaded:  # botocore cannot be loaded, as where no more files can be opened
        failure = CredentialsError(f"AWS credentials could not be resolved: {unloaded}", is_temporary=True)
    failure.__cause__ = error
    return failure


def _is_temporary(error: Exception) -> bool:
    exceptions = load("botocore.exceptions")
    if isinstance(error, exceptions.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
        return status >= 500 or status == 429 or "Throttl" in error.response.get("Error", {}).get("Code", "")
    if isinstance(error, exceptions.CredentialRetrievalError):
        # botocore's ContainerProvider, where its endpoint does not answer
        return bool(error.kwargs.get("provider") == "container-role")
    away = (exceptions.ConnectionError, exceptions.HTTPClientError, exceptions.MetadataRetrievalError)
    return isinstance(error, away)
