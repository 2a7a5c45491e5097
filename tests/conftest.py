"""No test sees the machine's AWS configuration, and none reaches beyond this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

# Before LiteLLM is imported: without it, LiteLLM waits for a price list that it cannot download.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
for _name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[_name]

import litellm
import litellm_sagemaker_openai
import pytest
from litellm_sagemaker_openai.local.runtime import RuntimeConfig
from litellm_sagemaker_openai.local.server import Running, running
from litellm_sagemaker_openai.token import FrozenCredentials

from tests.scripted import Answer, Scripted, Seen, scripted

WIRE = Path(__file__).parent / "wire"
REGION = "us-west-2"
# AWS's own example credentials, with a session token of the characters that need percent-encoding.
CREDENTIALS = FrozenCredentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "tok+en/=&x")
MESSAGES = [{"role": "user", "content": "Hello?"}]


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials and a region in the environment, and no other source of either."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS.secret_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", CREDENTIALS.session_token or "")
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    litellm_sagemaker_openai.register()
    litellm.suppress_debug_info = True


Upstream = Callable[[Callable[[Seen], Answer | bytes] | Answer | bytes], Scripted]


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    """Starts a scripted server and makes it the SageMaker runtime."""
    with ExitStack() as stack:

        def start(script: Callable[[Seen], Answer | bytes] | Answer | bytes) -> Scripted:
            server = stack.enter_context(scripted(script))
            monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", server.url)
            return server

        yield start


@pytest.fixture(scope="session")
def local_runtime() -> Iterator[Running]:
    """The local SageMaker runtime: a single-model endpoint, and one with two components."""
    config = RuntimeConfig(
        endpoints={"my-endpoint": (), "shared-endpoint": ("coder", "reviewer")}, credentials=CREDENTIALS, region=REGION
    )
    with running(config) as runtime:
        yield runtime


@pytest.fixture
def runtime(local_runtime: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    """The local runtime, as the SageMaker runtime of this test; what it received before is forgotten."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", local_runtime.url)
    local_runtime.app.state.received.clear()
    return local_runtime
