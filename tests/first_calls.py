"""Registers the provider and makes a first call of each kind, in a fresh process, and prints as JSON what each step
loaded of botocore, boto3 and what asks AWS. Run by test_start.py. The server is where AWS's settings say."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import litellm

_LARGE = ("botocore", "boto3", "s3transfer", "litellm_sagemaker_openai.aws.control_plane")
# Before it runs a callback, LiteLLM's enterprise package imports all of LiteLLM's integrations, unless this is set.
litellm.global_disable_no_log_param = True
_loaded: set[str] = set()


def new() -> list[str]:
    before = set(_loaded)
    _loaded.update(name for name in sys.modules if any(f"{name}.".startswith(f"{each}.") for each in _LARGE))
    return sorted(_loaded - before)


def call(**more: Any) -> dict[str, Any]:
    return {"model": "sagemaker_openai/e", "messages": [{"role": "user", "content": "Hello?"}], **more}


async def stream() -> None:
    async for _ in await litellm.acompletion(**call(stream=True)):
        pass


def main() -> None:
    new()
    import litellm_sagemaker_openai

    litellm_sagemaker_openai.register()
    found = {"register": new()}
    litellm.completion(**call())
    asyncio.run(litellm.acompletion(**call()))
    asyncio.run(stream())
    found["keys and a session token"] = new()
    del os.environ["AWS_SESSION_TOKEN"]
    litellm.completion(**call())
    litellm.completion(**call(aws_access_key_id="AKIA", aws_secret_access_key="made-up"))
    found["keys alone"] = new()
    with open(os.environ["AWS_CONFIG_FILE"], "w") as config:
        config.write("[profile work]\naws_access_key_id = AKIAW\naws_secret_access_key = made-up\n")
    litellm.completion(**call(aws_profile_name="work"))
    found["a profile"] = new()
    sys.stdout.write(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)  # open connections are of no interest any more


if __name__ == "__main__":
    main()
