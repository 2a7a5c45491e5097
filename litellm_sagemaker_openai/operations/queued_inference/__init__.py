"""Asynchronous inference: SageMaker's queue, and the results that it leaves in S3."""
