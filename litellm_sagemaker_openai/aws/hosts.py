"""Where a bearer token or a signed request may go: AWS's runtime, this machine, the hosts that the operator named.

Pure, but for the environment's proxies. A host is compared as it is written, never as it resolves: DNS may
answer anything for ``x.localhost``.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies

REGION = r"[a-z]+(?:-[a-z]+)+-[0-9]{1,2}"

# ``dnsSuffix`` and ``dualStackDnsSuffix`` of botocore 1.44.5's partitions; tests/aws/test_hosts.py compares.
DNS_SUFFIXES = (
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "c2s.ic.gov",
    "sc2s.sgov.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
)
DUAL_STACK_SUFFIXES = (
    "api.aws",
    "api.amazonwebservices.com.cn",
    "api.amazonwebservices.eu",
    "api.aws.ic.gov",
    "api.aws.scloud",
    "api.cloud-aws.adc-e.uk",
    "api.aws.hci.ic.gov",
)
# botocore 1.44.5, endpoint rule set of sagemaker-runtime: regular, and FIPS in its two forms.
_SERVICE = r"(?:runtime\.sagemaker|runtime-fips\.sagemaker|runtime\.sagemaker-fips)"
_SUFFIXES, _DUAL_STACK = ("|".join(map(re.escape, each)) for each in (DNS_SUFFIXES, DUAL_STACK_SUFFIXES))
# A VPC endpoint of somebody else's service is called vpce-….vpce-svc-….<region>.vpce.amazonaws.com: that is not one.
# https://docs.aws.amazon.com/sagemaker/latest/dg/interface-vpc-endpoint.html
_AWS_RUNTIME_HOST = re.compile(
    rf"{_SERVICE}\.({REGION})\.(?:{_SUFFIXES}|{_DUAL_STACK})|vpce-[0-9a-z-]+\.{_SERVICE}\.({REGION})\.vpce\.(?:{_SUFFIXES})"
)

# botocore 1.44.5: ``regionRegex`` of the partition ``aws``; the host names that it takes (``is_valid_endpoint_url``).
_ORDINARY_REGION = re.compile(r"(?:us|eu|ap|sa|ca|me|af|il|mx)-[a-z]+-[0-9]+")
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ORDINARY_URL = re.compile(rf"(?=.{{0,255}}$)https?://{_LABEL}(?:\.{_LABEL})*(?::[0-9]{{1,5}})?(?:/[A-Za-z0-9._/-]*)?")

_AUTHORITY = re.compile(r"(\[[0-9a-f]*:[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")
_PORTS = {"http": 80, "https": 443}
_LOOPBACK_V4, _LOOPBACK_V6 = ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Address("::1")


class Origin(NamedTuple):
    """What a URL connects to. The host is in lower case, an IPv6 address in brackets."""

    scheme: str
    host: str
    port: int

    @property
    def name(self) -> str:
        """``host:port``."""
        return f"{self.host}:{self.port}"


@lru_cache(maxsize=1024)
def origin_of(url: str) -> Origin:
    """The origin of an ``http`` or ``https`` URL.

    Raises:
        ValueError: it is not such a URL, or its host is not written as a host name or an address in ASCII.
    """
    try:
        split = urlsplit(url)
        # Not split.hostname: before Python 3.13 it takes evil.example[::1] for ::1.
        host, port = _host_and_port(split.netloc, _PORTS[split.scheme])
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"base URL {without_userinfo(url)!r} must begin with https:// and a host name, or <host>:<port>, in ASCII "
            "characters"
        ) from error
    return Origin(split.scheme, host, port)


def without_userinfo(url: str) -> str:
    """A URL to show in a message."""
    return re.sub(r"//[^/]*@", "//", url)


def _host_and_port(authority: str, default_port: int) -> tuple[str, int]:
    match = _AUTHORITY.fullmatch(authority.lower())
    port = int(match[2] or default_port) if match else 0
    if match is None or not 0 < port < 65536:
        raise ValueError(f"{authority!r} is not <host> or <host>:<port>")
    return match[1], port


def aws_region_of(host: str) -> str | None:
    """The region of a host of AWS's SageMaker runtime, in any partition, or of a VPC endpoint for it; None for others.

    The legacy host ``sagemaker-runtime.<region>`` is not one: it does not serve ``/openai/v1``, and botocore never
    gives it.
    """
    match = _AWS_RUNTIME_HOST.fullmatch(host)
    return match and (match[1] or match[2])


def ordinary_url(region: str, named: str | None) -> str | None:
    """The runtime's base URL as botocore resolves it where nothing is configured but, in the environment, a URL.

    Args:
        region: the endpoint's.
        named: that URL, if any.

    Returns:
        None for what is left to botocore: other partitions than AWS's largest, and what may be no URL for it.
    """
    if named:
        return named if _ORDINARY_URL.fullmatch(named) else None
    return f"https://runtime.sagemaker.{region}.amazonaws.com" if _ORDINARY_REGION.fullmatch(region) else None


def is_loopback(host: str) -> bool:
    """Whether it is this machine: 127.0.0.0/8, ``::1`` or the name ``localhost``, and no other way to write them."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host == "localhost"
    return address in _LOOPBACK_V4 or address == _LOOPBACK_V6


@lru_cache(maxsize=1024)
def is_this_machine(url: str) -> bool:
    """Whether a URL leads to this machine."""
    return is_loopback(origin_of(url).host)


def is_known_to_aws(runtime: str, service: str) -> bool:
    """Whether a service of AWS's can know a runtime's endpoints and credentials, by the URLs of both.

    Not where the runtime is on this machine, as the local runtime is, and the service is not.
    """
    return is_this_machine(service) or not is_this_machine(runtime)


def checked_hosts(hosts: Any) -> tuple[str, ...]:
    """The hosts of ``aws_sagemaker_allowed_hosts`` as ``host:port``, in lower case.

    Args:
        hosts: a list of ``host`` or ``host:port``, or one string of them with commas. The port is 443 by default.

    Raises:
        ValueError: something else, a URL and a wildcard included.
    """
    if hosts is None or hosts == "":
        return ()
    names = hosts.split(",") if isinstance(hosts, str) else hosts
    try:
        return tuple("{}:{}".format(*_host_and_port(name.strip(), _PORTS["https"])) for name in names)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"write host names in ASCII characters, each <host> or <host>:<port>, such as 'gateway.example.com', as a "
            f"list or with commas between them; not {hosts!r}"
        ) from error


@lru_cache(maxsize=1024)
def is_known_host(url: str, allowed_hosts: tuple[str, ...] = ()) -> bool:
    """Whether a URL leads to AWS's runtime, this machine or one of the hosts that ``checked_hosts`` gave.

    Raises:
        ValueError: plain ``http`` to another machine, or what is no URL.
    """
    origin = origin_of(url)
    if is_loopback(origin.host):
        return True
    if origin.scheme != "https":
        raise ValueError(
            f"a bearer token or a signed request must not go over plain {origin.scheme} to {origin.name!r}: it carries "
            "the authority of your AWS role. Use https:// (http:// is for this machine: localhost, 127.0.0.1, ::1)"
        )
    return aws_region_of(origin.host) is not None or origin.name in allowed_hosts


def refuse_unless_configured(url: str, configured: str) -> None:
    """Let a token go to a host that is not known where it is the one that AWS's own settings name.

    Args:
        url: where a token is to go.
        configured: the base URL that ``credentials.runtime_url`` resolved.

    Raises:
        ValueError: it is another.
    """
    if (origin := origin_of(url)) != origin_of(configured):
        raise ValueError(
            f"no bearer token and no signed request goes to {origin.name!r}: it is neither AWS's SageMaker runtime nor "
            "this machine (127.0.0.1, ::1, localhost). Leave the base URL out, or set it with "
            "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME or the profile's endpoint_url, or name the host of a gateway of yours "
            "in aws_sagemaker_allowed_hosts (of SageMakerAuth: allowed_hosts)"
        )


def takes_environment_proxy(url: str) -> bool:
    """Whether a client that heeds the environment's proxies takes one for plain ``http`` to this machine.

    What ``NO_PROXY`` may say beside ``*`` and the host itself is read differently by each client, so it does not count.
    """
    origin, proxies = origin_of(url), getproxies()
    exempt = {name.strip() for name in proxies.get("no", "").split(",")}
    named = bool(proxies.get("http") or proxies.get("all"))
    return origin.scheme == "http" and named and exempt.isdisjoint({"*", origin.host.strip("[]")})
