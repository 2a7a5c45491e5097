"""Model string → the endpoint and inference component it names → the URL of their route. Pure.

Addressing rules: on ``/openai/v1`` the endpoint and the component stand in the path, never in a header: the route
refuses ``X-Amzn-SageMaker-Inference-Component`` whatever its value. On SageMaker's own routes, ``/invocations`` and
``/async-invocations``, it is the other way round: only the endpoint stands in the path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from litellm_sagemaker_openai.aws.hosts import REGION, aws_region_of, origin_of, without_userinfo
from litellm_sagemaker_openai.refusals import AtFault

# botocore 1.44.5, service model sagemaker-runtime 2017-05-13: shapes EndpointName and InferenceComponentName.
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_NAME_MAX_LENGTH = 63
NAME_RULE = f"letters, digits and hyphens, no hyphen first or last, at most {_NAME_MAX_LENGTH} characters"

_ARN = re.compile(r"arn:aws[a-z-]*:sagemaker:([a-z0-9-]+):\d{12}:([a-z-]+)/(.*)", re.DOTALL)
_REGION = re.compile(REGION)
_MODEL_FORM = "sagemaker_openai/<endpoint> or sagemaker_openai/<endpoint>/<inference component>"

CHAT_PATH = "/openai/v1/chat/completions"
# botocore 1.44.5, service model sagemaker-runtime 2017-05-13: InvokeEndpoint and InvokeEndpointWithResponseStream.
INVOCATIONS, RESPONSE_STREAM = _INVOCATIONS = ("invocations", "invocations-response-stream")


@dataclass(frozen=True, slots=True)
class Target:
    """What a call addresses: an endpoint, the inference component on it (if any), the region that an ARN gave."""

    endpoint: str
    component: str | None = None
    region: str | None = None

    @property
    def path(self) -> str:
        """``/endpoints/<endpoint>[/inference-components/<component>]``."""
        component = f"/inference-components/{self.component}" if self.component else ""
        return f"/endpoints/{self.endpoint}{component}"

    def __str__(self) -> str:
        return f"{self.endpoint}/{self.component}" if self.component else self.endpoint


def parse_target(model: str, model_id: str | None = None) -> Target:
    """The target that a model string (without ``sagemaker_openai/``) and ``model_id`` name together.

    Args:
        model: ``<endpoint>[/<component>]``, or an endpoint's ARN, with or without ``/<component>`` after it.
        model_id: an inference component's name or ARN; with a component in ``model`` too, they must agree.

    Raises:
        ValueError: a malformed name or ARN, too many parts, or disagreement. The message says what to write.
    """
    arn_region, names = None, model
    if model.startswith("arn:"):
        arn_region, kind, names = _split_arn(model, "model")
        if kind != "endpoint":
            raise ValueError(
                f"model {model!r} is the ARN of an {kind}; write the endpoint's name or ARN, "
                "and the inference component after it or as model_id"
            )
    parts = names.split("/")
    if len(parts) > 2:
        raise ValueError(f"model {model!r} has {len(parts)} parts; write {_MODEL_FORM}")
    endpoint = _checked_name(parts[0], "endpoint", model)
    component = _checked_name(parts[1], "inference component", model) if len(parts) == 2 else None
    return _with_model_id(Target(endpoint, component, arn_region), model_id)


def _with_model_id(target: Target, model_id: str | None) -> Target:
    if model_id is None or model_id == "":
        return target
    region, component = target.region, model_id
    arn_region = None
    with AtFault("model_id"):  # whatever the model is
        if model_id.startswith("arn:"):
            arn_region, kind, component = _split_arn(model_id, "model_id")
            if kind != "inference-component":
                raise ValueError(f"model_id {model_id!r} is the ARN of an {kind}, not of an inference component")
        _checked_name(component, "inference component", model_id)
    region = agreed_region(region, arn_region, "the model's ARN", "model_id's ARN")
    if target.component not in (None, component):
        raise ValueError(
            f"the model string names the inference component {target.component!r} and model_id names {component!r}; "
            "give one of them"
        )
    return Target(target.endpoint, component, region)


def is_name(name: str) -> bool:
    """Whether SageMaker takes it for the name of an endpoint or an inference component."""
    return len(name) <= _NAME_MAX_LENGTH and _NAME.fullmatch(name) is not None


def agreed_region(first: str | None, second: str | None, first_name: str, second_name: str) -> str | None:
    """The one region that two sources give, or None where neither gives one.

    Raises:
        ValueError: they give different ones.
    """
    if first and second and first != second:
        raise ValueError(f"{first_name} says region {first!r} and {second_name} says {second!r}; they must agree")
    return first or second


def checked_region(region: str) -> str:
    """``region`` as it is. It becomes a part of the host name, so anything else than a region's name is refused.

    Raises:
        ValueError: it does not look like ``us-west-2``.
    """
    if not _REGION.fullmatch(region) or len(region) > _NAME_MAX_LENGTH:
        raise ValueError(f"{region!r} is not an AWS region; write one such as 'us-west-2'")
    return region


def chat_url(base_url: str, target: Target, region: str | None = None) -> str:
    """The URL of the target's chat route.

    Args:
        base_url: the runtime's base URL, with or without a path of its own, or a URL that already names the
            endpoint (as AWS's announcement gives it to the OpenAI SDK), up to ``/chat/completions``.
        target: what the call addresses.
        region: the region that the token is made for; an AWS host of another region is refused.

    Whether a token may go there is for ``destination`` to say.

    Raises:
        ValueError: a URL that is not absolute http(s), carries credentials, a query or a fragment, or names another
            endpoint, component or region than the call.
    """
    return f"{_runtime_root(base_url, target, region)}{target.path}{CHAT_PATH}"


def invocations_url(base_url: str, target: Target, region: str, *, route: str = "invocations") -> str:
    """The URL of one of the endpoint's own routes: ``invocations``, ``invocations-response-stream``,
    ``async-invocations``.

    It names no component: a header does. Arguments and errors are those of ``chat_url``; a base URL may end in the
    name of one of them, as LiteLLM's ``sagemaker/`` has it.
    """
    for name in (route, *_INVOCATIONS):
        base_url = base_url.removesuffix(f"/{name}")
    root = _runtime_root(base_url, target, region)
    return f"{root}/endpoints/{target.endpoint}/{route}"


@lru_cache(maxsize=1024)  # an eighth of what a call costs this provider, and the same for each call of a deployment
def _runtime_root(base_url: str, target: Target, region: str | None) -> str:
    """The part of a URL that stands before ``/endpoints/…``."""
    # urlsplit drops tabs and newlines, and `..` would leave the path: neither belongs into a base URL.
    if re.search(r"[\s\\\x00-\x1f\x7f]", base_url) or re.search(r"(?i)/(\.|%2e){1,2}(/|$)|%2f|%5c", base_url):
        raise ValueError(f"base URL {without_userinfo(base_url)!r} has characters or path parts that it must not have")
    if re.search(r"//[^/]*@|[?#]", base_url):
        raise ValueError("the base URL must carry no user name, password, query or fragment")
    origin, split = origin_of(base_url), urlsplit(base_url)
    host_region = aws_region_of(origin.host)
    if host_region and region:
        agreed_region(region, host_region, "the call", f"the host {origin.host}")
    return f"{origin.scheme}://{split.netloc.lower()}{_prefix_before(split.path, target)}"


def _prefix_before(path: str, target: Target) -> str:
    """The part of a base URL's path that stands before ``/endpoints/…``, once the rest agrees with the target."""
    path = path.rstrip("/")
    for suffix in ("/chat/completions", "/openai/v1"):
        path = path.removesuffix(suffix)
    prefix, found, named = path.rpartition("/endpoints/")
    if not found:
        return path
    parts = named.split("/")
    endpoint, component = parts[0], None
    if len(parts) == 3 and parts[1] == "inference-components":
        component = parts[2]
    elif len(parts) != 1:
        raise ValueError(f"base URL path {path!r} does not end in /endpoints/<name>[/inference-components/<name>]")
    if endpoint != target.endpoint or component not in (None, target.component):
        raise ValueError(
            f"the base URL names {'/'.join(filter(None, (endpoint, component)))!r} and the model string "
            f"{str(target)!r}; they must agree"
        )
    return prefix


def _split_arn(arn: str, where: str) -> tuple[str, str, str]:
    match = _ARN.fullmatch(arn)
    if match is None:
        raise ValueError(
            f"{where} {arn!r} is not a SageMaker ARN; write arn:aws:sagemaker:<region>:<account>:endpoint/<name>"
        )
    return match.group(1), match.group(2), match.group(3)


def _checked_name(name: str, kind: str, given: str) -> str:
    if not is_name(name):
        shown = f"{name!r} in {given!r}" if name != given else f"{name!r}"
        raise ValueError(f"{shown} is not the name of an {kind} ({NAME_RULE}); write {_MODEL_FORM}")
    return name
