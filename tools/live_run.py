"""Asks SageMaker and the local runtime the cases of `make live`, and writes down how their answers differ."""

from __future__ import annotations

import getpass
import os
import platform
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date, datetime, timezone
from itertools import count
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import botocore
import click
import httpx

from litellm_sagemaker_openai._version import __version__
from litellm_sagemaker_openai.aws.hosts import is_this_machine
from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials
from litellm_sagemaker_openai.commands.checking import CheckOptions, Endpoint
from litellm_sagemaker_openai.commands.readiness import ANSWER_SECONDS, wait_until_it_answers
from litellm_sagemaker_openai.local.runtime import RuntimeConfig
from litellm_sagemaker_openai.local.server import running
from litellm_sagemaker_openai.target import CHAT_PATH, Target
from tools.live_answers import Answer, Seen, seen
from tools.live_cases import CASES, Case, Outgoing, Side, asked, outgoing
from tools.live_comparison import differences
from tools.live_redaction import Redactor
from tools.live_report import Result, report, summary_line

_COLD_START_SECONDS = 1200.0
_MOST_BYTES = 1 << 22  # of an answer
# Made up: the local runtime gets no credentials of the user's, and none of the user's names.
_KEY = FrozenCredentials("LOCALRUNTIME", "made-up-and-good-for-the-local-runtime-only", "made-up-session-token")

Answers: TypeAlias = Mapping[str, Sequence[Answer]]
Say: TypeAlias = Callable[[str], None]


def compare(options: CheckOptions, embeddings: str | None, say: Say) -> bool:
    """Ask both, and write the file; whether there are differences.

    Args:
        options: what is called, with its region.
        embeddings: an endpoint that makes embeddings; None: there is none.
        say: takes what there is to say meanwhile.

    Raises:
        click.ClickException: it does not answer at all, or the report would have something of the user's in it.
    """
    assert options.region is not None
    target = options.target
    wait_until_it_answers(options, _COLD_START_SECONDS, say)
    endpoint = Endpoint.of(options, options.region)
    base_url = endpoint.url.removesuffix(target.path + CHAT_PATH)
    aws = Side(base_url, options.region, target, embeddings, endpoint.credentials())
    about = _about(aws)
    of_local = _local_runtimes(aws)
    own = report(_results(aws, of_local, of_local), about)
    answers, used = _ask_all(aws, say)
    redactor = Redactor(_names(options, aws), [*used, *_secrets_of_the_environment(aws.credentials)], own)
    results = _results(aws, _all_seen(answers, redactor), of_local)
    for result in results:
        for found in result.matters:
            click.echo(f"{result.case.name}: {found.what}: SageMaker {found.aws}, the local runtime {found.local}")
    text = report(results, about)
    if private := redactor.leaks(text):
        raise click.ClickException(f"the report is not written: it would have {', '.join(private)} in it")
    say(f"{summary_line(results)}. Written to {_write(text)}")
    return any(result.matters for result in results)


def _local_runtimes(aws: Side) -> dict[str, list[Seen]]:
    """What the local runtime answers to each case."""
    target = Target("local-endpoint-1", "local-component-1" if aws.target.component else None)
    embeddings = "local-embeddings-1" if aws.embeddings else None
    served = {
        target.endpoint: (target.component,) if target.component else (),
        **({embeddings: ()} if embeddings else {}),
    }
    with running(RuntimeConfig(served, _KEY, aws.region)) as runtime:
        answers, used = _ask_all(Side(runtime.url, aws.region, target, embeddings, _KEY), lambda _: None)
    names = {target.endpoint: "<endpoint>", target.component or "": "<component>", embeddings or "": "<endpoint>"}
    return _all_seen(answers, Redactor(names, used))


def _ask_all(side: Side, say: Say) -> tuple[Answers, list[str]]:
    """Each case's answers, and what authorized the requests."""
    answers, used = dict[str, Sequence[Answer]](), list[str]()
    timeout = httpx.Timeout(ANSWER_SECONDS, connect=10.0)
    cases = [case for case, why_not in asked(side.target.component, side.embeddings) if not why_not]
    through_proxies = not is_this_machine(side.url)  # a token must not go to a proxy in plain HTTP
    with httpx.Client(timeout=timeout, trust_env=through_proxies) as client, ThreadPoolExecutor(8) as pool:
        for number, case in enumerate(cases, 1):
            say(f"{number} of {len(cases)}: {case.name}")
            request = outgoing(case, side, datetime.now(timezone.utc))
            # Of a signed request's header, the signature alone: it names headers and the region as well.
            used.append(request.headers.get("authorization", "").rpartition(" ")[2].removeprefix("Signature="))
            others = [pool.submit(_ask, client, case, request) for _ in range(case.at_once - 1)]
            answers[case.name] = [_ask(client, case, request), *(each.result() for each in others)]
    return answers, used


def _ask(client: httpx.Client, case: Case, request: Outgoing) -> Answer:
    """One request's answer, as it came; what goes wrong on the way is a kind of answer, too."""
    body = bytearray()
    status, headers = None, dict[str, str]()
    ends = time.monotonic() + 3 * ANSWER_SECONDS
    try:
        with client.stream(
            request.method, request.url, headers=dict(request.headers), content=request.body
        ) as response:
            status, headers = response.status_code, {name.lower(): value for name, value in response.headers.items()}
            for piece in response.iter_bytes():
                body += piece
                if case.closed_early and body.count(b"\n\n"):
                    # One event: how many come in the first piece is chance.
                    return Answer(status, headers, bytes(body).partition(b"\n\n")[0] + b"\n\n")
                if len(body) > _MOST_BYTES or time.monotonic() > ends:
                    return Answer(status, headers, bytes(body), "it does not end")
    except httpx.HTTPError as error:
        return Answer(status, headers, bytes(body), type(error).__name__)
    return Answer(status, headers, bytes(body))


def _all_seen(answers: Answers, redactor: Redactor) -> dict[str, list[Seen]]:
    return {name: [seen(each, redactor) for each in of_case] for name, of_case in answers.items()}


def _results(side: Side, aws: Mapping[str, list[Seen]], local: Mapping[str, list[Seen]]) -> list[Result]:
    results = []
    for case, why_not in asked(side.target.component, side.embeddings):
        if why_not:
            results.append(Result(case, not_asked=why_not))
            continue
        first = local[case.name][0]
        found = dict.fromkeys(each for answer in aws[case.name] for each in differences(answer, first))
        results.append(Result(case, aws[case.name][0], first, tuple(found)))
    return results


def _about(side: Side) -> dict[str, str]:
    """The report's head: nothing of it is the user's but the region."""
    return {
        "litellm-sagemaker-openai": __version__,
        "Python": platform.python_version(),
        "botocore": botocore.__version__,
        "region": side.region,
        "called": "an inference component" if side.target.component else "an endpoint's own model",
        "credentials": "temporary" if side.credentials.session_token else "without an end",
        "cases": str(len(CASES)),
        "container": "please write it here: image and version, model",
    }


def _names(options: CheckOptions, side: Side) -> dict[str, str]:
    """The user's names, and what stands in their place."""
    host = urlsplit(side.url).netloc
    names = {
        side.target.endpoint: "<endpoint>",
        side.target.component or "": "<component>",
        side.embeddings or "": "<endpoint>",
        options.profile or os.environ.get("AWS_PROFILE", ""): "<profile>",
        Path.home().name: "<user>",
        socket.gethostname(): "<host>",
        socket.gethostname().partition(".")[0]: "<host>",
    }
    with suppress(KeyError, OSError, ImportError):  # a user id without a name
        names[getpass.getuser()] = "<user>"
    if host != f"runtime.sagemaker.{side.region}.amazonaws.com":
        names |= {host: "<host>", urlsplit(side.url).hostname or "": "<host>"}
    return {name: instead for name, instead in names.items() if name not in ("", "localhost", "root")}


def _secrets_of_the_environment(credentials: FrozenCredentials) -> Iterator[str]:
    yield from (credentials.access_key, credentials.secret_key, credentials.session_token or "")
    words = ("TOKEN", "SECRET", "PASSWORD", "API_KEY", "ACCESS_KEY")
    yield from (value for name, value in os.environ.items() if any(word in name.upper() for word in words))


def _write(text: str) -> Path:
    """Into a new file of the current folder."""
    day = date.today().isoformat()
    for number in count(1):
        path = Path(f"live-report-{day}{'' if number == 1 else f'-{number}'}.md").absolute()
        with suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
            file.write(text)
            return path
    raise AssertionError("numbers end")
