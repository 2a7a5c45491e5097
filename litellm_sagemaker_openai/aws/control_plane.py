"""SageMaker's control plane: which endpoints and inference components there are, and which can be called.

``find`` asks, in threads and no more than it must; what the answers mean is decided by pure functions over them.
Does not import LiteLLM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from litellm_sagemaker_openai.aws.region import configured_region
from litellm_sagemaker_openai.target import Target

# At a time, within one region. SageMaker throttles Describe calls by account; botocore asks again where it does.
_CALLS = 8
_REGIONS = 16
# A region that cannot be reached is given up within a minute; botocore's own limit is a minute for each of 5 tries.
_CONFIG = Config(connect_timeout=5, read_timeout=20, max_pool_connections=_CALLS)

_IN_SERVICE = "InService"  # botocore 1.44.5, shapes EndpointStatus and InferenceComponentStatus

Answer: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Listed:
    """An endpoint, or an inference component on one. The fields are the keys of ``endpoints --json``.

    Attributes:
        inference_component: None for an endpoint.
        status: SageMaker's word, such as ``InService``.
        model: what LiteLLM takes as ``model``. None for an endpoint that hosts components: only they are called.
        callable: whether ``model`` is in service, and a component's endpoint as well. A component at zero copies is:
            a call starts it. None: not known, as nothing tells whether the endpoint hosts components.
        asynchronous: answers only ``InvokeEndpointAsync``. None: not known.
        serverless: has no instances. None: not known.
        instance_types: of the endpoint's production variants; none for a component.
        current: how many instances there are, or copies of a component. None: not known, or serverless.
        desired: how many there are to be.
        images: the containers', as they were specified; none where that is not known.
    """

    region: str
    endpoint: str
    inference_component: str | None
    status: str
    failure_reason: str | None
    model: str | None
    callable: bool | None
    asynchronous: bool | None
    serverless: bool | None
    instance_types: tuple[str, ...]
    current: int | None
    desired: int | None
    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What there is in a region: endpoints by name, each before its components.

    Attributes:
        not_permitted: IAM actions that the credentials lack, such as ``sagemaker:DescribeModel``. What only they tell
            is not known in ``listed``.
    """

    region: str
    listed: tuple[Listed, ...] = ()
    not_permitted: tuple[str, ...] = ()


def client(region: str, profile: str | None = None) -> Any:
    """A boto3 client of a region's control plane, with a profile's credentials or, for None, the default AWS chain's.

    Raises:
        botocore.exceptions.BotoCoreError: there is no such profile.
    """
    return boto3.session.Session(profile_name=profile).client("sagemaker", region_name=region, config=_CONFIG)


def find(client: Any, endpoint: str | None = None) -> Found:
    """All endpoints and components in the client's region, or one endpoint with its components.

    Raises:
        botocore.exceptions.ClientError: AWS refuses ListEndpoints, or DescribeEndpoint for the endpoint named (also
            where there is none of that name), or throttles. Other calls that are not permitted are only noted.
        botocore.exceptions.BotoCoreError: there are no credentials, or AWS cannot be reached.
    """
    region, ask = client.meta.region_name, _Ask(client)
    if endpoint is None:
        summaries = client.get_paginator("list_endpoints").paginate().build_full_result()["Endpoints"]
    else:
        summaries = [client.describe_endpoint(EndpointName=endpoint)]
    if not summaries:
        return Found(region)
    with ThreadPoolExecutor(_CALLS, "sagemaker") as pool:
        endpoints = pool.map(ask.endpoint, summaries)
        components = list(pool.map(ask.component, ask.components(endpoint)))
        listed = _listed(region, list(endpoints), components)
    return Found(region, listed, tuple(sorted(ask.denied)))


def find_in_regions(regions: Iterable[str], profile: str | None = None) -> dict[str, Found | Exception]:
    """What ``find`` finds in each region, or the error that it raised there.

    A region that is not enabled for the account refuses all credentials (``UnrecognizedClientException``).
    """
    session = boto3.session.Session(profile_name=profile)
    # Made here and not in the threads: a session is for one thread, its clients are for any.
    clients = {region: session.client("sagemaker", region_name=region, config=_CONFIG) for region in regions}

    def attempt(in_region: Any) -> Found | Exception:
        try:
            return find(in_region)
        except (ClientError, BotoCoreError) as error:
            failure: Exception = error
            return failure

    with ThreadPoolExecutor(_REGIONS, "sagemaker-regions") as pool:
        return dict(zip(clients, pool.map(attempt, clients.values()), strict=True))


def regions(profile: str | None = None) -> list[str]:
    """SageMaker's regions as the installed botocore knows them, of the partition that the configured region is in.

    Raises:
        botocore.exceptions.BotoCoreError: there is no such profile, or the configured region is in no partition.
    """
    session = boto3.session.Session(profile_name=profile)
    configured = configured_region(profile, region_of=lambda _: session.region_name)
    partition = session.get_partition_for_region(configured[0]) if configured else "aws"
    return sorted(session.get_available_regions("sagemaker", partition_name=partition))


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """What was answered about an endpoint; what could not be asked is empty."""

    summary: Answer
    described: Answer
    config: Answer
    images: tuple[str, ...]

    @property
    def name(self) -> str:
        return str(self.summary["EndpointName"])


@dataclass(frozen=True, slots=True)
class _Component:
    """The same about a component."""

    summary: Answer
    described: Answer
    images: tuple[str, ...]

    @property
    def name(self) -> str:
        return str(self.summary["InferenceComponentName"])


@dataclass(frozen=True, slots=True)
class _Ask:
    """Asks what the credentials may ask; ``denied`` has what they may not. For several threads."""

    client: Any
    denied: set[str] = field(default_factory=set)

    def endpoint(self, summary: Answer) -> _Endpoint:
        described = summary  # where it is DescribeEndpoint's answer already
        if "EndpointConfigName" not in summary:
            described = self._may(self.client.describe_endpoint, EndpointName=summary["EndpointName"])
        config: Answer = {}
        if config_name := described.get("EndpointConfigName"):
            config = self._may(self.client.describe_endpoint_config, EndpointConfigName=config_name)
        deployed = [image for variant in _variants(described) for image in variant.get("DeployedImages", ())]
        images = _distinct(image.get("SpecifiedImage") for image in deployed)
        return _Endpoint(summary, described, config, images or self._images_of_models(_variants(config)))

    def components(self, endpoint: str | None) -> Sequence[Answer]:
        only = {"EndpointNameEquals": endpoint} if endpoint else {}
        pages = self.client.get_paginator("list_inference_components").paginate(**only)
        components: Sequence[Answer] = self._may(pages.build_full_result).get("InferenceComponents", ())
        return components

    def component(self, summary: Answer) -> _Component:
        name = summary["InferenceComponentName"]
        described = self._may(self.client.describe_inference_component, InferenceComponentName=name)
        # The plural: a component that is specified for each of several instance types.
        specified = [described.get("Specification", {}), *described.get("Specifications", ())]
        deployed = [each.get("Container", {}).get("DeployedImage", {}) for each in specified]
        images = _distinct(image.get("SpecifiedImage") for image in deployed)
        return _Component(summary, described, images or self._images_of_models(specified))

    def _images_of_models(self, specified: Iterable[Answer]) -> tuple[str, ...]:
        """For what does not tell its images itself: a component made of a model, an endpoint that is being created."""
        names = _distinct(each.get("ModelName") for each in specified)
        models = [self._may(self.client.describe_model, ModelName=name) for name in names]
        containers = [
            each for model in models for each in (model.get("PrimaryContainer", {}), *model.get("Containers", ()))
        ]
        return _distinct(container.get("Image") for container in containers)

    def _may(self, call: Callable[..., Answer], **parameters: str) -> Answer:
        """The answer, or an empty one where the credentials may not ask, or there is nothing of that name: a model or
        an endpoint's configuration can be deleted while the endpoint runs on, and the endpoint since it was listed."""
        try:
            return call(**parameters)
        except ClientError as error:
            said = error.response.get("Error", {})
            if said.get("Code") == "AccessDeniedException":
                self.denied.add(f"sagemaker:{error.operation_name}")
            elif said.get("Code") != "ValidationException" or "Could not find" not in said.get("Message", ""):
                raise
            return {}


def _listed(region: str, endpoints: Iterable[_Endpoint], components: Iterable[_Component]) -> tuple[Listed, ...]:
    listed: list[Listed] = []
    by_name = sorted(components, key=lambda each: each.name)
    for endpoint in sorted(endpoints, key=lambda each: each.name):
        hosted = [each for each in by_name if each.summary["EndpointName"] == endpoint.name]
        host = _listed_endpoint(region, endpoint, has_components=bool(hosted))
        listed += [host, *(_listed_component(host, each) for each in hosted)]
    return tuple(listed)


def _listed_endpoint(region: str, endpoint: _Endpoint, *, has_components: bool) -> Listed:
    described, variants, configured = endpoint.described, _variants(endpoint.described), _variants(endpoint.config)
    status = described.get("EndpointStatus") or endpoint.summary["EndpointStatus"]
    # An endpoint that is made for components has no model and no image of its own, and at first no components either.
    has_model = bool(endpoint.images) or any("ModelName" in each for each in configured)
    hosts_components = has_components or (bool(configured) and not has_model)
    is_callable = not hosts_components if hosts_components or has_model else None
    return Listed(
        region=region,
        endpoint=endpoint.name,
        inference_component=None,
        status=status,
        failure_reason=described.get("FailureReason"),
        model=None if hosts_components else _model(Target(endpoint.name)),
        callable=is_callable if status == _IN_SERVICE else False,
        asynchronous="AsyncInferenceConfig" in described if described else None,
        serverless=any("CurrentServerlessConfig" in each for each in variants) if described else None,
        instance_types=_distinct(
            each.get("InstanceType")
            for variant in (*configured, *variants)
            for each in (variant, *variant.get("InstancePools", ()))
        ),
        current=_total(each.get("CurrentInstanceCount") for each in variants),
        desired=_total(each.get("DesiredInstanceCount") for each in variants),
        images=endpoint.images,
    )


def _listed_component(host: Listed, component: _Component) -> Listed:
    described, copies = component.described, component.described.get("RuntimeConfig", {})
    status = described.get("InferenceComponentStatus") or component.summary["InferenceComponentStatus"]
    return Listed(
        region=host.region,
        endpoint=host.endpoint,
        inference_component=component.name,
        status=status,
        failure_reason=described.get("FailureReason"),
        model=_model(Target(host.endpoint, component.name)),
        callable=status == host.status == _IN_SERVICE,
        asynchronous=host.asynchronous,
        serverless=host.serverless,
        instance_types=(),
        current=copies.get("CurrentCopyCount"),
        desired=copies.get("DesiredCopyCount"),
        images=component.images,
    )


def _model(target: Target) -> str:
    return f"sagemaker_openai/{target}"


def _variants(answer: Answer) -> Sequence[Answer]:
    variants: Sequence[Answer] = answer.get("ProductionVariants", ())
    return variants


def _distinct(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))


def _total(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
