"""The table of docs/beside-bedrock.md: what happens, what the caller gets, whether Bedrock is asked, what headers say.

Each row is provoked in the real proxy, whole and streamed, and compared with the cells that the page has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import httpx
import pytest

from tests.conftest import litellm_is_before
from tests.docs.pages import DOCS
from tests.operating.bedrock import GPT_OSS, bedrock
from tests.operating.conftest import NO_CAPACITY, Script, deployment, fine
from tests.operating.proxies import Proxy, on_path, proxy
from tests.scripted import Answer, Scripted, chunk, json_answer, scripted, sse

pytestmark = pytest.mark.medium(reason="starts a proxy and asks it a hundred times")

ACCOUNT = "111122223333"
ROLE, TEXT = chunk({"role": "assistant", "content": ""}), chunk({"content": "Half"})
REASONING = chunk({"reasoning": "Hm"})
CALL = chunk({"tool_calls": [{"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}}]})


End = Literal["cut", "stall"]
BREAKS: tuple[End | int, ...] = ("cut", "stall", 503)


@dataclass(frozen=True)
class Case:
    """One way in which a row happens.

    Attributes:
        script: what SageMaker answers.
        deployed: more of the deployment's ``litellm_params``.
        said: more of the client's JSON.
        streamed: as what it happens.
        cools: whether LiteLLM lets the deployment cool down after a first call.
    """

    script: Script = fine
    deployed: Mapping[str, Any] = field(default_factory=dict)
    said: Mapping[str, Any] = field(default_factory=dict)
    streamed: tuple[bool, ...] = (False, True)
    cools: bool = False


class Outcome(NamedTuple):
    gets: str
    asks_bedrock: str
    fallbacks: str
    group: str


def refused(status: int, message: str = "no") -> Answer:
    return json_answer({"error": {"message": message}}, status)


def quoted(status: int, message: str = "no") -> Answer:
    """A container's answer, as SageMaker's front door quotes it."""
    said = f'Received client error ({status}) from primary with message "{{"error": {{"message": "{message}"}}}}". '
    said += f"See https://us-west-2.console.aws.amazon.com/x in account {ACCOUNT} for more information."
    return json_answer({"error": {"message": said}}, 400)


def begins(*events: dict[str, Any], then: int | End) -> Case:
    """A stream of these events, and then an error event with a code, or another end."""
    if isinstance(then, int):
        answer = Answer([sse(*events, {"error": {"message": "dead", "code": then}})])
    else:
        answer = Answer([sse(*events, done=False)] if events else [b": ping\n\n"], end=then)
    return Case(answer, {"timeout": 0.5} if then == "stall" else {}, streamed=(True,))


STALLS = Answer([], content_type="application/json", end="stall")
SIXTY_SECONDS = "Your invocation timed out while waiting for a response from container primary."
TOO_LONG = "This model's maximum context length is 50 tokens."
ROWS: dict[str, list[Case]] = {
    # Before anything is sent.
    "a parameter that the deployment does not declare, such as `reasoning_effort`": [
        Case(said={"reasoning_effort": "low"})
    ],
    "a parameter that only the operator may set, such as `model_id`": [Case(said={"model_id": "other"})],
    "what cannot be sent, such as more than 6 MB": [
        Case(said={"extra_body": "text"}),
        Case(said={"messages": [{"role": "user", "content": "x" * 6_400_000}]}),
    ],
    "a deployment whose region or `model_id` does not agree with its model": [
        Case(deployed={"model": f"sagemaker_openai/arn:aws:sagemaker:eu-west-1:{ACCOUNT}:endpoint/e"}),
        Case(deployed={"model": "sagemaker_openai/my-gpus/coder", "model_id": "reviewer"}),
        Case(deployed={"aws_sagemaker_token_expiry": 0}),
    ],
    "no AWS credentials, or STS refuses the role": [Case(deployed={"aws_web_identity_token": "AWS_REGION"})],
    "AWS cannot be asked for credentials": [Case(deployed={"aws_sts_endpoint": "http://127.0.0.1:9"})],
    # SageMaker.
    "SageMaker answers 400": [Case(refused(400))],
    "401": [Case(refused(401))],
    "403: a permission is missing": [Case(refused(403))],
    "404, or 400 with `Endpoint … not found`": [
        Case(refused(404)),
        Case(refused(400, f"Endpoint e of account {ACCOUNT} not found.")),
    ],
    "the same again, while LiteLLM lets the deployment cool down, as it does after 401 and 404": [
        Case(refused(401), cools=True),
        Case(refused(404), cools=True),
    ],
    "429, or 400 with `Rate exceeded`": [Case(refused(429)), Case(json_answer({"message": "Rate exceeded"}, 400))],
    "no capacity: a component scaled to zero": [Case(NO_CAPACITY)],
    "500 to 599": [Case(refused(status)) for status in (500, 503)],
    "no connection, or no answer in time": [
        Case(b""),
        Case(STALLS, {"timeout": 0.5}),
        Case(json_answer({"message": f'Received server error (0) from primary with message "{SIXTY_SECONDS}".'}, 424)),
    ],
    # The container.
    "the container answers 400 or 413": [Case(quoted(400)), Case(quoted(413))],
    "the container answers 401": [Case(quoted(401))],
    "the container answers 403": [Case(quoted(403))],
    "the container answers 404": [Case(quoted(404))],
    "the container answers 422": [Case(quoted(422))],
    "a prompt longer than the model's context": [Case(quoted(400, TOO_LONG))],
    "the container answers 429, or 500 to 599": [Case(quoted(status)) for status in (429, 500, 503)],
    # A stream.
    "cut off, silent, or an error event of 429 or 500 to 599, before there is content": [
        begins(*before, then=then) for before in ((), (ROLE,)) for then in BREAKS
    ],
    "an error event of 400, before there is content": [begins(then=400), begins(ROLE, then=400)],
    "cut off, silent, or an error event, after content": [begins(ROLE, TEXT, then=then) for then in (*BREAKS, 400)],
    "the same after reasoning or a tool call": [begins(ROLE, REASONING, then="cut"), begins(ROLE, CALL, then="cut")],
}
CASES = {f"{row} {number}": case for row, cases in ROWS.items() for number, case in enumerate(cases)}


class Running(NamedTuple):
    proxy: Proxy
    sagemaker: Scripted
    bedrock: Scripted


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    names = {case: f"case-{number}" for number, case in enumerate(CASES)}
    role = {"aws_role_name": f"arn:aws:iam::{ACCOUNT}:role/r", "aws_session_name": "session"}
    deployments = []
    for case, name in names.items():
        more = CASES[case].deployed
        identity = role if more.keys() & {"aws_sts_endpoint", "aws_web_identity_token"} else {}
        params = {"model": f"sagemaker_openai/{name}", "litellm_credential_name": "sagemaker", **identity, **more}
        params["cooldown_time"] = 600 if CASES[case].cools else 0
        deployments.append(deployment(group=name, **params))
    names["mixed"] = "mixed"
    mixed: dict[str, Any] = {"litellm_credential_name": "sagemaker", "cooldown_time": 600}
    deployments += [deployment(f"sagemaker_openai/mixed-{status}", "mixed", **mixed) for status in (404, 429)]
    config = {
        "model_list": [*deployments, deployment(GPT_OSS, "chat-bedrock")],
        "router_settings": {
            "num_retries": 0,
            "fallbacks": [{name: ["chat-bedrock"]} for name in names.values()],
        },
        "litellm_settings": {"callbacks": ["litellm_sagemaker_openai.no_fallback_on_bad_request"]},
    }
    scripts = {name: case.script for case, name in zip(CASES.values(), names.values(), strict=False)}
    scripts |= {f"mixed-{status}": refused(status) for status in (404, 429)}
    with scripted(on_path(scripts, fine)) as sagemaker, bedrock() as elsewhere:
        folder = tmp_path_factory.mktemp("outcomes")
        environment = {"AWS_MAX_ATTEMPTS": "1"}  # of botocore, for credentials
        with proxy(folder, config, sagemaker=sagemaker.url, bedrock=elsewhere.url, environment=environment) as started:
            yield Running(started, sagemaker, elsewhere)


def name_of(case: str) -> str:
    return f"case-{list(CASES).index(case)}"


def outcome(running: Running, case: str, *, stream: bool, path: str = "/v1/chat/completions") -> Outcome:
    if CASES[case].cools:
        running.proxy.client.post(path, json=asked(path, case, stream))
    before = len(running.bedrock.seen)
    answer = running.proxy.client.post(path, json=asked(path, case, stream))
    if answer.status_code != 200:
        named = {name for name in answer.headers if name.startswith("x-litellm-model-")}
        assert named <= headers_of_an_error(path)
    return Outcome(
        gets(answer),
        "yes" if len(running.bedrock.seen) > before else "no",
        answer.headers.get("x-litellm-attempted-fallbacks", "none"),
        group_of(answer),
    )


def headers_of_an_error(path: str) -> set[str]:
    if not litellm_is_before("1.110"):
        return {"x-litellm-model-id", "x-litellm-model-name"}
    return {"x-litellm-model-id"} if path in ("/v1/messages", "/v1/responses") else set()


def asked(path: str, case: str, stream: bool) -> dict[str, Any]:
    question = [{"role": "user", "content": "Hello?"}]
    said = {"model": name_of(case), "stream": stream, **CASES[case].said}
    effort = said.pop("reasoning_effort", None)
    if path == "/v1/responses":
        return {"input": question, **said, **({"reasoning": {"effort": effort}} if effort else {})}
    if path == "/v1/messages":
        thinking = {"type": "enabled", "budget_tokens": 1024}
        return {"messages": question, "max_tokens": 2000, **said, **({"thinking": thinking} if effort else {})}
    return {"messages": question, **said, **({"reasoning_effort": effort} if effort else {})}


def gets(answer: httpx.Response) -> str:
    if answer.status_code != 200:
        return str(answer.status_code)
    if re.search(r'"error": ?\{', answer.text):
        return "200, and an error event in the stream"
    return "Bedrock's answer" if "Bedrock" in answer.text else answer.text


def group_of(answer: httpx.Response) -> str:
    group = answer.headers.get("x-litellm-model-group", "none")
    return "`chat`" if group.startswith("case-") else f"`{group}`" if group != "none" else group


def table() -> dict[str, Outcome]:
    """The rows of the page's table."""
    page = (DOCS / "beside-bedrock.md").read_text(encoding="utf-8")
    lines = page.partition("| what happens |")[2].partition("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0]: Outcome(*row[1:]) for row in rows}


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_table(running: Running, row: str) -> None:
    seen = {
        outcome(running, f"{row} {number}", stream=stream)
        for number, case in enumerate(ROWS[row])
        for stream in case.streamed
    }
    assert seen == {table()[row]}


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
@pytest.mark.parametrize("row", [0, 3, 4, 6, 11, -4], ids=list(ROWS).__getitem__)
def test_the_same_on_other_routes(running: Running, row: int, path: str) -> None:
    name = list(ROWS)[row]
    for number, case in enumerate(ROWS[name]):
        for stream in case.streamed:
            seen = outcome(running, f"{name} {number}", stream=stream, path=path)
            assert seen == table()[name]


def test_a_misconfigured_deployment_is_the_operators_to_know(running: Running) -> None:
    case = next(name for name, each in CASES.items() if "model_id" in each.deployed)
    for _ in range(2):
        answer = running.proxy.client.post("/v1/chat/completions", json=asked("", case, False))
        assert "its deployment is misconfigured" in answer.text
        assert "reviewer" not in answer.text
    warned = f"WARNING: operator_log.py:.* - the deployment sagemaker_openai/my-gpus/coder of model {name_of(case)} is"
    assert len(re.findall(warned, running.proxy.log)) == 1


def test_why_there_are_no_credentials_is_the_operators_to_know(running: Running) -> None:
    case = "AWS cannot be asked for credentials 0"
    body = {**asked("", case, False), "disable_fallbacks": True}
    answer = running.proxy.client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 503
    assert "AWS credentials could not be had" in answer.text
    assert "EndpointConnectionError" in running.proxy.log


def test_so_is_what_sagemaker_refuses_a_deployment_for(running: Running) -> None:
    case = "403: a permission is missing 0"
    for _ in range(2):
        running.proxy.client.post("/v1/chat/completions", json=asked("", case, False))
    warned = (
        f"sagemaker_openai/{name_of(case)} cannot be used as it is configured: SageMaker answered 403: no (the role"
    )
    assert running.proxy.log.count(warned) == 1


def test_so_is_a_parameter_that_it_does_not_declare(running: Running) -> None:
    case = next(iter(CASES))
    for _ in range(2):
        running.proxy.client.post("/v1/chat/completions", json=asked("", case, False))
    warned = f"a request for {name_of(case)} was refused, and chat-bedrock was not asked instead: "
    assert running.proxy.log.count(warned) == 1


@pytest.mark.parametrize("field", ["metadata", "litellm_metadata"])
def test_a_client_cannot_make_up_another_failure(running: Running, field: str) -> None:
    """A real one of the group's would make the mistake count as a failure."""
    case = name_of("403: a permission is missing 0")
    record = {"model_group": case, "exception_string": "litellm.ServiceUnavailableError: x", "exception_type": "x"}
    before = len(running.bedrock.seen)
    forged: dict[str, Any] = {field: {"previous_models": [record]}}
    answer = running.proxy.chat(case, **forged)
    assert (answer.status_code, len(running.bedrock.seen)) == (403, before)


def test_a_group_with_another_failure_is_no_mistake(running: Running) -> None:
    """One of its two deployments cools down after 404, the other after 429."""
    for _ in range(3):
        answer = running.proxy.chat("mixed")
    assert answer.headers["x-litellm-model-group"] == "chat-bedrock"
    assert answer.headers["x-litellm-attempted-fallbacks"] == "1"
    assert len([seen for seen in running.sagemaker.seen if "/mixed-" in seen.path]) == 2


def test_the_table_has_these_rows() -> None:
    assert list(table()) == list(ROWS)
