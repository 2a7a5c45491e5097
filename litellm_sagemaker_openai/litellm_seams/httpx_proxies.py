"""Whether a client that a caller made would send through a proxy.

What httpx does: it keeps the proxies that a client was given, or found in the environment when it was made, under
private names alone.
Seen on: httpx 0.28.
Without them: the environment as it is now says it, which is all that can be known.
Needed until: httpx says it.
tests/sending/test_tls_and_proxies.py::test_a_client_of_the_callers_that_has_a_proxy shows what is refused.
"""

from __future__ import annotations

from typing import Any

import httpx

from litellm_sagemaker_openai.aws.hosts import takes_environment_proxy
from litellm_sagemaker_openai.litellm_seams import lookup


def takes_proxy(client: Any, url: str) -> bool:
    """Whether the client takes a proxy for a URL of this machine that is plain ``http``.

    LiteLLM's aiohttp transport looks into the environment itself.
    """
    choose, direct = lookup.attribute(client, "_transport_for_url"), lookup.attribute(client, "_transport")
    known = choose is not None and direct is not None and url.startswith("http://")
    chosen = known and choose(httpx.URL(url)) is not direct
    return chosen or (client.trust_env and takes_environment_proxy(url))
