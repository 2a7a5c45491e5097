"""Where tokens and signatures go, and that they go nowhere else: the rules, and the calls over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.endpoint_provider
import botocore.session
import litellm
import pytest

from litellm_sagemaker_openai.aws.credentials import runtime_url
from litellm_sagemaker_openai.aws.hosts import (
    DNS_SUFFIXES,
    DUAL_STACK_SUFFIXES,
    aws_region_of,
    checked_hosts,
    is_known_host,
    is_loopback,
    is_this_machine,
    ordinary_url,
    origin_of,
    takes_environment_proxy,
)
from tests.certificates import make_certificates
from tests.conftest import MESSAGES, REGION
from tests.scripted import Answer, Scripted, Seen, chunk, completion, json_answer, scripted, sse

AWS = f"runtime.sagemaker.{REGION}.amazonaws.com"


def partitions() -> list[Any]:
    found: list[Any] = botocore.session.Session().get_data("partitions")["partitions"]
    return found


def test_the_dns_suffixes_are_botocores() -> None:
    outputs = [each["outputs"] for each in partitions()]
    assert set(DNS_SUFFIXES) == {each["dnsSuffix"] for each in outputs}
    assert set(DUAL_STACK_SUFFIXES) == {each["dualStackDnsSuffix"] for each in outputs}


def botocores_resolver() -> Any:
    session = botocore.session.Session()
    rules = session.get_component("data_loader").load_service_model("sagemaker-runtime", "endpoint-rule-set-1")
    return botocore.endpoint_provider.EndpointProvider(rules, session.get_data("partitions"))


@pytest.mark.parametrize("dual_stack", [False, True])
@pytest.mark.parametrize("fips", [False, True])
def test_all_hosts_that_botocore_resolves_are_known(fips: bool, dual_stack: bool) -> None:
    resolver = botocores_resolver()
    regions = [region for each in partitions() for region in each["regions"] if not region.endswith("-global")]
    assert len(regions) > 40
    for region in regions:
        url = resolver.resolve_endpoint(Region=region, UseFIPS=fips, UseDualStack=dual_stack).url
        assert aws_region_of(origin_of(url).host) == region, url
        assert is_known_host(url)


def test_the_url_of_a_region_is_botocores() -> None:
    """Of each region that botocore knows, and of some that it does not; other partitions' are left to it."""
    resolver, (largest, *others) = botocores_resolver(), partitions()
    known = [region for region in largest["regions"] if not region.endswith("-global")]
    assert len(known) > 30
    made_up = ["us-west-9", "ap-south-12", "mx-somewhere-1"]
    for region in known + made_up:
        assert ordinary_url(region, None) == resolver.resolve_endpoint(Region=region).url
    elsewhere = [region for each in others for region in each["regions"]]
    assert len(elsewhere) > 10
    for region in [*elsewhere, "aws-global", "us-gov-west-9", "us-isox-east-1", "xx-west-1", "us-west-2a"]:
        assert ordinary_url(region, None) is None


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("vpce-0a1b2c3d-x1y2z3.runtime.sagemaker.us-west-2.vpce.amazonaws.com", "us-west-2"),
        ("vpce-0a1b2c3d-x1y2z3-us-west-2a.runtime.sagemaker.us-west-2.vpce.amazonaws.com", "us-west-2"),
        ("vpce-0a1b2c3d-x1y2z3.runtime-fips.sagemaker.us-gov-west-1.vpce.amazonaws.com", "us-gov-west-1"),
        ("vpce-0a1b2c3d-x1y2z3.runtime.sagemaker.cn-north-1.vpce.amazonaws.com.cn", "cn-north-1"),
    ],
)
def test_vpc_endpoints_are_known(host: str, region: str) -> None:
    assert aws_region_of(host) == region


FOREIGN = [
    "gateway.example",
    f"{AWS}.evil.example",
    "runtime.sagemaker.us-west-2.amazonaws.evil.example",
    f"evil.example.{AWS}",
    f"evil{AWS}",
    f"{AWS}.",
    AWS.replace(".", "-", 1),
    "runtime.sagemaker.us-west-2.amazonaws.com.evil",
    "runtime.sagemaker.us-west-2.cloud.example",
    "runtime.sagemaker.evil.amazonaws.com",
    "runtime.sagemaker.us-west-2.vpce.amazonaws.com",
    "vpce-svc-1.us-west-2.vpce.amazonaws.com",
    "vpce-1.vpce-svc-runtime.sagemaker.us-west-2.vpce.amazonaws.com",
    "vpce-1.evil.runtime.sagemaker.us-west-2.vpce.amazonaws.com",
    "sagemaker-runtime.us-west-2.amazonaws.com",
    "api.sagemaker.us-west-2.amazonaws.com",
    "bucket.s3.us-west-2.amazonaws.com",
    "x.localhost",
    "localhost.",
    "localhost.localdomain",
    "127.1",
    "127.0.0.1.evil.example",
    "127.000.000.001",
    "0177.0.0.1",
    "2130706433",
    "0x7f000001",
    "0.0.0.0",
    "10.0.0.1",
    "169.254.169.254",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[fe80::1]",
]


@pytest.mark.parametrize("host", FOREIGN)
def test_other_hosts_are_not_known(host: str) -> None:
    assert not is_known_host(f"https://{host}/path", ("sub.gateway.example:443", "gateway.example:8443"))
    with pytest.raises(ValueError, match="must not go over plain http"):
        is_known_host(f"http://{host}/path")
    assert not is_this_machine(f"http://{host}:8080")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.255.255.254", "[::1]", "[0:0:0:0::1]", "localhost", "LocalHost"])
def test_this_machine(host: str) -> None:
    assert is_known_host(f"http://{host}:8080/path")
    assert is_known_host(f"https://{host}")
    assert is_this_machine(f"http://{host}:8080")


def test_an_address_without_brackets() -> None:
    assert is_loopback("::1")
    assert not is_loopback("::ffff:127.0.0.1")


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        (None, ()),
        ("", ()),
        ([], ()),
        ("Gateway.Example", ("gateway.example:443",)),
        ("a.example, b.example:8443", ("a.example:443", "b.example:8443")),
        (["a.example", "10.0.0.1:8443", "[fd00::1]"], ("a.example:443", "10.0.0.1:8443", "[fd00::1]:443")),
    ],
)
def test_allowed_hosts(given: Any, allowed: tuple[str, ...]) -> None:
    assert checked_hosts(given) == allowed
    for each in allowed:
        assert is_known_host(f"https://{each}/path", allowed)
        assert is_known_host(f"https://{each.upper()}/path", allowed)
        assert not is_known_host(f"https://{each.rpartition(':')[0]}:1", allowed)
        with pytest.raises(ValueError, match="plain http"):
            is_known_host(f"http://{each}", allowed)


BAD_HOSTS = [
    "https://a.example",
    "a.example/path",
    "*.a.example",
    "user@a.example",
    "a.example:port",
    "a.example:0",
    "a.example,,b.example",
    "a.example b.example",
    "b\u00fccher.example",
    [""],
    [3],
    3,
    True,
    [["a.example"]],
]


@pytest.mark.parametrize("given", BAD_HOSTS)
def test_what_is_no_list_of_hosts(given: Any) -> None:
    with pytest.raises(ValueError, match="write host names"):
        checked_hosts(given)


@pytest.mark.parametrize(
    ("environment", "taken"),
    [
        ({}, False),
        ({"HTTP_PROXY": "http://proxy:1"}, True),
        ({"http_proxy": "proxy:1"}, True),
        ({"ALL_PROXY": "http://proxy:1"}, True),
        ({"HTTPS_PROXY": "http://proxy:1"}, False),
        ({"HTTP_PROXY": ""}, False),
        ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "other, 127.0.0.1"}, False),
        ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "*"}, False),
        ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "localhost"}, True),
        ({"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "127.0.0.0/8"}, True),  # httpx 0.28 takes it for 127.0.0.0
    ],
)
def test_the_environments_proxies(environment: dict[str, str], taken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert takes_environment_proxy("http://127.0.0.1:8080/path") is taken
    assert not takes_environment_proxy("https://127.0.0.1:8080/path")


# Calls


def answer(seen: Seen) -> Answer:
    if seen.path.endswith("/async-invocations"):
        return json_answer({}, 400)
    if seen.path.endswith("/invocations"):
        return json_answer({"data": [{"embedding": [0.5], "index": 0}], "model": "m", "usage": {}})
    if seen.json.get("stream"):
        return Answer([sse(chunk({"content": "Hello."}), chunk(finish="stop"))])
    return json_answer(completion())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    """A server that would see a token: it speaks TLS, and the calls take its certificate."""
    certificates = make_certificates(tmp_path_factory.mktemp("certificates"))
    with scripted(answer, certificates.server_context()) as running:
        yield running


@pytest.fixture
def port(server: Scripted, every_name_is_here: None) -> int:
    server.seen.clear()
    server.connections = 0
    return int(server.url.rpartition(":")[2])


KINDS = ("whole", "stream", "embedding", "asynchronous inference")


async def ask(kind: str, is_async: bool, **call: Any) -> None:
    call = {"model": "sagemaker_openai/e", "ssl_verify": False, **call}
    if kind == "embedding":
        call["input"] = ["a"]
        await litellm.aembedding(**call) if is_async else litellm.embedding(**call)
        return
    call |= {"messages": MESSAGES, "stream": kind == "stream", "max_retries": 0}
    if kind == "asynchronous inference":
        call["aws_sagemaker_async"] = True
    response: Any = await litellm.acompletion(**call) if is_async else litellm.completion(**call)
    if kind == "stream":
        _ = [each async for each in response] if is_async else list(response)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["api_base", "sagemaker_base_url"])
async def test_no_token_goes_to_a_host_that_nobody_named(
    name: str, kind: str, is_async: bool, server: Scripted, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")  # the host is refused before credentials are looked up
    with pytest.raises(litellm.BadRequestError, match="no bearer token and no signed request goes to"):
        await ask(kind, is_async, **{name: f"https://gateway.example:{port}"})
    assert server.connections == 0


@pytest.mark.parametrize("host", [f"{AWS}.evil.example", "x.localhost", "127.1", "[::ffff:127.0.0.1]"])
async def test_no_token_goes_to_a_lookalike(host: str, server: Scripted, port: int) -> None:
    for more in ({}, {"api_key": "a-token"}):
        with pytest.raises(litellm.BadRequestError, match="goes to"):
            await ask("whole", True, api_base=f"https://{host}:{port}", **more)
    assert server.connections == 0


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_host_that_is_allowed(kind: str, is_async: bool, server: Scripted, port: int) -> None:
    call = {
        "api_base": f"https://Gateway.example:{port}",
        "aws_sagemaker_allowed_hosts": f"gateway.EXAMPLE:{port}, other",
    }
    if kind == "asynchronous inference":
        with pytest.raises(litellm.BadRequestError):  # the server's answer
            await ask(kind, is_async, **call)
    else:
        await ask(kind, is_async, **call)
    assert [seen.headers["host"] for seen in server.seen] == [f"gateway.example:{port}"]
    assert server.seen[0].headers["authorization"]


@pytest.mark.parametrize("given", [["a.example"], ["gateway.example"], "gateway.example:1", ["sub.gateway.example"]])
async def test_another_host_or_port_than_is_allowed(given: Any, server: Scripted, port: int) -> None:
    with pytest.raises(litellm.BadRequestError, match="aws_sagemaker_allowed_hosts"):
        await ask("whole", False, api_base=f"https://gateway.example:{port}", aws_sagemaker_allowed_hosts=given)
    assert server.connections == 0


@pytest.mark.parametrize("given", BAD_HOSTS)
async def test_bad_allowed_hosts(given: Any, server: Scripted, port: int) -> None:
    with pytest.raises(litellm.BadRequestError, match="aws_sagemaker_allowed_hosts: write host names"):
        await ask("whole", False, api_base=server.url, aws_sagemaker_allowed_hosts=given)
    assert server.connections == 0


@pytest.mark.parametrize("source", ["AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", "AWS_ENDPOINT_URL", "profile", "services"])
@pytest.mark.parametrize("more", [{}, {"api_key": "a-token"}], ids=["signed", "given"])
async def test_a_host_that_awss_settings_name(
    source: str, more: dict[str, Any], server: Scripted, port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = f"https://gateway.example:{port}"
    if source == "profile":
        (tmp_path / "config").write_text(f"[default]\nendpoint_url = {url}\n")
    elif source == "services":
        services = f"[services mine]\nsagemaker_runtime =\n  endpoint_url = {url}\n"
        (tmp_path / "config").write_text(f"[default]\nservices = mine\n{services}")
    else:
        monkeypatch.setenv(source, url)
    if more:
        monkeypatch.delenv("AWS_REGION")  # which a token that is there already does not need
    await ask("whole", True, api_base=f"{url}/a/path", **more)
    if not more:
        await ask("whole", False)
    assert len(server.seen) == 2 - len(more)
    for elsewhere in (f"https://gateway.example:{port + 1}", f"https://other.example:{port}"):
        with pytest.raises(litellm.BadRequestError, match="goes to"):
            await ask("whole", True, api_base=elsewhere, **more)
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    with pytest.raises(litellm.BadRequestError, match="goes to"):
        await ask("whole", True, api_base=url, **more)
    assert len(server.seen) == 2 - len(more)


def test_an_environment_that_changes_is_seen_at_once(
    server: Scripted, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = f"https://gateway.example:{port}"
    for named in (base, f"https://other.example:{port}", base):
        monkeypatch.setenv("AWS_ENDPOINT_URL", named)
        if named == base:
            assert litellm.completion("sagemaker_openai/e", MESSAGES, api_base=base, ssl_verify=False)
        else:
            with pytest.raises(litellm.BadRequestError, match="goes to"):
                litellm.completion("sagemaker_openai/e", MESSAGES, api_base=base, ssl_verify=False)


def test_botocores_url_may_be_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://user:secret@gateway.example")
    with pytest.raises(litellm.BadRequestError, match="user name") as refused:
        litellm.completion("sagemaker_openai/e", MESSAGES)
    with pytest.raises(litellm.BadRequestError, match="must begin with https") as refused_too:
        litellm.completion("sagemaker_openai/e", MESSAGES, api_base="https://other.example")
    assert "secret" not in f"{refused.value}{refused_too.value}"
    assert runtime_url(REGION) == "https://user:secret@gateway.example"
