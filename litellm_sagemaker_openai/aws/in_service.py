"""The models in service in a region, by an account's control plane: held, and asked for in the background.

Does not import LiteLLM, and what asks AWS only when it is asked: that takes 50 ms.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from litellm_sagemaker_openai.aws.credentials import CredentialsError, load
from litellm_sagemaker_openai.aws.hosts import is_known_to_aws
from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials
from litellm_sagemaker_openai.target import Target

if TYPE_CHECKING:
    from litellm_sagemaker_openai.aws.control_plane import Found

ASK_AGAIN_SECONDS = 300.0  # whether AWS answered or not; each time, a few requests for each endpoint
_KEPT_SECONDS = 3600.0  # what was found, where AWS cannot be asked any more
_MOST_MODELS = 500  # a name takes 60 µs, as long as LiteLLM itself takes for each that it lists
_AT_ONCE = threading.Semaphore(8)  # lists that are asked for in the background: each takes some MB, and 9 threads

# What tells that a model can be called. Other actions tell only more about it.
PERMISSIONS = (
    "sagemaker:ListEndpoints",
    "sagemaker:ListInferenceComponents",
    "sagemaker:DescribeEndpoint",
    "sagemaker:DescribeEndpointConfig",
)


def failures() -> tuple[type[Exception], ...]:
    """What asking AWS may raise. A ValueError says that there is no region, or no such profile."""
    botocores = load("botocore.exceptions")
    return botocores.BotoCoreError, botocores.ClientError, CredentialsError, MissingPermissions, ValueError


class MissingPermissions(Exception):
    """AWS answered, but not all that tells which models can be called. ``models`` has those that are known."""

    def __init__(self, models: frozenset[str], actions: tuple[str, ...]) -> None:
        super().__init__(f"some may not be known, since the credentials lack {', '.join(actions)}")
        self.models = models


class ModelsInService:
    """What can be called, as ``<endpoint>[/<inference component>]``.

    Args:
        ask: asks AWS. May block; raises one of ``failures()``.
        warn: told why AWS could not be asked, once until it could be again.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        ask: Callable[[], frozenset[str]],
        warn: Callable[[Exception], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self.warn = warn
        self._clock = clock
        self._lock = threading.Lock()
        self._next_ask = clock()
        self._found_at = clock()
        self._has_warned = False
        self.held: frozenset[str] = frozenset()  # what is known, and nobody is asked

    def known(self) -> frozenset[str]:
        """What is known now. Where that is old, AWS is asked in a thread, for those who look later. Never blocks."""
        with self._lock:
            is_due = self._clock() >= self._next_ask
            if is_due:
                self._next_ask = self._clock() + ASK_AGAIN_SECONDS
        if is_due:
            threading.Thread(target=self._refresh, name="sagemaker-openai-models", daemon=True).start()
        return self.held

    def ask_now(self) -> frozenset[str]:
        """What is in service now. Blocks; for those who ask for that.

        Raises: one of ``failures()``.
        """
        found = self._ask()
        self._hold(found)
        return found

    def _refresh(self) -> None:
        if not _AT_ONCE.acquire(timeout=ASK_AGAIN_SECONDS):
            return  # whoever looks now starts another
        try:
            self.ask_now()
            self._has_warned = False
        except failures() as error:
            if isinstance(error, MissingPermissions):
                self._hold(error.models)
            elif self._clock() - self._found_at > _KEPT_SECONDS:
                self.held = frozenset()
            if not self._has_warned:
                self._has_warned = True
                self.warn(error)
        except RuntimeError as error:  # `find` asks in threads, and the interpreter starts no more where it ends
            if "shutdown" not in str(error):
                raise
        finally:
            _AT_ONCE.release()

    def _hold(self, found: frozenset[str]) -> None:
        with self._lock:
            self.held, self._found_at = found, self._clock()
            self._next_ask = self._found_at + ASK_AGAIN_SECONDS


def models_in_service(credentials: FrozenCredentials, region: str, profile: str | None, runtime: str) -> frozenset[str]:
    """Ask the control plane.

    Args:
        credentials: that sign.
        region: the region.
        profile: a profile of the AWS configuration, for the control plane's URL.
        runtime: the SageMaker runtime's URL. Where AWS knows nothing of it, as of the local runtime, it is not asked.

    Raises: one of ``failures()``.
    """
    new_session = load("botocore.session").Session  # first: what comes next imports botocore too, without a lock
    from litellm_sagemaker_openai.aws.control_plane import find

    # Shorter than for a command: `find` has threads that the interpreter waits for where a process ends.
    config = load("botocore.config").Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
    session = new_session(profile=profile)
    session.register_component("data_loader", _loader())
    session.set_credentials(credentials.access_key, credentials.secret_key, credentials.session_token)
    client = session.create_client("sagemaker", region_name=region, config=config)
    try:
        if not is_known_to_aws(runtime, client.meta.endpoint_url):
            return frozenset()
        found = find(client, settings=False)
    except (KeyError, TypeError, AttributeError) as error:  # botocore takes what lacks a member, and what is no JSON
        raise ValueError(f"{client.meta.endpoint_url} does not answer as SageMaker's control plane does") from error
    finally:
        client.close()
    models = callable_models(found)
    if missing := tuple(action for action in PERMISSIONS if action in found.not_permitted):
        raise MissingPermissions(models, missing)
    return models


def callable_models(found: Found) -> frozenset[str]:
    """What can be called and waits for its answer, so many at most: no Asynchronous Inference endpoints, whose calls
    need an option, and nothing of which either is not known."""
    models = (
        str(Target(each.endpoint, each.inference_component))
        for each in found.listed
        if each.callable and each.asynchronous is False
    )
    return frozenset(sorted(models)[:_MOST_MODELS])


@cache
def _loader() -> Any:
    """One for all: to read SageMaker's service model takes 0.3 s, and keeps other threads from running for 0.1 s."""
    return load("botocore.loaders").create_loader()
