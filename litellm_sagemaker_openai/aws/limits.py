"""Limits of SageMaker's runtime that more than one room knows. Pure."""

from __future__ import annotations

# botocore 1.44.5, service model sagemaker-runtime 2017-05-13, shape BodyBlob: a request's body.
MAX_BODY_BYTES = 6_291_456
