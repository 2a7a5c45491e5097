"""AWS's other services on this machine: moto's control plane, STS and S3, over HTTP on a free port."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
import httpx
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from tests.conftest import CREDENTIALS, REGION
from tests.sagemaker import SCRIPT, Script

PREFIX_AWARE = {
    "RoutingStrategy": "PREFIX_AWARE",
    "PrefixAwareRoutingConfig": {"PrefixLength": 4096, "ConcurrencyThreshold": 10},
}
IMAGE = "763104351884.dkr.ecr.us-west-2.amazonaws.com/vllm:0.11.2-gpu-py312"


@dataclass(frozen=True, slots=True)
class Aws:
    """Answers at ``url`` for every service that moto knows; ``sagemaker`` says what SageMaker is to play."""

    url: str
    sagemaker: Script

    def client(self, service: str, region: str = REGION) -> Any:
        """A boto3 client of it."""
        return _client(self.url, service, region)

    def make_endpoint(
        self,
        name: str,
        *components: str,
        region: str = REGION,
        image: str = IMAGE,
        instances: int | None = 1,
        environment: Mapping[str, str] | None = None,
        routing: Mapping[str, Any] | None = None,
        **config: Any,
    ) -> None:
        """An endpoint, its configuration and its model; with components, these, and no model.

        Args:
            image: the containers'.
            instances: how many of ``ml.g6.2xlarge``; None: serverless.
            environment: the containers' variables.
            routing: the production variant's RoutingConfig.
            config: further parameters of CreateEndpointConfig.
        """
        client, role = self.client("sagemaker", region), "arn:aws:iam::123456789012:role/sagemaker"
        variant: dict[str, Any] = {"VariantName": "AllTraffic"}
        container = {"Image": image, **({"Environment": dict(environment)} if environment else {})}
        if instances is None:
            variant["ServerlessConfig"] = {"MemorySizeInMB": 4096, "MaxConcurrency": 2}
        else:
            variant |= {"InstanceType": "ml.g6.2xlarge", "InitialInstanceCount": instances}
        if routing is not None:
            variant["RoutingConfig"] = dict(routing)
        if not components:
            client.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer=container)
            variant["ModelName"] = name
        client.create_endpoint_config(
            EndpointConfigName=name, ExecutionRoleArn=role, ProductionVariants=[variant], **config
        )
        client.create_endpoint(EndpointName=name, EndpointConfigName=name)
        for component in components:
            client.create_inference_component(
                InferenceComponentName=component,
                EndpointName=name,
                Specification={
                    "Container": container,
                    "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 1024},
                },
                RuntimeConfig={"CopyCount": 1},
            )

    def make_adapter(self, name: str, endpoint: str, base: str) -> None:
        """A LoRA adapter's component, on another one."""
        self.client("sagemaker").create_inference_component(
            InferenceComponentName=name,
            EndpointName=endpoint,
            Specification={
                "BaseInferenceComponentName": base,
                "Container": {"ArtifactUrl": f"s3://bucket/{name}.tar.gz"},
            },
        )

    def forget(self) -> None:
        """Remove all that was made."""
        self.sagemaker.forget()
        httpx.post(f"{self.url}/moto-api/reset", trust_env=False).raise_for_status()


@cache  # one takes some 20 ms
def _client(url: str, service: str, region: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=CREDENTIALS.access_key,
        aws_secret_access_key=CREDENTIALS.secret_key,
    )


class _Quiet(MotoRequestHandler):
    def log(self, *_: Any, **__: Any) -> None: ...


@contextmanager
def aws_services() -> Iterator[Aws]:
    """moto's server in a thread, as long as the context lasts."""
    app: Any = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, name="moto", daemon=True)
    thread.start()
    try:
        yield Aws(f"http://127.0.0.1:{server.server_port}", SCRIPT)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
