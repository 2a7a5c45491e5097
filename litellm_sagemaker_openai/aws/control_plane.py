"""SageMaker's control plane: which endpoints and inference components there are, which can be called, and what they are
set to.

``find`` asks about all of them, in threads and no more than it must, ``look_up`` about one; what the answers mean is
decided by pure functions over them.
Does not import LiteLLM.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from litellm_sagemaker_openai.aws.container_settings import Container, ModelSettings, agreed, read_settings
from litellm_sagemaker_openai.aws.credentials import quiet_botocore
from litellm_sagemaker_openai.aws.region import configured_region
from litellm_sagemaker_openai.capabilities import Fact
from litellm_sagemaker_openai.target import Target

# At a time, within one region. SageMaker throttles Describe calls by account; botocore asks again where it does.
_CALLS = 8
_REGIONS = 16
# A region that cannot be reached is given up within a minute; botocore's own limit is a minute for each of 5 tries.
_CONFIG = Config(connect_timeout=5, read_timeout=20, max_pool_connections=_CALLS)

_IN_SERVICE = "InService"  # botocore 1.44.5, shapes EndpointStatus and InferenceComponentStatus

Answer: TypeAlias = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class VariantRouting:
    """How SageMaker chooses among the instances of a production variant. The fields are keys of ``endpoints --json``.

    Attributes:
        variant: its name.
        strategy: SageMaker's RoutingStrategy, such as ``PREFIX_AWARE``. None: none is set, which is ``RANDOM``.
        prefix_length: with ``PREFIX_AWARE``, how much of a prompt is compared: characters of the messages' text on
            ``/openai/v1``, bytes of the body on ``/invocations``.
        concurrency_threshold: with ``PREFIX_AWARE``, the requests in flight on an instance before another is taken.
        instances: how many there are to be. None: not known.
    """

    variant: str
    strategy: str | None
    prefix_length: int | None
    concurrency_threshold: int | None
    instances: int | None


@dataclass(frozen=True, slots=True)
class Listed:
    """An endpoint, or an inference component on one. The fields are keys of ``endpoints --json``.

    Attributes:
        inference_component: None for an endpoint.
        base_inference_component: the component that a LoRA adapter's component stands on; None for others.
        status: SageMaker's word, such as ``InService``.
        model: what LiteLLM takes as ``model``. None for an endpoint that hosts components: only they are called.
        callable: whether ``model`` is in service, and a component's endpoint as well. A component at zero copies is:
            a call starts it. None: not known, as nothing tells whether the endpoint hosts components.
        asynchronous: answers only ``InvokeEndpointAsync``. None: not known.
        serverless: has no instances. None: not known.
        instance_types: of the endpoint's production variants; none for a component.
        current: how many instances there are, or copies of a component. None: not known, or serverless.
        desired: how many there are to be.
        routing: of the endpoint's production variants; none for a component, and where there are no instances.
        images: the containers', as they were specified; none where that is not known.
        settings: what the model is deployed with.
    """

    region: str
    endpoint: str
    inference_component: str | None
    base_inference_component: str | None
    status: str
    failure_reason: str | None
    model: str | None
    callable: bool | None
    asynchronous: bool | None
    serverless: bool | None
    instance_types: tuple[str, ...]
    current: int | None
    desired: int | None
    routing: tuple[VariantRouting, ...]
    images: tuple[str, ...]
    settings: ModelSettings


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


@dataclass(frozen=True, slots=True)
class Deployed:
    """What one model is: its containers' images, what they are set to, and the permissions that are missing.

    Attributes:
        base: the component that a LoRA adapter's component stands on; None for others.
    """

    base: str | None
    images: tuple[str, ...]
    settings: ModelSettings
    not_permitted: tuple[str, ...]


def client(region: str, profile: str | None = None, *, attempts: int | None = None) -> Any:
    """A boto3 client of a region's control plane, with a profile's credentials or, for None, the default AWS chain's.

    Args:
        attempts: how often a call is tried. None: as often as AWS's configuration says.

    Raises:
        botocore.exceptions.BotoCoreError: there is no such profile.
    """
    config = _CONFIG if attempts is None else _CONFIG.merge(Config(retries={"total_max_attempts": attempts}))
    return boto3.session.Session(profile_name=profile).client("sagemaker", region_name=region, config=config)


def find(client: Any, endpoint: str | None = None, *, settings: bool = True) -> Found:
    """All endpoints and components in the client's region, or one endpoint with its components.

    Args:
        client: of the region's control plane.
        endpoint: the one.
        settings: whether to ask what only ``Listed.settings`` needs, which is DescribeModel for each endpoint.

    Raises:
        botocore.exceptions.ClientError: AWS refuses ListEndpoints, or DescribeEndpoint for the endpoint named (also
            where there is none of that name), or throttles. Other calls that are not permitted are only noted.
        botocore.exceptions.BotoCoreError: there are no credentials, or AWS cannot be reached.
    """
    region, ask = client.meta.region_name, _Ask(client, settings)
    with quiet_botocore():
        if endpoint is None:
            summaries = client.get_paginator("list_endpoints").paginate().build_full_result()["Endpoints"]
        else:
            summaries = [client.describe_endpoint(EndpointName=endpoint)]
    if not summaries:
        return Found(region)
    with ThreadPoolExecutor(_CALLS, "sagemaker") as pool:
        components = pool.submit(ask.components, endpoint)
        endpoints = _each(pool, ask.endpoint, summaries)
        listed = _listed(region, endpoints, _each(pool, ask.component, components.result()))
    return Found(region, listed, tuple(sorted(ask.denied)))


def _each(pool: ThreadPoolExecutor, ask: Callable[[Answer], T], summaries: Iterable[Answer]) -> list[T]:
    """What is answered about each, with no more waiting in the pool than it can ask at once: a process that ends, and
    one whose question failed, waits for all that is in it."""
    asking: deque[Future[T]] = deque()
    answers = []
    for each in summaries:
        if len(asking) == _CALLS:
            answers.append(asking.popleft().result())
        asking.append(pool.submit(ask, each))
    return [*answers, *(each.result() for each in asking)]


def look_up(client: Any, target: Target) -> Deployed:
    """What an endpoint, or an inference component on one, is deployed with.

    Raises:
        ValueError: the endpoint hosts components and none is named, or the component is on another endpoint.
        botocore.exceptions.ClientError: there is no such endpoint or component, or AWS throttles. What is not
            permitted is only noted.
        botocore.exceptions.BotoCoreError: there are no credentials, or AWS cannot be reached.
    """
    ask = _Ask(client)
    endpoint = ask.endpoint({"EndpointName": target.endpoint}, must_exist=True)
    if target.component is None:
        if endpoint.hosts_components:
            raise ValueError(f"{target} hosts inference components: name one, as in {target}/my-component")
        return Deployed(None, endpoint.images, endpoint.settings, tuple(sorted(ask.denied)))
    component = ask.component({"InferenceComponentName": target.component}, must_exist=True)
    host = component.described.get("EndpointName", target.endpoint)
    if host != target.endpoint:
        raise ValueError(f"the inference component {target.component} is on the endpoint {host}, not {target.endpoint}")
    base = ask.component({"InferenceComponentName": component.base}) if component.base else component
    settings = replace(base.settings, **agreed_routing(endpoint.routing))
    return Deployed(component.base, base.images, settings, tuple(sorted(ask.denied)))


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


Containers: TypeAlias = tuple[Container, ...]


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """What was answered about an endpoint; what could not be asked is empty.

    Attributes:
        containers: those of each production variant.
    """

    summary: Answer
    described: Answer
    config: Answer
    containers: tuple[Containers, ...]

    @property
    def name(self) -> str:
        return str(self.summary["EndpointName"])

    @property
    def images(self) -> tuple[str, ...]:
        deployed = [image for variant in _variants(self.described) for image in variant.get("DeployedImages", ())]
        return _distinct(image.get("SpecifiedImage") for image in deployed) or _images(self.containers)

    @property
    def has_model(self) -> bool:
        return bool(self.images) or any("ModelName" in each for each in _variants(self.config))

    @property
    def hosts_components(self) -> bool:
        """It is made for components: it has no model and no image of its own, and at first no components either."""
        return bool(_variants(self.config)) and not self.has_model

    @property
    def routing(self) -> tuple[VariantRouting, ...]:
        configured = {each["VariantName"]: each for each in _variants(self.config)}
        variants = _variants(self.described) or _variants(self.config)
        return tuple(
            _routing(each, configured.get(each["VariantName"], {}))
            for each in variants
            if "CurrentServerlessConfig" not in each and "ServerlessConfig" not in each
        )

    @property
    def settings(self) -> ModelSettings:
        return replace(_settings(self.containers), **agreed_routing(self.routing))


@dataclass(frozen=True, slots=True)
class _Component:
    """The same about a component.

    Attributes:
        containers: those of each of its specifications.
        base: the component whose containers it uses, where it is a LoRA adapter.
    """

    summary: Answer
    described: Answer
    containers: tuple[Containers, ...]
    base: str | None

    @property
    def name(self) -> str:
        return str(self.summary["InferenceComponentName"])

    @property
    def images(self) -> tuple[str, ...]:
        return _images(self.containers)

    @property
    def settings(self) -> ModelSettings:
        return _settings(self.containers)


def is_not_found(error: ClientError) -> bool:
    """Whether SageMaker says that there is nothing of that name."""
    said = error.response.get("Error", {})
    return said.get("Code") == "ValidationException" and "Could not find" in said.get("Message", "")


@dataclass(frozen=True, slots=True)
class _Ask:
    """Asks what the credentials may ask; ``denied`` has what they may not. For several threads."""

    client: Any
    settings: bool = True
    denied: set[str] = field(default_factory=set)

    def endpoint(self, summary: Answer, *, must_exist: bool = False) -> _Endpoint:
        described = summary  # where it is DescribeEndpoint's answer already
        if "EndpointConfigName" not in summary:
            name = summary["EndpointName"]
            described = self._may(self.client.describe_endpoint, must_exist=must_exist, EndpointName=name)
        config: Answer = {}
        if config_name := described.get("EndpointConfigName"):
            config = self._may(self.client.describe_endpoint_config, EndpointConfigName=config_name)
        models = {each["VariantName"]: each.get("ModelName") for each in _variants(config)}
        variants = _variants(described) or _variants(config)
        containers = []
        for each in variants:
            deployed = _only_images(each)
            ask_model = self.settings or not deployed
            containers.append((self._containers(models.get(each["VariantName"])) if ask_model else ()) or deployed)
        return _Endpoint(summary, described, config, tuple(containers))

    def components(self, endpoint: str | None) -> Sequence[Answer]:
        only = {"EndpointNameEquals": endpoint} if endpoint else {}
        pages = self.client.get_paginator("list_inference_components").paginate(**only)
        components: Sequence[Answer] = self._may(pages.build_full_result).get("InferenceComponents", ())
        return components

    def component(self, summary: Answer, *, must_exist: bool = False) -> _Component:
        name = summary["InferenceComponentName"]
        ask = self.client.describe_inference_component
        described = self._may(ask, must_exist=must_exist, InferenceComponentName=name)
        # The plural: a component that is specified for each of several instance types.
        specified = [each for each in (described.get("Specification"), *described.get("Specifications", ())) if each]
        base = next(
            (each["BaseInferenceComponentName"] for each in specified if "BaseInferenceComponentName" in each), None
        )
        containers = [self._containers(each.get("ModelName")) or _own_container(each) for each in specified]
        return _Component(summary, described, tuple(containers), base)

    def _containers(self, model: str | None) -> Containers:
        """A model's; none where that is not known."""
        if model is None:
            return ()
        answer = self._may(self.client.describe_model, ModelName=model)
        first = [answer["PrimaryContainer"]] if "PrimaryContainer" in answer else []
        return tuple(_container(each) for each in (*first, *answer.get("Containers", ())))

    def _may(self, call: Callable[..., Answer], *, must_exist: bool = False, **parameters: str) -> Answer:
        """The answer, or an empty one where the credentials may not ask, or there is nothing of that name: a model or
        an endpoint's configuration can be deleted while the endpoint runs on, and the endpoint since it was listed.
        """
        try:
            with quiet_botocore():  # at DEBUG it logs the answers, and in them each variable of the containers
                return call(**parameters)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "AccessDeniedException":
                self.denied.add(f"sagemaker:{error.operation_name}")
            elif must_exist or not is_not_found(error):
                raise
            return {}


def _listed(region: str, endpoints: Iterable[_Endpoint], components: Iterable[_Component]) -> tuple[Listed, ...]:
    listed: list[Listed] = []
    by_name = sorted(components, key=lambda each: each.name)
    settings = {each.name: each.settings for each in by_name}
    for endpoint in sorted(endpoints, key=lambda each: each.name):
        hosted = [each for each in by_name if each.summary["EndpointName"] == endpoint.name]
        host = _listed_endpoint(region, endpoint, has_components=bool(hosted))
        listed.append(host)
        for each in hosted:  # an adapter is answered by its base, with what that is set to
            own = settings.get(each.base, ModelSettings()) if each.base else settings[each.name]
            listed.append(_listed_component(host, each, replace(own, **agreed_routing(endpoint.routing))))
    return tuple(listed)


def _listed_endpoint(region: str, endpoint: _Endpoint, *, has_components: bool) -> Listed:
    described, variants, configured = endpoint.described, _variants(endpoint.described), _variants(endpoint.config)
    status = described.get("EndpointStatus") or endpoint.summary["EndpointStatus"]
    hosts_components = has_components or endpoint.hosts_components
    is_callable = not hosts_components if hosts_components or endpoint.has_model else None
    return Listed(
        region=region,
        endpoint=endpoint.name,
        inference_component=None,
        base_inference_component=None,
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
        routing=endpoint.routing,
        images=endpoint.images,
        settings=endpoint.settings,
    )


def _listed_component(host: Listed, component: _Component, settings: ModelSettings) -> Listed:
    described, copies = component.described, component.described.get("RuntimeConfig", {})
    status = described.get("InferenceComponentStatus") or component.summary["InferenceComponentStatus"]
    return Listed(
        region=host.region,
        endpoint=host.endpoint,
        inference_component=component.name,
        base_inference_component=component.base,
        status=status,
        failure_reason=described.get("FailureReason"),
        model=_model(Target(host.endpoint, component.name)),
        callable=status == host.status == _IN_SERVICE,
        asynchronous=host.asynchronous,
        serverless=host.serverless,
        instance_types=(),
        current=copies.get("CurrentCopyCount"),
        desired=copies.get("DesiredCopyCount"),
        routing=(),
        images=component.images,
        settings=settings,
    )


def _model(target: Target) -> str:
    return f"sagemaker_openai/{target}"


def _variants(answer: Answer) -> Sequence[Answer]:
    variants: Sequence[Answer] = answer.get("ProductionVariants", ())
    return variants


def _routing(variant: Answer, configured: Answer) -> VariantRouting:
    """Of a variant, as DescribeEndpoint and DescribeEndpointConfig have it."""
    config = variant.get("RoutingConfig") or configured.get("RoutingConfig", {})
    prefix_aware = config.get("PrefixAwareRoutingConfig", {})
    return VariantRouting(
        variant=variant["VariantName"],
        strategy=config.get("RoutingStrategy"),
        prefix_length=prefix_aware.get("PrefixLength"),
        concurrency_threshold=prefix_aware.get("ConcurrencyThreshold"),
        instances=variant.get("DesiredInstanceCount", configured.get("InitialInstanceCount")),
    )


def agreed_routing(variants: Sequence[VariantRouting]) -> dict[str, Fact]:
    """What is the same for all of them, by the names that ``ModelSettings`` has for it."""
    values: dict[str, tuple[str, set[Any]]] = {
        "routing": ("RoutingStrategy", {each.strategy for each in variants}),
        "prefix_length": ("PrefixLength", {each.prefix_length for each in variants}),
        "concurrency_threshold": ("ConcurrencyThreshold", {each.concurrency_threshold for each in variants}),
    }
    return {
        name: Fact(value, f"{setting}={value}")
        for name, (setting, different) in values.items()
        if len(different) == 1 and (value := next(iter(different))) is not None
    }


def _container(defined: Answer) -> Container:
    """Of a model's ContainerDefinition; of one that serves many models, the image alone."""
    if defined.get("Mode") == "MultiModel":
        return Container(defined.get("Image"))
    source = defined.get("ModelDataSource", {}).get("S3DataSource", {}).get("S3Uri")
    # No Environment is an empty one.
    return Container(defined.get("Image"), defined.get("Environment", {}), defined.get("ModelDataUrl") or source)


def _own_container(specified: Answer) -> Containers:
    """Of a component's specification; none where that tells none, as an adapter's."""
    container = specified.get("Container", {})
    image = container.get("DeployedImage", {}).get("SpecifiedImage")
    # A model has the environment where there is one.
    environment = None if "ModelName" in specified else container.get("Environment", {})
    return (Container(image, environment, container.get("ArtifactUrl")),) if image else ()


def _only_images(variant: Answer) -> Containers:
    """Of a variant whose model is not known."""
    return tuple(Container(each.get("SpecifiedImage")) for each in variant.get("DeployedImages", ()))


def _images(containers: Iterable[Containers]) -> tuple[str, ...]:
    return _distinct(each.image for together in containers for each in together)


def _settings(containers: Sequence[Containers]) -> ModelSettings:
    """What all of them are set to. A model of several containers is a pipeline, of which nothing is claimed."""
    return agreed(read_settings(each[0]) if len(each) == 1 else ModelSettings() for each in containers)


def _distinct(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))


def _total(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
