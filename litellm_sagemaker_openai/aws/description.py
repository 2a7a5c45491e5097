"""``describe``: what an endpoint, or an inference component on one, is deployed with. Does not import LiteLLM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litellm_sagemaker_openai.aws import control_plane
from litellm_sagemaker_openai.aws.container_settings import ModelSettings
from litellm_sagemaker_openai.aws.region import resolve_region
from litellm_sagemaker_openai.target import agreed_region, parse_target


@dataclass(frozen=True, slots=True, kw_only=True)
class Description(ModelSettings):
    """What an endpoint, or an inference component on one, is deployed with; also all of ``ModelSettings``.

    Attributes:
        endpoint: its name.
        inference_component: the component's name; None for an endpoint.
        base_inference_component: the component that a LoRA adapter's component stands on, whose settings it has; None
            for others.
        region: where it is.
        images: the URIs of its containers' images, as they were specified; none where they are not known.
        not_permitted: IAM actions that the credentials lack, such as ``sagemaker:DescribeModel``. What only they tell
            is not known.
    """

    endpoint: str
    inference_component: str | None
    base_inference_component: str | None
    region: str
    images: tuple[str, ...]
    not_permitted: tuple[str, ...]


def describe(
    endpoint: str, *, region: str | None = None, profile: str | None = None, client: Any = None
) -> Description:
    """What SageMaker's control plane says of a model: the container, and what it is set to.

    It calls DescribeEndpoint, DescribeEndpointConfig, DescribeInferenceComponent and DescribeModel, and never the
    model itself. Each value says which setting it is from; what is not known is None.

    Args:
        endpoint: what LiteLLM takes as ``model``: ``my-endpoint``, ``my-gpus/coder`` or an ARN, with or without
            ``sagemaker_openai/``.
        region: such as ``us-west-2``. Default: the ARN's, ``AWS_REGION_NAME``, ``AWS_REGION``, ``AWS_DEFAULT_REGION``,
            the profile's.
        profile: a profile of the AWS configuration. Default: the default AWS chain.
        client: a boto3 client for ``sagemaker``, for other credentials; its region is the region. Default: one is made.

    Raises:
        ValueError: what is given names no endpoint or no region, two sources disagree on the region, the endpoint hosts
            components and none is named, or the component is on another endpoint.
        botocore.exceptions.ClientError: there is no such endpoint or component, the credentials are not valid, or AWS
            throttles.
        botocore.exceptions.BotoCoreError: there are no credentials, or AWS cannot be reached.
    """
    target = parse_target(endpoint.removeprefix("sagemaker_openai/"))
    given = agreed_region(region, target.region, "region", "the ARN")
    if client is None:
        region, _ = resolve_region(given, how_to_give="region", profile=profile)
        client = control_plane.client(region, profile)
    elif profile is not None:
        raise ValueError("client and profile exclude each other; give one of them")
    region = agreed_region(client.meta.region_name, given, "client", "region or the ARN")
    found = control_plane.look_up(client, target)
    return Description(
        endpoint=target.endpoint,
        inference_component=target.component,
        base_inference_component=found.base,
        region=str(region),
        images=found.images,
        not_permitted=found.not_permitted,
        **found.settings.known(),
    )
