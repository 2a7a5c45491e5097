"""Makes a call of LiteLLM's ready: understood, checked, and turned into a request. Nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from litellm_sagemaker_openai.access import AskedCall
from litellm_sagemaker_openai.errors import bad_request
from litellm_sagemaker_openai.formats.chat_request import encode_body
from litellm_sagemaker_openai.formats.prompt_cache_key import hint_of, with_hint
from litellm_sagemaker_openai.litellm_seams.callback_view import log_request, show_as_native
from litellm_sagemaker_openai.litellm_seams.caller import caller
from litellm_sagemaker_openai.litellm_seams.client_certificate import with_client_certificate
from litellm_sagemaker_openai.litellm_seams.embedding_parameters import restored_parameters
from litellm_sagemaker_openai.litellm_seams.model_groups import group_of_call, is_routers_retry
from litellm_sagemaker_openai.litellm_seams.proxy_client import (
    allowed,
    deployment_name,
    is_health_check,
    said_by_client,
)
from litellm_sagemaker_openai.litellm_seams.router_records import routers_retries
from litellm_sagemaker_openai.litellm_seams.stream_opening import flagged_retries, is_flagged
from litellm_sagemaker_openai.monitoring.recorder import is_on, record
from litellm_sagemaker_openai.monitoring.table import RETRIES
from litellm_sagemaker_openai.operations.operation import Call, Operation
from litellm_sagemaker_openai.operator_log import warn_seldom
from litellm_sagemaker_openai.refusals import AtFault, Mistake, whose_mistake
from litellm_sagemaker_openai.sending.cold_start import cold_start_policy
from litellm_sagemaker_openai.sending.request import Request, checked_client
from litellm_sagemaker_openai.sending.retries import stream_retries
from litellm_sagemaker_openai.sending.timeouts import as_timeout
from litellm_sagemaker_openai.settings import Settings, sort_settings
from litellm_sagemaker_openai.target import parse_target

# By what is refused, the parameters that may be at fault.
_TARGET = ("model", "model_id")
# Not the model: what a client names under a wildcard is checked with the target, and chooses neither region nor host.
_ADDRESS = ("model_id", "api_base", "base_url", "sagemaker_base_url", "api_key", "aws_region_name", "aws_profile_name")


def prepare(
    choose: Callable[[Mapping[str, Any], Mapping[str, Any]], Operation],
    call: Mapping[str, Any],
    *,
    stream: bool = False,
    is_async: bool = False,
) -> Call:
    """The call, ready to be sent. Nothing of the caller's is changed.

    Args:
        choose: gives the operation that a call asks for, from the handler's keywords and its parameters.
        call: the keywords of LiteLLM's handler.
        stream: whether LiteLLM wants a stream.
        is_async: whether it is for an event loop.

    Raises:
        litellm.BadRequestError: something that the caller, or the operator, must change first.
    """
    model, logging_obj = call["model"], call["logging_obj"]
    optional_params, litellm_params = call.get("optional_params") or {}, call.get("litellm_params") or {}
    flagged = is_flagged(optional_params)
    show_as_native(logging_obj, flagged=flagged)
    model_group = group_of_call(model, litellm_params) if is_on() else ""
    try:
        parameters = restored_parameters(optional_params)
        operation = choose(call, parameters)
        question = operation.question(call)
        access = allowed(litellm_params, AskedCall(model, parameters, question.headers, operation.name))
        settings = sort_settings(
            access.parameters,
            litellm_params,
            operation=operation.name,
            api_key=call.get("api_key"),
            api_base=call.get("api_base"),
        )
        settings = _with_hint(settings, litellm_params, logging_obj)
        with AtFault(*_TARGET):
            target = parse_target(model, settings.model_id)
        ask_for_stream = stream and operation.streams and not settings.fake_stream
        with AtFault(*_ADDRESS):
            url, signer = operation.address(settings, target, stream=ask_for_stream)
        body = operation.body(question.content, settings, stream=ask_for_stream)
        encoded = encode_body(body, max_bytes=operation.max_body_bytes)
        with AtFault("extra_headers", "headers"):
            headers = operation.headers(access.headers, settings, target, stream=ask_for_stream)
        with AtFault("timeout", "stream_timeout"):
            timeout = as_timeout(call.get("timeout"))
        # A health check says what is so now; a wait for what it started itself would end in "healthy".
        waits_for = 0.0 if is_health_check(litellm_params) else settings.cold_start_timeout
        with AtFault("client", "ssl_verify"):
            request = Request(
                url=url,
                signer=signer,
                headers=headers,
                body=encoded,
                stream=ask_for_stream,
                timeout=timeout,
                ssl_verify=with_client_certificate(settings.ssl_verify),
                max_connections=settings.max_connections,
                # SageMaker's own routes name the component in a header, and have one URL for all of an endpoint's.
                cold_start=cold_start_policy(f"{url} {target.component}", waits_for, model_group),
                client=checked_client(question.client, is_async=is_async),
            )
        exchange = operation.exchange(request, settings)
    except ValueError as error:
        raise _refused(error, model, litellm_params) from error
    log_request(logging_obj, question.content, body, exchange.request.url, exchange.request.headers)
    if model_group and is_routers_retry(litellm_params):
        record(RETRIES, 1, model_group, "router")
    lazily = is_async and not flagged
    retries = _retries(call, settings, lazily=lazily) if stream and operation.is_repeatable else 0
    return Call(
        operation,
        model,
        target,
        question.content,
        settings,
        exchange,
        retries,
        None if stream else call["model_response"],
        logging_obj,
        litellm_params,
        model_group,
    )


def _with_hint(settings: Settings, litellm_params: Mapping[str, Any], logging_obj: Any) -> Settings:
    """The settings with the hint for routing that the option asks for, where the call brings none of its own."""
    if settings.hint_source is None:
        return settings
    asks = caller(settings.hint_source, litellm_params, logging_obj)
    hint = None if asks is None else hint_of(settings.hint_source, asks)
    return replace(settings, body=with_hint(settings.body, hint))


def _refused(error: ValueError, model: str, litellm_params: Mapping[str, Any]) -> Exception:
    """The exception for what cannot be sent. What the operator has to change goes into the operator's log."""
    whose = whose_mistake(error, said_by_client(litellm_params))
    if whose is Mistake.OPERATORS:
        subject = f"{deployment_name(litellm_params, model)} is misconfigured, so that its calls are not sent"
        warn_seldom(subject, str(error))
    return bad_request(error, model=model, whose=whose)


def _retries(call: Mapping[str, Any], settings: Settings, *, lazily: bool) -> int:
    """How often a stream is tried again. ``lazily``: it opens with the first read, where no Router can retry it."""
    asked = flagged_retries(call.get("optional_params") or {})
    routers = routers_retries(call.get("litellm_params") or {}) if lazily else None
    return stream_retries(settings.max_retries if asked is None else asked, routers)
