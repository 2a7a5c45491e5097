"""Who asks: the user, the virtual key, the team or the session of a call, as LiteLLM knows them.

What LiteLLM does: it hands OpenAI's ``user`` to no custom provider, and keeps it in the logging object's
``model_call_details``. Its proxy writes the key's hash, the team's id and the end user into the call's metadata, over
what a client says by these names. A session is what the client says in ``litellm_session_id``, ``metadata.session_id``
or a header (``x-litellm-session-id``, ``x-<vendor>-session-id``, ``baggage``). Where there is only a trace id, as in
``traceparent``, ``litellm_session_id`` is that, and with ``missing_session_id: generate`` LiteLLM makes one up: both
are of one request alone.
Seen on: LiteLLM 1.103.0, 1.106.2 and 1.110.2.
Without them: nobody is known, and no hint for routing is made.
Needed until: LiteLLM tells a provider. tests/operating/test_routing.py shows each of these through the real proxy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from litellm_sagemaker_openai.formats.prompt_cache_key import KEY, SESSION, TEAM, USER
from litellm_sagemaker_openai.litellm_seams import lookup
from litellm_sagemaker_openai.litellm_seams.router_records import metadata_of

_IN_METADATA = {USER: "user_api_key_end_user_id", KEY: "user_api_key_hash", TEAM: "user_api_key_team_id"}
_MADE_UP = "litellm_session_id_generated"  # litellm.constants.SESSION_ID_GENERATED_METADATA_KEY, 1.106.2


def caller(source: str, litellm_params: Mapping[str, Any], logging_obj: Any) -> str | None:
    """Who asks; None where LiteLLM does not know.

    Args:
        source: what is asked for, one of ``prompt_cache_key.SOURCES``.
        litellm_params: LiteLLM's.
        logging_obj: LiteLLM's.
    """
    if source == SESSION:
        found = _sessions(litellm_params)
    else:
        found = (metadata.get(_IN_METADATA[source]) for metadata in metadata_of(litellm_params))
    values = [*found, *_users(source, litellm_params, logging_obj)]
    return next((value for value in values if isinstance(value, str) and value), None)


def _users(source: str, litellm_params: Mapping[str, Any], logging_obj: Any) -> Iterator[Any]:
    if source == USER:
        yield litellm_params.get("user")  # of a rerank call, which is understood before LiteLLM's own handler is asked
    details = lookup.attribute(logging_obj, "model_call_details")
    if source == USER and isinstance(details, Mapping):
        yield details.get("user")


def _sessions(litellm_params: Mapping[str, Any]) -> Iterator[Any]:
    recorded = [*metadata_of(litellm_params)]
    if any(metadata.get(_MADE_UP) for metadata in recorded):
        return
    yield from (metadata.get("session_id") for metadata in recorded)
    session = litellm_params.get("litellm_session_id")
    if session not in [metadata.get("trace_id") for metadata in recorded]:
        yield session
