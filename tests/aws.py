"""AWS's other services on this machine: moto's control plane, STS and S3, over HTTP on a free port."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import httpx
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from tests.conftest import CREDENTIALS, REGION


@dataclass(frozen=True, slots=True)
class Aws:
    """Answers at ``url`` for every service that moto knows."""

    url: str

    def client(self, service: str, region: str = REGION) -> Any:
        """A boto3 client of it."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id=CREDENTIALS.access_key,
            aws_secret_access_key=CREDENTIALS.secret_key,
        )

    def forget(self) -> None:
        """Remove all that was made."""
        httpx.post(f"{self.url}/moto-api/reset", trust_env=False).raise_for_status()


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
        yield Aws(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
