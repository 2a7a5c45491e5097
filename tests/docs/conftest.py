"""A reader's environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from litellm_sagemaker_openai.local.server import Running
from tests.aws_apis import Aws
from tests.conftest import CREDENTIALS, REGION
from tests.docs.reader import environment


@pytest.fixture
def at_home(tmp_path: Path, local_runtime: Running, aws_apis: Aws) -> dict[str, str]:
    """Credentials and a region, SageMaker, S3 with a bucket."""
    aws_apis.client("s3").create_bucket(Bucket="my-bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
    return environment(
        tmp_path,
        AWS_ACCESS_KEY_ID=CREDENTIALS.access_key,
        AWS_SECRET_ACCESS_KEY=CREDENTIALS.secret_key,
        AWS_SESSION_TOKEN=CREDENTIALS.session_token or "",
        AWS_REGION=REGION,
        AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=local_runtime.url,
        AWS_ENDPOINT_URL_S3=aws_apis.url,
    )
