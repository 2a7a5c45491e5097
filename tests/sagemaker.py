"""moto's SageMaker, with what moto 5.2.5 lacks: inference components, the instance types of today, statuses that
change, refusals.

The messages are SageMaker's own, as public tools that match on them have them (terraform-provider-aws, sagemaker-core,
cloud-nuke). Answers are serialized by botocore's model, as moto's are, and what a test made goes with moto's reset.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.sagemaker import urls
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.models import FakeEndpointConfig
from moto.sagemaker.responses import SageMakerResponse
from moto.sagemaker.utils import arn_formatter

_STATUS = {"endpoint": "EndpointStatus", "inference-component": "InferenceComponentStatus"}


@dataclass
class Script:
    """What the control plane is to play. A resource is ``endpoint/<name>`` or ``inference-component/<name>``."""

    shown: dict[str, deque[Mapping[str, Any]]] = field(default_factory=dict)
    lingers: dict[str, int] = field(default_factory=dict)
    leaving: dict[str, int] = field(default_factory=dict)
    refused: dict[tuple[str, str | None], dict[str, str]] = field(default_factory=dict)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)

    def forget(self) -> None:
        self.__init__()  # type: ignore[misc]

    def shows(self, resource: str, *states: str | Mapping[str, Any]) -> None:
        """What successive Describe calls of a resource say, made already or not; the last stays.

        A state is a status, or members of the answer, such as ``{"EndpointStatus": "Failed", "FailureReason": "…"}``.
        List calls say the status that the next Describe call says.
        """
        status = _STATUS[resource.partition("/")[0]]
        self.shown[resource] = deque({status: state} if isinstance(state, str) else state for state in states)

    def stays(self, resource: str, calls: int) -> None:
        """After its deletion, a resource is Deleting for so many Describe and List calls."""
        self.lingers[resource] = calls

    def refuses(self, operation: str, region: str | None = None, *, code: str = "AccessDeniedException") -> None:
        """Answer an operation, ``*`` for each, in a region (None: in each) as AWS does where it is not allowed."""
        said = "The security token included in the request is invalid."
        if code == "AccessDeniedException":
            said = (
                "User: arn:aws:sts::123456789012:assumed-role/developer/me is not authorized to perform: "
                f"sagemaker:{operation} because no identity-based policy allows the sagemaker:{operation} action"
            )
        self.refused[operation, region] = {"__type": code, "message": said}

    def current(self, resource: str) -> Mapping[str, Any]:
        return states[0] if (states := self.shown.get(resource)) else {}

    def next(self, resource: str) -> Mapping[str, Any]:
        states = self.shown.get(resource)
        return {} if not states else states.popleft() if len(states) > 1 else states[0]


SCRIPT = Script()


class _EndpointConfig(FakeEndpointConfig):
    def validate_production_variants(self, production_variants: list[dict[str, Any]]) -> None:
        """moto's own refuses each instance type of the last years."""


class _SageMaker(SageMakerResponse):
    """moto's answers, and those that it has not."""

    def call_action(self) -> Any:
        operation = self._get_action()
        SCRIPT.calls[operation, self.region] += 1
        refusals = ((name, region) for name in (operation, "*") for region in (self.region, None))
        if refusal := next((SCRIPT.refused[each] for each in refusals if each in SCRIPT.refused), None):
            return 400, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(refusal)
        return super().call_action()

    # Inference components

    @property
    def _components(self) -> dict[str, dict[str, Any]]:
        """In the backend's own dictionary, which moto's reset empties."""
        components: dict[str, dict[str, Any]] = vars(self.sagemaker_backend).setdefault("inference_components", {})
        return components

    def create_inference_component(self) -> ActionResult:
        name, endpoint_name = self._get_param("InferenceComponentName"), self._get_param("EndpointName")
        arn = self._arn("inference-component", name)
        if name in self._components:
            raise ValidationError(f'Cannot create already existing inference component "{arn}".')
        endpoint = self.sagemaker_backend.describe_endpoint(endpoint_name)
        status = SCRIPT.current(f"endpoint/{endpoint_name}").get("EndpointStatus", endpoint["EndpointStatus"])
        if status != "InService":
            raise ValidationError(f'Endpoint "{endpoint["EndpointArn"]}" is not in InService status.')
        specification = self._get_param("Specification")
        if model := specification.get("ModelName"):
            self.sagemaker_backend.describe_model(model)
        now = datetime.now(timezone.utc)
        copies = (self._get_param("RuntimeConfig") or {}).get("CopyCount")
        self._components[name] = {
            "InferenceComponentName": name,
            "InferenceComponentArn": arn,
            "EndpointName": endpoint_name,
            "EndpointArn": endpoint["EndpointArn"],
            "VariantName": self._get_param("VariantName") or endpoint["ProductionVariants"][0]["VariantName"],
            "Specification": _summary_of(specification, now),
            "InferenceComponentStatus": "InService",
            "CreationTime": now,
            "LastModifiedTime": now,
            "Tags": self._get_param("Tags") or [],
        }
        if copies is not None:
            self._components[name]["RuntimeConfig"] = {"DesiredCopyCount": copies, "CurrentCopyCount": copies}
        return ActionResult({"InferenceComponentArn": arn})

    def describe_inference_component(self) -> ActionResult:
        component = self._component()
        resource = f"inference-component/{component['InferenceComponentName']}"
        self._pass_time(resource)
        return ActionResult({**self._component(), **SCRIPT.next(resource)})

    def list_inference_components(self) -> ActionResult:
        for name in list(self._components):
            self._pass_time(f"inference-component/{name}")
        found = [
            {**component, **SCRIPT.current(f"inference-component/{name}")}
            for name, component in self._components.items()
            if self._get_param("EndpointNameEquals") in (None, component["EndpointName"])
        ]
        return self._page("InferenceComponents", found)

    def update_inference_component_runtime_config(self) -> ActionResult:
        component = self._component()
        copies = self._get_param("DesiredRuntimeConfig")["CopyCount"]
        component["RuntimeConfig"] = {"DesiredCopyCount": copies, "CurrentCopyCount": copies}
        return ActionResult({"InferenceComponentArn": component["InferenceComponentArn"]})

    def delete_inference_component(self) -> ActionResult:
        component = self._component()
        self._leave(f"inference-component/{component['InferenceComponentName']}")
        return EmptyResult()

    def _component(self) -> dict[str, Any]:
        name = self._get_param("InferenceComponentName")
        if name not in self._components:
            raise ValidationError(f'Could not find inference component "{self._arn("inference-component", name)}".')
        return self._components[name]

    # Endpoints

    def create_model(self) -> ActionResult:
        self._refuse_existing("model", "model", self._get_param("ModelName"), self.sagemaker_backend._models)
        return super().create_model()

    def create_endpoint_config(self) -> ActionResult:
        name, variants = self._get_param("EndpointConfigName"), self._get_param("ProductionVariants")
        configs = self.sagemaker_backend.endpoint_configs
        self._refuse_existing("endpoint configuration", "endpoint-config", name, configs)
        for variant in variants:
            if "ModelName" in variant:
                self.sagemaker_backend.describe_model(variant["ModelName"])
            elif not self._get_param("ExecutionRoleArn"):
                raise ValidationError("ExecutionRoleArn is required where a production variant names no model.")
        config: Any = _EndpointConfig(  # type: ignore[abstract]
            account_id=self.current_account,
            region_name=self.region,
            endpoint_config_name=name,
            production_variants=variants,
            async_inference_config=self._get_param("AsyncInferenceConfig"),
            data_capture_config=self._get_param("DataCaptureConfig"),
            tags=self._get_param("Tags"),
            kms_key_id=self._get_param("KmsKeyId"),
        )
        config.execution_role_arn = self._get_param("ExecutionRoleArn")
        configs[name] = config
        return ActionResult({"EndpointConfigArn": config.endpoint_config_arn})

    def create_endpoint(self) -> ActionResult:
        name, backend = self._get_param("EndpointName"), self.sagemaker_backend
        self._refuse_existing("endpoint", "endpoint", name, backend.endpoints)
        created = super().create_endpoint()
        endpoint: Any = backend.endpoints[name]
        config: Any = backend.endpoint_configs[self._get_param("EndpointConfigName")]
        endpoint.async_inference_config = config.async_inference_config
        for shown, variant in zip(endpoint.production_variants, config.production_variants, strict=True):
            if "ManagedInstanceScaling" in variant:
                shown["ManagedInstanceScaling"] = variant["ManagedInstanceScaling"]
            if "ModelName" in variant:
                model = backend.describe_model(variant["ModelName"])
                shown["DeployedImages"] = [
                    _deployed(container["Image"], endpoint.creation_time)
                    for container in ([model.primary_container] if model.primary_container else model.containers)
                ]
        return created

    def describe_endpoint(self) -> ActionResult:
        resource = f"endpoint/{self._get_param('EndpointName')}"
        self._pass_time(resource)
        answer: Any = super().describe_endpoint().result
        return ActionResult({**answer, **SCRIPT.next(resource)})

    def list_endpoints(self) -> ActionResult:
        for name in list(self.sagemaker_backend.endpoints):
            self._pass_time(f"endpoint/{name}")
        backend = self.sagemaker_backend
        summaries = [
            {**endpoint.summary(), **SCRIPT.current(f"endpoint/{name}")} for name, endpoint in backend.endpoints.items()
        ]
        return self._page("Endpoints", summaries)

    def delete_endpoint(self) -> ActionResult:
        name = self._get_param("EndpointName")
        self.sagemaker_backend.describe_endpoint(name)
        if SCRIPT.current(f"endpoint/{name}").get("EndpointStatus") in ("Creating", "Updating"):
            raise ValidationError(f'Cannot update in-progress endpoint "{self._arn("endpoint", name)}".')
        if any(component["EndpointName"] == name for component in self._components.values()):
            raise ValidationError(
                "Cannot delete endpoint with inference component associated. "
                "Please delete inference component and try it again."
            )
        self._leave(f"endpoint/{name}")
        return EmptyResult()

    # Both

    def list_tags(self) -> ActionResult:
        kind, _, name = self._get_param("ResourceArn").rpartition(":")[2].partition("/")
        if kind != "inference-component":
            return super().list_tags()
        return ActionResult({"Tags": self._components[name]["Tags"]})

    def _page(self, member: str, items: list[dict[str, Any]]) -> ActionResult:
        """A page of a list: 10 where MaxResults does not say otherwise, as AWS documents it (moto: 100)."""
        start = int(self._get_param("NextToken") or 0)
        end = start + (self._get_param("MaxResults") or 10)
        return ActionResult({member: items[start:end], "NextToken": str(end) if end < len(items) else None})

    def _arn(self, kind: str, name: str) -> str:
        return arn_formatter(kind, name, self.current_account, self.region)

    def _refuse_existing(self, what: str, kind: str, name: str, existing: Mapping[str, Any]) -> None:
        if name in existing:
            raise ValidationError(f'Cannot create already existing {what} "{self._arn(kind, name)}".')

    def _leave(self, resource: str) -> None:
        """Delete a resource, now or after the calls that a test wants it to be seen for."""
        if calls := SCRIPT.lingers.pop(resource, 0):
            SCRIPT.shows(resource, "Deleting")
            SCRIPT.leaving[resource] = calls
            return
        kind, _, name = resource.partition("/")
        SCRIPT.shown.pop(resource, None)
        del self._resources(kind)[name]

    def _pass_time(self, resource: str) -> None:
        """A call that sees a resource. One that is being deleted is gone after the last of them."""
        calls = SCRIPT.leaving.pop(resource, None)
        if calls == 0:
            self._leave(resource)
        elif calls:
            SCRIPT.leaving[resource] = calls - 1

    def _resources(self, kind: str) -> dict[str, Any]:
        return self._components if kind == "inference-component" else self.sagemaker_backend.endpoints


def _summary_of(specification: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """What Describe says of what Create was given."""
    summary = dict(specification)
    if container := specification.get("Container"):
        others = {name: value for name, value in container.items() if name != "Image"}
        deployed = {"DeployedImage": _deployed(container["Image"], now)} if "Image" in container else {}
        summary["Container"] = {**others, **deployed}
    return summary


def _deployed(image: str, when: datetime) -> dict[str, Any]:
    repository = image.partition("@")[0].rpartition(":")[0] or image
    return {"SpecifiedImage": image, "ResolvedImage": f"{repository}@sha256:{'0' * 64}", "ResolutionTime": when}


urls.url_paths["{0}/$"] = _SageMaker.dispatch
