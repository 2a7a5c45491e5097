"""An optional callback that keeps mistakes, a caller's or an operator's, out of LiteLLM's ``fallbacks``.

What LiteLLM does: its Router runs ``fallbacks`` for every exception, whoever the provider is, and lets neither an
exception nor its provider say otherwise (``async_function_with_fallbacks_common_utils`` in router.py). But before each
try it asks its callbacks which deployments may take the request (``async_filter_deployments``), and the request's
metadata says which group failed before, and how (``previous_models``).
Seen on: LiteLLM 1.103.0, 1.106.2, 1.110.2.
Without them: fallbacks run for every exception.
Needed until: an exception can say so. tests/operating/test_fallbacks.py and tests/operating/test_outcomes.py show what
it does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import litellm
from litellm.integrations.custom_logger import CustomLogger

from litellm_sagemaker_openai.litellm_seams import lookup
from litellm_sagemaker_openai.litellm_seams.router_records import metadata_of
from litellm_sagemaker_openai.litellm_seams.stream_opening import goes_to_this_provider
from litellm_sagemaker_openai.operator_log import warn_seldom
from litellm_sagemaker_openai.refusals import MISCONFIGURED, NOT_SENT
from litellm_sagemaker_openai.upstream_errors import PROVIDER, shortened

_LITELLMS_WORDS = "litellm.BadRequestError: "
# How a refusal of this callback begins. It counts as a mistake, too: LiteLLM remembers the last 4 failures of a request
# (RETRY_BREADCRUMB_LIMIT in router.py, 1.106.2), and after some fallbacks all of these may be refusals.
_NOT_ASKED = f"{_LITELLMS_WORDS}the fallback was not asked, since this is no failure: "
# What `errors.to_exception` says of a 4xx, and `refusals` of what was never sent, behind LiteLLM's name for the
# exception; and LiteLLM itself of a parameter that it does not know this provider to take. A prompt that is too long is
# a ContextWindowExceededError, 408 a Timeout, 429 a RateLimitError. 424 is SageMaker's word for a container's failure.
_MISTAKE = re.compile(
    rf"{re.escape(_NOT_ASKED)}"
    r"|litellm\.(?:BadRequest|UnprocessableEntity|Authentication|PermissionDenied|NotFound)Error: "
    r"(?:(?:SageMaker|the container) answered (?:(?P<refuses_deployment>40[134])|4(?!24)\d\d): |"
    rf"(?P<misconfigured>{re.escape(MISCONFIGURED)})|{re.escape(NOT_SENT)})"
    rf"|litellm\.UnsupportedParamsError: (?P<undeclared>{PROVIDER} does not support parameters|"
    rf"Setting .{{0,200}} is not supported by {PROVIDER})"
)
# litellm.types.router.RouterErrors.no_deployments_available, 1.106.2.
_NONE_AVAILABLE = "No deployments available for selected model"
_COOLED = frozenset({"401", "404"})  # of the statuses of mistakes: after which LiteLLM lets a deployment cool down
_LONGEST_GROUP = 500  # characters of a name that a wildcard may take


class NoFallbackOnBadRequest(CustomLogger):
    """Refuses fallbacks of a request that this provider, SageMaker or the container refused.

    That is: what is refused before anything is sent, and each answer of 400 to 499 but for 408, 424, 429, no capacity
    and a prompt that is too long. The caller gets the refusal. Within a model group, only this provider's deployments
    are asked again; where one is configured wrongly and another one fails, that is a failure.
    ``context_window_fallbacks``, and fallbacks of other failures and of other providers, stay as they are. LiteLLM does
    not ask its callbacks in ``Router.completion``: there fallbacks run.
    """

    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: list[Any],
        messages: list[Any] | None,
        request_kwargs: dict[str, Any] | None = None,
        parent_otel_span: Any = None,
    ) -> list[dict[Any, Any]]:
        """The deployments that may take the request: all, unless a try before ended in a mistake.

        Raises:
            litellm.BadRequestError: none may. LiteLLM logs it, as it logs what a fallback ends with, and raises the
                refusal itself.
        """
        for failed in mistakes_before(request_kwargs or {}, model):
            if failed.is_group(model):
                healthy_deployments = [each for each in healthy_deployments if _is_ours(each)]
            if not failed.is_group(model) or not healthy_deployments:
                raise failed.refusal(model)
        for cooling in await _cooling_for_mistakes(request_kwargs or {}):
            if not cooling.is_group(model):
                raise cooling.refusal(model)
        return healthy_deployments


no_fallback_on_bad_request = NoFallbackOnBadRequest()


@dataclass(frozen=True, slots=True)
class Mistake:
    """A try that was refused, by the Router's record of it.

    Attributes:
        group: the model group that was asked, or its alias.
        alias: of the request, if any. Nothing tells which group it stands for.
        said: the exception's text.
    """

    group: str
    alias: str | None
    said: str

    def is_group(self, model: str) -> bool:
        """Whether a group that is asked now is, or may be, the one that was asked then."""
        # LiteLLM 1.110 names a wildcard's group by its pattern.
        return self.group in (model, self.alias) or _takes(str(model), self.group)

    def refusal(self, model: str) -> litellm.BadRequestError:
        """What keeps ``model`` from being asked. The operator is told of a parameter that a deployment may lack; who
        refuses a deployment itself has told of that (``execution.py``, ``preparation.py``)."""
        said = self.said.removeprefix(_NOT_ASKED)
        if (match := _MISTAKE.match(said)) is not None and match["undeclared"]:
            warn_seldom(f"a request for {self.group} was refused, and {model} was not asked instead", said)
        refusal = f"{_NOT_ASKED.removeprefix(_LITELLMS_WORDS)}{shortened(said)}"  # LiteLLM logs it
        return litellm.BadRequestError(refusal, model, PROVIDER)


def was_refused(request: Mapping[str, Any], model: str) -> bool:
    """Whether the callback, where it is in use, kept a request from a model group for a try that was refused before."""
    if no_fallback_on_bad_request not in litellm.callbacks:
        return False
    return any(not failed.is_group(model) for failed in mistakes_before(request, model))


def refuse_fallback(call: Mapping[str, Any]) -> None:
    """Refuse what ``async_filter_deployments`` is not asked of: a fallback to a deployment by its id.

    Args:
        call: LiteLLM's keywords, once the deployment is chosen.

    Raises:
        litellm.BadRequestError: as for ``async_filter_deployments``; nothing where the callback is not in use.
    """
    model = str(call.get("model"))
    for failed in mistakes_before(call, next((each.get("model_group") for each in metadata_of(call)), None)):
        if no_fallback_on_bad_request in litellm.callbacks and not goes_to_this_provider(call):
            raise failed.refusal(model)


def mistakes_before(request: Mapping[str, Any], model: Any) -> Iterator[Mistake]:
    """The tries of a Router's request so far that were refused.

    Args:
        request: the Router's keywords.
        model: the model group that is asked now.
    """
    metadata = _metadata(request)
    begins = not request.get("fallback_depth") and metadata.get("model_group", model) == model
    failures = list(_failures(metadata))
    failed = {group for group, said in failures if not (_MISTAKE.match(said) or said.startswith(_NONE_AVAILABLE))}
    for group, said in failures:
        mistake, match = Mistake(group, metadata.get("model_group_alias"), said), _MISTAKE.match(said)
        if match is None or (group in failed and (match["refuses_deployment"] or match["misconfigured"])):
            continue
        # A request that begins has none for another group: LiteLLM writes into metadata that its caller may use again.
        if mistake.is_group(model) or not begins:
            yield mistake


async def _cooling_for_mistakes(request: Mapping[str, Any]) -> list[Mistake]:
    """The groups that a request was not tried on, since all of their deployments cool down after a mistake.

    LiteLLM lets a deployment cool down after 401 and 404, a group's only one, too. Nothing but the proxy's Router tells
    why: in a Router of one's own, fallbacks run meanwhile.
    """
    router = lookup.in_loaded("litellm.proxy.proxy_server", "llm_router")
    ask = lookup.attribute(lookup.attribute(router, "cooldown_cache"), "async_get_active_cooldowns")
    cooling = []
    for group, said in _failures(_metadata(request)):
        if ask is None or not said.startswith(_NONE_AVAILABLE):
            continue
        deployments = router.get_model_list(model_name=group) or ()
        ids = [each["model_info"]["id"] for each in deployments if _is_ours(each)]
        causes = [str(cause["status_code"]) for _, cause in await ask(model_ids=ids, parent_otel_span=None)]
        if ids and len(ids) == len(deployments) == len(causes) and _COOLED.issuperset(causes):
            said = f"its deployments cool down after an answer of {' and '.join(sorted(set(causes)))}"
            cooling.append(Mistake(group, _metadata(request).get("model_group_alias"), said))
    return cooling


def _takes(pattern: str, name: str) -> bool:
    """Whether a wildcard takes a name. Either may be a client's, and long: to compile a pattern takes seconds then."""
    return "*" in pattern and max(len(pattern), len(name)) <= _LONGEST_GROUP and fnmatchcase(name, pattern)


def _metadata(request: Mapping[str, Any]) -> Mapping[str, Any]:
    # As Router.log_retry.
    return request.get("litellm_metadata" if "litellm_metadata" in request else "metadata") or {}


def _failures(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The model group and the exception's text of each try so far."""
    for attempt in metadata.get("previous_models") or ():
        # LiteLLM's record (litellm.types.router.RetryAttemptRecord); a caller may have sent others.
        if isinstance(attempt, Mapping):
            yield str(attempt.get("model_group")), str(attempt.get("exception_string"))


def _is_ours(deployment: Any) -> bool:
    parameters = deployment.get("litellm_params") or {}
    return parameters.get("custom_llm_provider") == PROVIDER or str(parameters.get("model")).startswith(f"{PROVIDER}/")
