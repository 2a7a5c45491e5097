"""LiteLLM's TLS and proxy settings hold, for each way of sending: whole and streamed, synchronous and asynchronous."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import litellm
import pytest
from click.testing import CliRunner
from litellm.caching.llm_caching_handler import LLMClientCache
from litellm.llms.custom_httpx import http_handler
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, get_async_httpx_client

from litellm_sagemaker_openai.cli import main
from litellm_sagemaker_openai.litellm_seams import aiohttp_post
from tests.certificates import CLIENT, Certificates, connect_proxy, make_certificates
from tests.commands.test_check import IDENTITY
from tests.conftest import MESSAGES, close_clients
from tests.operating.proxies import until
from tests.scripted import Answer, Scripted, Seen, chunk, completion, json_answer, scripted, sse

pytestmark = pytest.mark.medium(reason="starts servers with certificates")

URL = "https://gateway.example"
WAYS = ("whole", "stream", "whole async", "stream async")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
async def clients_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Any:
    """No client, and no TLS context, that LiteLLM made under other settings."""
    monkeypatch.setattr(litellm, "in_memory_llm_clients_cache", LLMClientCache())
    monkeypatch.setattr(http_handler, "_ssl_context_cache", {})
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERTIFICATE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    yield
    await close_clients()


def answer(seen: Seen) -> Answer:
    if "authorization" in seen.headers and not seen.path.startswith("/endpoints/"):  # STS or the control plane
        is_sts = seen.body.startswith(b"Action=")
        return Answer([IDENTITY.encode()]) if is_sts else json_answer({"__type": "AccessDenied"}, 403)
    if seen.path.endswith("/invocations"):
        return json_answer({"data": [{"embedding": [0.5], "index": 0}], "model": "m", "usage": {}})
    if seen.json.get("stream"):
        return Answer([sse(chunk({"content": "Hello."}), chunk(finish="stop"))])
    return json_answer(completion())


@pytest.fixture
def server(certificates: Certificates) -> Iterator[Scripted]:
    with scripted(answer, certificates.server_context(ask_for_client=True)) as running:
        yield running


async def text_of(way: str, server: Scripted, **more: Any) -> str:
    """What the model says, asked for in one of the ways."""
    call: dict[str, Any] = {
        "model": "sagemaker_openai/my-endpoint",
        "messages": MESSAGES,
        "api_base": server.url,
        "api_key": "a-token",
        "max_retries": 0,
        **more,
    }
    if way == "whole":
        return str((await asyncio.to_thread(litellm.completion, **call)).choices[0].message.content)
    if way == "stream":
        chunks = await asyncio.to_thread(lambda: list(litellm.completion(**call, stream=True)))
    elif way == "whole async":
        return str((await litellm.acompletion(**call)).choices[0].message.content)
    else:
        chunks = [each async for each in await litellm.acompletion(**call, stream=True)]
    return "".join(each.choices[0].delta.content or "" for each in chunks)


@pytest.mark.parametrize("way", WAYS)
async def test_a_certificate_of_an_unknown_authority_is_refused(way: str, server: Scripted) -> None:
    with pytest.raises((litellm.APIConnectionError, litellm.ServiceUnavailableError), match="could not connect"):
        await text_of(way, server)
    assert not server.seen


@pytest.fixture
def everything(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is SageMaker's runtime, its control plane, and STS."""
    for service in ("SAGEMAKER_RUNTIME", "SAGEMAKER", "STS"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", server.url)
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def told(*command: str) -> str:
    return CliRunner().invoke(main, command).output


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize("known", [[], ["SSL_CERT_FILE"], ["AWS_CA_BUNDLE"], ["SSL_CERT_FILE", "AWS_CA_BUNDLE"]])
def test_the_command_tells_what_to_set(
    known: list[str], certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in known:
        monkeypatch.setenv(name, str(certificates.authority))
    asks_for = re.compile(r"an authority that is not trusted here, .*: name the authority's PEM file in (\w+)")
    of_the_runtime, of_aws = {"SSL_CERT_FILE"} - set(known), {"AWS_CA_BUNDLE"} - set(known)
    assert set(asks_for.findall(told("check", "my-endpoint"))) == of_the_runtime | of_aws
    assert set(asks_for.findall(told("chat", "my-endpoint", "Hello?"))) == of_the_runtime
    assert set(asks_for.findall(told("endpoints"))) == of_aws


@pytest.mark.usefixtures("everything")
def test_the_command_on_the_certificate_of_another_host(
    server: Scripted, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", server.url.replace("127.0.0.1", "localhost"))
    assert "→ the certificate is not valid: look at the host's name" in told("check", "my-endpoint")


@pytest.mark.parametrize("way", WAYS)
async def test_ssl_verify_false_accepts_any_certificate(way: str, server: Scripted) -> None:
    assert await text_of(way, server, ssl_verify=False) == "Hello."


@pytest.mark.parametrize("way", WAYS)
async def test_ssl_verify_names_a_bundle(way: str, server: Scripted, certificates: Certificates) -> None:
    assert await text_of(way, server, ssl_verify=str(certificates.authority)) == "Hello."


@pytest.mark.parametrize("way", WAYS)
async def test_litellms_global_setting(
    way: str, server: Scripted, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litellm, "ssl_verify", str(certificates.authority))
    assert await text_of(way, server) == "Hello."


@pytest.mark.parametrize("way", WAYS)
async def test_ssl_verify_in_the_environment(way: str, server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_VERIFY", "False")
    assert await text_of(way, server) == "Hello."


@pytest.mark.parametrize("way", WAYS)
async def test_ssl_cert_file(
    way: str, server: Scripted, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    assert await text_of(way, server) == "Hello."


@pytest.mark.filterwarnings("ignore:`cert=...` is deprecated")  # LiteLLM's way to hand it to httpx
@pytest.mark.parametrize("setting", ["SSL_CERTIFICATE", "litellm.ssl_certificate"])
@pytest.mark.parametrize("verified", [True, False])
@pytest.mark.parametrize("way", WAYS)
async def test_a_client_certificate(
    way: str,
    verified: bool,
    setting: str,
    server: Scripted,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if setting == "SSL_CERTIFICATE":
        monkeypatch.setenv(setting, str(certificates.client))
    else:
        monkeypatch.setattr(litellm, "ssl_certificate", str(certificates.client))
    verify = str(certificates.authority) if verified else False
    assert await text_of(way, server, ssl_verify=verify) == "Hello."
    assert server.peers == [CLIENT]


@pytest.mark.parametrize("way", WAYS)
async def test_no_client_certificate_where_none_is_set(way: str, server: Scripted, certificates: Certificates) -> None:
    await text_of(way, server, ssl_verify=str(certificates.authority))
    assert server.peers == [None]


def elsewhere(server: Scripted, certificates: Certificates) -> dict[str, Any]:
    """What to ask the server with, as a gateway on another machine: this one is asked without a proxy."""
    host = f"gateway.example:{server.url.rpartition(':')[2]}"
    return {
        "api_base": f"https://{host}",
        "aws_sagemaker_allowed_hosts": host,
        "ssl_verify": str(certificates.authority),
    }


@pytest.mark.parametrize("with_aiohttp", [True, False])
@pytest.mark.parametrize("way", WAYS)
async def test_https_proxy(
    way: str,
    with_aiohttp: bool,
    server: Scripted,
    certificates: Certificates,
    every_name_is_here: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(litellm, "disable_aiohttp_transport", not with_aiohttp)
    with connect_proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        gateway = elsewhere(server, certificates)
        assert await text_of(way, server, **gateway) == "Hello."
        assert proxy.asked == [gateway["aws_sagemaker_allowed_hosts"]]
        assert await text_of(way, server, ssl_verify=str(certificates.authority)) == "Hello."
        assert len(proxy.asked) == 1
    assert len(server.seen) == 2


@pytest.mark.parametrize("way", WAYS)
async def test_no_proxy(
    way: str,
    server: Scripted,
    certificates: Certificates,
    every_name_is_here: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with connect_proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "gateway.example")
        assert await text_of(way, server, **elsewhere(server, certificates)) == "Hello."
        assert not proxy.asked


@pytest.mark.parametrize("way", ["stream", "stream async", "stream async without aiohttp"])
async def test_an_open_stream_outlives_its_client_in_litellms_cache(
    way: str,
    server: Scripted,
    certificates: Certificates,
    every_name_is_here: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """LiteLLM keeps a client for an hour; dropped, it would be closed, and with it all streams that are open then."""
    monkeypatch.setattr(litellm, "disable_aiohttp_transport", way.endswith("without aiohttp"))
    rest = threading.Event()

    def script(seen: Seen) -> Answer:
        def pieces() -> Iterator[bytes]:
            yield sse(chunk({"content": "Hello"}), done=False)
            rest.wait(30)
            yield sse(chunk({"content": "."}), chunk(finish="stop"))

        return Answer(pieces()) if seen.json.get("stream") else answer(seen)

    server.script = script
    more = elsewhere(server, certificates)
    call = {"model": "sagemaker_openai/e", "messages": MESSAGES, "api_key": "t", "max_retries": 0, **more}
    stream: Any
    if way == "stream":
        stream = await asyncio.to_thread(litellm.completion, **call, stream=True)
        said = [await asyncio.to_thread(next, stream)]
    else:
        stream = await litellm.acompletion(**call, stream=True)
        said = [await anext(stream)]
    expiries = litellm.in_memory_llm_clients_cache.ttl_dict
    expiries.update(dict.fromkeys(expiries, 0.0))
    assert await text_of(way.replace("stream", "whole").removesuffix(" without aiohttp"), server, **more) == "Hello."
    assert server.connections == 2  # a new client's
    await asyncio.sleep(0)  # where the old one would be closed
    rest.set()
    said += await asyncio.to_thread(list, stream) if way == "stream" else [each async for each in stream]
    assert "".join(each.choices[0].delta.content or "" for each in said) == "Hello."
    del stream
    for _ in until("the old client to be closed"):
        gc.collect()
        if server.open_connections == 1:
            break
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("way", ["whole async", "stream async"])
async def test_litellm_without_aiohttp(
    way: str, server: Scripted, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litellm, "disable_aiohttp_transport", True)
    assert aiohttp_post.poster(get_async_httpx_client("some-provider").client, URL) is None
    assert await text_of(way, server, ssl_verify=str(certificates.authority)) == "Hello."


async def test_litellms_shared_client_has_the_transport_that_is_used_by_itself() -> None:
    """Where a new LiteLLM, or httpx, names it otherwise, calls still work, and cost more."""
    assert aiohttp_post.poster(get_async_httpx_client("some-provider").client, URL) is not None


async def test_litellm_itself_presents_no_client_certificate_with_aiohttp(
    server: Scripted, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is why ``client_certificate`` does: LiteLLM 1.106.2 gives it to httpx, which leaves it to the transport."""
    monkeypatch.setenv("SSL_CERTIFICATE", str(certificates.client))
    client = get_async_httpx_client("some-provider", params={"ssl_verify": str(certificates.authority)})
    response = await client.post(f"{server.url}/", json={})
    assert isinstance(response, httpx.Response)
    assert server.peers == [None]


async def test_an_empty_variable_names_no_client_certificate(
    server: Scripted, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERTIFICATE", "")
    assert await text_of("whole async", server, ssl_verify=str(certificates.authority)) == "Hello."
    assert server.peers == [None]


def test_a_client_certificate_that_is_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERTIFICATE", str(tmp_path / "missing.pem"))
    with pytest.raises(litellm.BadRequestError, match="SSL_CERTIFICATE"):
        litellm.completion("sagemaker_openai/my-endpoint", MESSAGES, api_base="https://127.0.0.1:1", api_key="t")


# This machine, and proxies that the environment names for plain HTTP


@pytest.fixture
def local() -> Iterator[Scripted]:
    with scripted(answer) as running:
        yield running


@pytest.fixture
def http_proxy() -> Iterator[Scripted]:
    """A proxy for plain HTTP, which would see the tokens."""
    with scripted(answer) as running:
        yield running


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY", "AIOHTTP_TRUST_ENV"])
@pytest.mark.parametrize("with_aiohttp", [True, False])
@pytest.mark.parametrize("way", [*WAYS, "embedding", "embedding async"])
async def test_this_machine_is_asked_without_a_proxy(
    way: str, with_aiohttp: bool, variable: str, local: Scripted, http_proxy: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY" if variable == "AIOHTTP_TRUST_ENV" else variable, http_proxy.url)
    monkeypatch.setenv("AIOHTTP_TRUST_ENV", str(variable == "AIOHTTP_TRUST_ENV"))
    monkeypatch.setattr(litellm, "disable_aiohttp_transport", not with_aiohttp)
    if way.startswith("embedding"):
        await vectors_of(way, local)
        await vectors_of(way, local)
    else:
        assert await text_of(way, local) == await text_of(way, local) == "Hello."
    assert not http_proxy.seen
    assert len(local.seen) == 2
    assert local.connections == 1
    assert all(seen.headers["authorization"] for seen in local.seen)


async def vectors_of(way: str, server: Scripted) -> None:
    call: dict[str, Any] = {"model": "sagemaker_openai/my-endpoint", "input": ["a"], "api_base": server.url}
    await litellm.aembedding(**call) if way == "embedding async" else litellm.embedding(**call)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("proxied_by", ["environment", "itself"])
async def test_a_client_of_the_callers_that_has_a_proxy(
    proxied_by: str, way: str, local: Scripted, http_proxy: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused for plain HTTP; without the proxy it is used."""
    if proxied_by == "environment":
        monkeypatch.setenv("HTTP_PROXY", http_proxy.url)
    kind = httpx.AsyncClient if way.endswith("async") else httpx.Client
    proxied = kind(proxy=http_proxy.url if proxied_by == "itself" else None)
    direct = kind(trust_env=False)
    try:
        with pytest.raises(litellm.BadRequestError, match="client would send plain http for this machine"):
            await text_of(way, local, client=proxied)
        assert await text_of(way, local, client=direct) == "Hello."
    finally:
        for client in (proxied, direct):
            if isinstance(client, httpx.AsyncClient):
                await client.aclose()
            else:
                client.close()
    assert not http_proxy.seen
    assert len(local.seen) == 1


async def test_litellms_handler_as_the_callers_client(
    local: Scripted, http_proxy: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its aiohttp transport looks into the environment at each request."""
    handler = AsyncHTTPHandler()
    assert await text_of("whole async", local, client=handler) == "Hello."
    monkeypatch.setenv("HTTP_PROXY", http_proxy.url)
    with pytest.raises(litellm.BadRequestError, match="client would send plain http for this machine"):
        await text_of("whole async", local, client=handler)
    await handler.close()  # type: ignore[no-untyped-call]
    assert not http_proxy.seen
