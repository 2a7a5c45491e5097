"""``litellm-sagemaker-openai check``: each thing that can be wrong, and what it then says."""

from __future__ import annotations

import json
import os
from base64 import b64decode
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from litellm_sagemaker_openai.cli import main
from litellm_sagemaker_openai.commands.checking import CheckOptions, Endpoint, call_steps
from litellm_sagemaker_openai.commands.diagnosis import Step
from litellm_sagemaker_openai.local.server import Running
from litellm_sagemaker_openai.target import parse_target
from tests.aws_apis import PREFIX_AWARE, Aws
from tests.conftest import CREDENTIALS, REGION, Upstream
from tests.scripted import Answer, Seen, chunk, completion, json_answer, scripted, sse, usage_chunk
from tests.terminal import in_terminal

pytestmark = pytest.mark.medium(reason="runs all steps of the command again and again")

each = pytest.mark.parametrize
WIRE = Path(__file__).parents[1] / "wire" / "sagemaker"
ACCESS = ("token", "CallWithBearerToken", "InvokeEndpoint")
CALLS = ("chat", "stream", "first token", "tools", "usage")
CALLER = "arn:aws:sts::123456789012:user/moto"


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["check", *arguments])
    for secret in (CREDENTIALS.secret_key, CREDENTIALS.session_token or "", "sagemaker-api-key-", "Signature="):
        assert secret not in result.output
    return result


def checked(*arguments: str) -> dict[str, Step]:
    """The steps by name; the exit status is that of their statuses."""
    result = run("--json", *arguments)
    steps = {step["name"]: Step(**step) for step in json.loads(result.stdout)}
    assert result.exit_code == any(step.status == "failed" for step in steps.values())
    return steps


def called(name: str, timeout: float = 30, region: str = REGION) -> dict[str, Step]:
    """The steps from the token on, without the time that it takes to ask STS and the control plane."""
    endpoint = Endpoint.of(CheckOptions(parse_target(name), timeout), region)
    steps = {step.name: step for step in call_steps(endpoint, "", lambda progress: None)}
    assert CREDENTIALS.secret_key not in str(steps)
    return steps


def statuses(steps: dict[str, Step], *names: str) -> list[str]:
    return [steps[name].status for name in names]


def answered(status: int, message: str) -> Answer:
    """In SageMaker's own words."""
    return json_answer({"error": {"message": message, "type": "x", "code": "x"}}, status)


def quoted(status: int, body: str) -> Answer:
    """In the container's words."""
    return answered(status, f'Received client error ({status}) from primary with message "{body}".')


def wire(name: str) -> Answer:
    recorded = json.loads((WIRE / f"{name}.json").read_text())
    return Answer([recorded["body"].encode()], recorded["status"], "application/json")


CALL = {"function": {"name": "get_weather", "arguments": '{"city": "Dublin"}'}, "id": "1", "type": "function"}
WHOLE = json_answer(completion("Hello."))
STREAM = Answer([sse(chunk({"content": "one "}), chunk({"content": "two"}), chunk(finish="stop"), usage_chunk(9, 2))])
TOOL = json_answer(completion(None, message={"tool_calls": [CALL]}))


def container(whole: Answer = WHOLE, stream: Answer = STREAM, tool: Answer = TOOL) -> Callable[[Seen], Answer]:
    """Answers each kind of question."""
    return lambda seen: stream if seen.json.get("stream") else tool if "tools" in seen.json else whole


class TestAllIsWell:
    def test_an_endpoint(self, runtime: Running, aws_apis: Aws) -> None:
        aws_apis.make_endpoint("my-endpoint", instances=2, routing=PREFIX_AWARE)
        steps = checked("my-endpoint")
        assert list(steps) == ["region", "credentials", "endpoint", "routing", *ACCESS, *CALLS]
        assert {step.status for step in steps.values()} == {"ok"}
        assert {step.advice for step in steps.values()} == {""}
        assert steps["region"].detail == f"us-west-2, from AWS_REGION; {runtime.url.removeprefix('http://')}"
        assert steps["credentials"].detail == CALLER
        assert steps["endpoint"].detail == "InService, 2 of 2 instances"
        assert steps["routing"].detail == "PREFIX_AWARE 4096/10"
        assert steps["chat"].detail.startswith('echo answered "Echo container, not a model. You said: Say hello')
        assert steps["stream"].detail == "19 pieces, finish reason stop"
        assert steps["tools"].detail == 'get_weather({"city": "Dublin"})'
        assert steps["usage"].detail == "12 + 16 tokens; streamed too"

    def test_an_inference_component(self, runtime: Running, aws_apis: Aws) -> None:
        aws_apis.make_endpoint("shared-endpoint", "coder", "reviewer")
        steps = checked("sagemaker_openai/shared-endpoint/coder")
        assert list(steps) == ["region", "credentials", "endpoint", "inference component", *ACCESS, *CALLS]
        assert {step.status for step in steps.values()} == {"ok"}
        assert steps["inference component"].detail == "InService, 1 of 1 copies"
        assert {received.path.split("/")[4] for received in runtime.app.state.received} == {"coder"}

    def test_the_lines_in_a_pipe(self, upstream: Upstream) -> None:
        server = upstream(container())
        result = run("my-endpoint")
        assert result.exit_code == 0
        *lines, last = result.stdout.splitlines()
        assert last == "It works: model=sagemaker_openai/my-endpoint"
        assert [line[:22].rstrip() for line in lines] == [
            "✓ region",
            "✓ credentials",
            "– endpoint",  # noqa: RUF001
            "✓ token",
            "✓ CallWithBearerToken",
            "✓ InvokeEndpoint",
            *(f"✓ {name}" for name in CALLS),
        ]
        assert [seen.json["max_tokens"] for seen in server.seen] == [1024] * 3

    def test_a_runtime_on_this_machine_says_nothing_of_aws(self, runtime: Running) -> None:
        """Neither STS nor the control plane is asked: they are AWS's, and know nothing of it."""
        steps = checked("shared-endpoint/coder")
        assert statuses(steps, "credentials", "endpoint", "inference component") == ["ok", "skipped", "skipped"]
        assert "the runtime is on this machine" in steps["credentials"].detail

    def test_the_served_name(self, runtime: Running) -> None:
        checked("my-endpoint", "--hf-model-name", "echo")
        assert {received.body["model"] for received in runtime.app.state.received} == {"echo"}


IDENTITY = """<GetCallerIdentityResponse><GetCallerIdentityResult>
<Arn>arn:aws:iam::123456789012:user/other</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>"""


class TestBeforeTheFirstCall:
    @each(
        ("environment", "arguments", "step", "said"),
        [
            ({"AWS_REGION": ""}, [], "region", "no AWS region: give --region"),
            ({}, ["--region", "moon"], "region", "'moon' is not an AWS region"),
            ({"AWS_REGION": ""}, ["--profile", "nobody"], "region", "found; check --profile, AWS_PROFILE and the AWS"),
            ({"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": "http://example.com"}, [], "region", "must not go over plain http"),
            ({"AWS_ACCESS_KEY_ID": ""}, [], "credentials", "no AWS credentials found: set AWS_ACCESS_KEY_ID"),
            ({}, ["--profile", "nobody"], "region", "The config profile (nobody) could not be found"),
        ],
    )
    def test_what_is_missing(
        self,
        environment: dict[str, str],
        arguments: list[str],
        step: str,
        said: str,
        runtime: Running,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
        steps = checked("my-endpoint", *arguments)
        assert steps[step].status == "failed"
        assert said in steps[step].detail
        after = list(steps)[list(steps).index(step) + 1 :]
        assert {(steps[name].status, steps[name].detail) for name in after} == {("skipped", f"needs: {step}")}
        assert not runtime.app.state.received

    @each(
        ("source", "named"),
        [
            ("--region", "--region"),
            ("arn", "the ARN"),
            ("AWS_DEFAULT_REGION", "AWS_DEFAULT_REGION"),
            ("config", "the profile"),
        ],
    )
    def test_where_the_region_comes_from(
        self, source: str, named: str, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        upstream(container())
        monkeypatch.delenv("AWS_REGION")
        arguments = {
            "--region": ["my-endpoint", "--region", "eu-west-1"],
            "arn": ["arn:aws:sagemaker:eu-west-1:123456789012:endpoint/my-endpoint"],
        }.get(source, ["my-endpoint"])
        if source == "config":
            (tmp_path / "config").write_text("[default]\nregion = eu-west-1\n")
        elif source.startswith("AWS_"):
            monkeypatch.setenv(source, "eu-west-1")
        assert checked(*arguments)["region"].detail.startswith(f"eu-west-1, from {named};")

    def test_a_profile(self, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        server = upstream(container())
        monkeypatch.delenv("AWS_REGION")
        (tmp_path / "credentials").write_text(
            "[other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = secret\n"
        )
        (tmp_path / "config").write_text("[profile other]\nregion = eu-north-1\n")
        with scripted(Answer([IDENTITY.encode()], content_type="text/xml")) as sts:
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
            steps = checked("my-endpoint", "--profile", "other")
        assert steps["region"].detail.startswith("eu-north-1, from the profile;")
        assert steps["credentials"].detail == "arn:aws:iam::123456789012:user/other"
        assert "Credential=AKIAOTHER/" in sts.seen[0].headers["authorization"]
        tokens = [seen.headers["authorization"].removeprefix("Bearer sagemaker-api-key-") for seen in server.seen]
        assert all(b"X-Amz-Credential=AKIAOTHER%2F" in b64decode(token) for token in tokens)

    @each(
        ("code", "advice"),
        [
            ("ExpiredToken", "new temporary credentials"),
            ("InvalidClientTokenId", "does not exist"),
            ("Other", "sign in"),
        ],
    )
    def test_credentials_that_sts_refuses(
        self, code: str, advice: str, runtime: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        body = f"<ErrorResponse><Error><Code>{code}</Code><Message>No.</Message></Error></ErrorResponse>"
        with scripted(Answer([body.encode()], 403, "text/xml")) as sts:
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
            steps = checked("my-endpoint")
        assert steps["credentials"].status == "failed"
        assert steps["credentials"].detail == f"{CREDENTIALS.access_key}: GetCallerIdentity: {code}: No."
        assert advice in steps["credentials"].advice
        assert not runtime.app.state.received

    def test_no_way_to_sts(self, runtime: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
        steps = checked("my-endpoint")
        assert statuses(steps, "credentials", "chat") == ["ok", "ok"]
        assert steps["credentials"].detail.startswith(f"{CREDENTIALS.access_key}; whose could not be asked: Could not")

    @each(
        ("state", "status", "detail", "advice"),
        [
            ({"EndpointStatus": "Creating"}, "failed", "Creating, 1 of 1 instances", "wait until it is InService"),
            (
                {"EndpointStatus": "Failed", "FailureReason": "No GPU."},
                "failed",
                "Failed, 1 of 1 instances: No GPU.",
                "create it again",
            ),
            ({"EndpointStatus": "Updating"}, "warning", "Updating, 1 of 1 instances", "it goes on serving"),
        ],
    )
    def test_an_endpoint_that_is_not_in_service(
        self, state: dict[str, str], status: str, detail: str, advice: str, runtime: Running, aws_apis: Aws
    ) -> None:
        aws_apis.make_endpoint("my-endpoint")
        aws_apis.sagemaker.shows("endpoint/my-endpoint", state)
        steps = checked("my-endpoint")
        assert (steps["endpoint"].status, steps["endpoint"].detail) == (status, detail)
        assert steps["endpoint"].advice.startswith(advice)
        assert steps["chat"].status == ("skipped" if status == "failed" else "ok")

    @each(
        ("target", "step", "detail", "advice"),
        [
            (
                "nope",
                "endpoint",
                "there is no nope in us-west-2",
                "litellm-sagemaker-openai endpoints --region us-west-2",
            ),
            ("my-gpus", "endpoint", "only they are called", "name one: my-gpus/coder, my-gpus/reviewer"),
            ("empty", "endpoint", "made for inference components, and has none", "create one on it"),
            ("slow", "endpoint", "for asynchronous inference", "aws_sagemaker_async=True"),
            (
                "my-gpus/writer",
                "inference component",
                "there is no writer on my-gpus; there is coder, reviewer",
                "endpoints",
            ),
            ("my-gpus/reviewer", "inference component", "Creating", "wait until it is InService"),
        ],
    )
    def test_what_cannot_be_called(
        self, target: str, step: str, detail: str, advice: str, runtime: Running, aws_apis: Aws
    ) -> None:
        aws_apis.make_endpoint("my-gpus", "coder", "reviewer")
        aws_apis.make_endpoint("empty", "only")
        aws_apis.client("sagemaker").delete_inference_component(InferenceComponentName="only")
        aws_apis.make_endpoint("slow", AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": "s3://bucket/prefix"}})
        aws_apis.sagemaker.shows("inference-component/reviewer", "Creating")
        steps = checked(target)
        assert steps[step].status == "failed"
        assert detail in steps[step].detail
        assert advice in steps[step].advice
        assert not runtime.app.state.received

    def test_a_component_at_zero_copies(self, upstream: Upstream, aws_apis: Aws) -> None:
        upstream(wire("no_capacity"))
        aws_apis.make_endpoint("my-gpus", "coder")
        aws_apis.client("sagemaker").update_inference_component_runtime_config(
            InferenceComponentName="coder", DesiredRuntimeConfig={"CopyCount": 0}
        )
        steps = checked("my-gpus/coder")
        assert statuses(steps, "inference component", *ACCESS, "chat") == ["warning", "ok", "ok", "ok", "failed"]
        assert "scaled to zero" in steps["inference component"].advice
        assert "check again in some minutes" in steps["chat"].advice

    @each(("instances", "said"), [(1, ""), (2, "none is set for 2 instances of AllTraffic: each call goes to any")])
    def test_several_instances_without_routing(
        self, instances: int, said: str, runtime: Running, aws_apis: Aws
    ) -> None:
        """Advice, and not a failure."""
        aws_apis.make_endpoint("my-gpus", "coder", instances=instances)
        step = checked("my-gpus/coder").get("routing")
        assert (step is None) == (not said)
        if step is not None:
            assert (step.status, step.detail.startswith(said)) == ("warning", True)
            assert "PREFIX_AWARE" in step.advice
            assert "LEAST_OUTSTANDING_REQUESTS" in step.advice

    def test_routing_that_may_not_be_seen(self, runtime: Running, aws_apis: Aws) -> None:
        """DescribeEndpoint alone may leave it out."""
        aws_apis.make_endpoint("my-endpoint", instances=2)
        aws_apis.sagemaker.refuses("DescribeEndpointConfig")
        assert "routing" not in checked("my-endpoint")

    def test_variants_that_are_routed_differently(self, runtime: Running, aws_apis: Aws) -> None:
        aws_apis.make_endpoint("my-endpoint")
        blue = {"VariantName": "blue", "RoutingConfig": PREFIX_AWARE, "DesiredInstanceCount": 2}
        green = {"VariantName": "green", "DesiredInstanceCount": 1}
        aws_apis.sagemaker.shows("endpoint/my-endpoint", {"ProductionVariants": [blue, green]})
        step = checked("my-endpoint")["routing"]
        assert (step.status, step.detail) == ("ok", "blue: PREFIX_AWARE 4096/10, green: RANDOM")
        green["DesiredInstanceCount"] = 3
        aws_apis.sagemaker.shows("endpoint/my-endpoint", {"ProductionVariants": [blue, green]})
        step = checked("my-endpoint")["routing"]
        assert (step.status, "3 instances of green" in step.detail) == ("warning", True)

    @each(
        ("denied", "step"),
        [("DescribeEndpoint", "endpoint"), ("ListInferenceComponents", "inference component")],
    )
    def test_a_control_plane_that_may_not_be_asked(
        self, denied: str, step: str, runtime: Running, aws_apis: Aws
    ) -> None:
        aws_apis.make_endpoint("shared-endpoint", "coder")
        aws_apis.sagemaker.refuses(denied)
        steps = checked("shared-endpoint/coder")
        assert steps[step].status == "skipped"
        assert steps[step].detail.startswith("not checked: ")
        assert steps[step].advice == f"to have it checked, allow sagemaker:{denied}"
        assert statuses(steps, "chat") == ["ok"]


def denied(action: str) -> str:
    """IAM's words."""
    return (
        "User: arn:aws:sts::123456789012:assumed-role/developer/me is not authorized to perform: "
        f"sagemaker:{action} on resource: * because no identity-based policy allows the sagemaker:{action} action"
    )


BEARER, INVOKE = denied("CallWithBearerToken"), denied("InvokeEndpoint")
OTHER = "The security token included in the request is invalid."


class TestPermissions:
    @each(
        ("bearer", "signed", "expected"),
        [
            (answered(403, BEARER), WHOLE, ["ok", "failed", "ok"]),
            (answered(401, BEARER), WHOLE, ["ok", "failed", "ok"]),  # 401, as Bedrock's route answers the same
            (answered(403, BEARER), answered(403, INVOKE), ["ok", "failed", "failed"]),
            (answered(403, BEARER), answered(503, "Later."), ["ok", "failed", "skipped"]),
            (answered(403, INVOKE), answered(403, INVOKE), ["ok", "ok", "failed"]),
            (answered(403, "No."), WHOLE, ["skipped", "failed", "ok"]),
            (answered(403, "No."), quoted(404, "Not Found"), ["skipped", "failed", "ok"]),
            (answered(403, "No."), wire("no_capacity"), ["skipped", "failed", "ok"]),
            (answered(403, "No."), answered(403, INVOKE), ["skipped", "skipped", "failed"]),
            (answered(403, OTHER), answered(403, OTHER), ["failed", "skipped", "skipped"]),
            (answered(403, OTHER), answered(500, "Broken."), ["failed", "skipped", "skipped"]),
        ],
    )
    def test_which_one_is_missing(
        self, bearer: Answer, signed: Answer, expected: list[str], upstream: Upstream
    ) -> None:
        server = upstream(lambda seen: signed if seen.path.endswith("/invocations") else bearer)
        steps = called("my-gpus/coder")
        assert statuses(steps, *ACCESS) == expected
        assert steps.keys() == set(ACCESS)  # no call after it
        on_openai, on_invocations = server.seen  # one request each
        assert on_openai.path == "/endpoints/my-gpus/inference-components/coder/openai/v1/chat/completions"
        assert on_openai.headers["authorization"].startswith("Bearer ")
        assert on_invocations.path == "/endpoints/my-gpus/invocations"
        assert on_invocations.headers["authorization"].startswith("AWS4-HMAC-SHA256 ")
        assert on_invocations.headers["x-amzn-sagemaker-inference-component"] == "coder"
        assert on_invocations.body == on_openai.body

    def test_what_to_allow(self, upstream: Upstream, aws_apis: Aws) -> None:
        aws_apis.make_endpoint("my-gpus", "coder")
        server = upstream(answered(403, BEARER))
        assert checked("my-gpus/coder")["CallWithBearerToken"].advice == "allow sagemaker:CallWithBearerToken on *"
        server.script = lambda _: answered(403, INVOKE)
        arn = "arn:aws:sagemaker:us-west-2:123456789012"
        assert checked("my-gpus/coder")["InvokeEndpoint"].advice == (
            f"allow sagemaker:InvokeEndpoint on {arn}:endpoint/my-gpus and {arn}:inference-component/coder"
        )

    @each(("minutes", "said"), [(-10, "10 min ahead"), (10, "10 min behind"), (0, "sign in again")])
    def test_a_clock_that_is_wrong(self, minutes: int, said: str, upstream: Upstream) -> None:
        date = format_datetime(datetime.now(timezone.utc) + timedelta(minutes=minutes), usegmt=True)
        body = json.dumps({"error": {"message": "Signature expired."}}).encode()
        upstream(Answer([body], 403, "application/json", {"date": date}))
        assert said in called("my-endpoint")["token"].advice

    @each("date", ["Fri, 20 Nov 2026 12:00:30 -0000", "Fri, 20 Nov 99999999999 12:00:30 GMT", "soon", ""])
    def test_a_clock_that_nobody_can_read(self, date: str, upstream: Upstream) -> None:
        upstream(Answer([b'{"error": {"message": "no"}}'], 403, "application/json", {"date": date}))
        assert "sign in again" in called("my-endpoint")["token"].advice

    def test_a_token_for_another_region(self, runtime: Running) -> None:
        token = called("my-endpoint", region="us-east-1")["token"]
        assert (token.status, token.advice) == ("failed", "the endpoint's region (--region), or sign in again")

    def test_the_local_runtime_refuses_other_credentials(
        self, runtime: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAANOTHER")
        assert statuses(called("my-endpoint"), *ACCESS) == ["failed", "skipped", "skipped"]


class TestCalls:
    @each(
        ("answer", "detail", "advice"),
        [
            (wire("endpoint_not_found"), "not found in this account and region", "litellm-sagemaker-openai endpoints"),
            (
                quoted(404, '{"error": {"message": "The model `` does not exist.", "type": "NotFoundError"}}'),
                "the container answered 404: The model `` does not exist.",
                "--hf-model-name here, hf_model_name in LiteLLM",
            ),
            (quoted(400, '{"error": {"message": "you must provide a model parameter"}}'), "400", "--hf-model-name"),
            (
                quoted(404, '{"detail": "Not Found"}'),
                "the container answered 404: Not Found",
                "aws_sagemaker_chat_route='invocations'",
            ),
            (
                quoted(400, '{"message": "No chat template."}'),
                "No chat template.",
                "/aws/sagemaker/Endpoints/my-endpoint",
            ),
            (wire("model_error_424"), "the container answered", "/aws/sagemaker/Endpoints/my-endpoint"),
            (json_answer({"hello": 1}), "the container answered 200 with no choices", "/aws/sagemaker/Endpoints"),
            (Answer([b"hello"]), "the container answered 200 with what is not JSON: hello", "log group"),
        ],
    )
    def test_a_chat_that_fails(self, answer: Answer, detail: str, advice: str, upstream: Upstream) -> None:
        upstream(container(whole=answer))
        steps = called("my-endpoint")
        assert [step.status for step in steps.values()] == ["ok", "ok", "ok", "failed"]
        assert detail in steps["chat"].detail
        assert advice in steps["chat"].advice

    def test_a_served_name_that_is_wrong(self, runtime: Running) -> None:
        steps = checked("my-endpoint", "--hf-model-name", "other")
        assert steps["chat"].advice.startswith("the container does not serve 'other'")

    def test_an_answer_that_does_not_come(self, upstream: Upstream) -> None:
        upstream(Answer(end="stall"))
        steps = called("my-endpoint", timeout=0.2)
        assert statuses(steps, *ACCESS, "chat") == ["skipped"] * 3 + ["failed"]
        assert steps["chat"].detail.startswith("SageMaker did not answer in time")
        assert "--timeout" in steps["chat"].advice

    def test_no_way_to_sagemaker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", "http://127.0.0.1:1")
        steps = called("my-endpoint")
        assert statuses(steps, *ACCESS, "chat") == ["skipped"] * 3 + ["failed"]
        assert steps["chat"].detail.startswith("could not connect to SageMaker")
        assert "HTTPS_PROXY" in steps["chat"].advice

    def test_an_answer_of_reasoning_alone(self, upstream: Upstream) -> None:
        upstream(container(whole=json_answer(completion(None, message={"reasoning": "They want\nto know."}))))
        assert called("my-endpoint")["chat"].detail == 'served answered "They want to know."'

    def test_an_answer_without_a_word(self, upstream: Upstream) -> None:
        silent = Answer([sse(chunk({"role": "assistant"}), chunk(finish="stop"), usage_chunk(9, 0))])
        upstream(container(whole=json_answer(completion("")), stream=silent))
        steps = called("my-endpoint")
        assert statuses(steps, "chat", "stream", "first token") == ["warning", "warning", "skipped"]

    @each(
        ("stream", "expected"),
        [
            (Answer([sse(chunk({"content": "one"}), done=False)]), "the stream ended before the answer did"),
            (Answer([sse(chunk({"content": "one"}), done=False)], end="reset"), "SageMaker hung up"),
            (Answer([sse({"error": {"message": "CUDA out of memory", "code": 500}})]), "CUDA out of memory"),
            (Answer([b"data: {"], content_type="text/plain"), "an event that is not JSON: '{'"),
            (quoted(400, '{"message": "no streams here"}'), "no streams here"),
        ],
    )
    def test_a_stream_that_fails(self, stream: Answer, expected: str, upstream: Upstream) -> None:
        upstream(container(stream=stream))
        steps = called("my-endpoint")
        assert statuses(steps, *CALLS) == ["ok", "failed", "skipped", "ok", "skipped"]
        assert expected in steps["stream"].detail

    @each(
        "stream",
        [
            json_answer(completion("Hello, hello and hello.")),
            Answer([sse(chunk({"content": "one two"}), chunk(finish="stop"), usage_chunk(9, 2))]),
        ],
    )
    def test_a_container_that_does_not_stream(self, stream: Answer, upstream: Upstream) -> None:
        upstream(container(stream=stream))
        steps = called("my-endpoint")
        assert statuses(steps, *CALLS) == ["ok", "warning", "ok", "ok", "ok"]
        assert steps["stream"].detail == "the whole answer came in one piece"

    @each(
        ("tool", "status", "detail"),
        [
            (quoted(400, '{"message": "\\"auto\\" tool choice requires --x"}'), "warning", "tool choice requires"),
            (json_answer(completion("It rains.")), "warning", 'it said "It rains."'),
            (
                json_answer(
                    completion(None, message={"tool_calls": [{**CALL, "function": {"name": "f", "arguments": "{"}}]})
                ),
                "warning",
                "the arguments are not JSON: f({)",
            ),
            (
                json_answer(
                    completion(
                        None, message={"tool_calls": [{**CALL, "function": {"name": "f", "arguments": "x" * 100_000}}]}
                    )
                ),
                "warning",
                f"the arguments are not JSON: f({'x' * 200})",
            ),
            (quoted(500, "broken"), "failed", "the container answered 500"),
            (wire("no_capacity"), "failed", "no capacity"),
        ],
    )
    def test_tools(self, tool: Answer, status: str, detail: str, upstream: Upstream) -> None:
        upstream(container(tool=tool))
        steps = called("my-endpoint")
        assert (steps["tools"].status, steps["usage"].status) == (status, "ok")
        assert detail in steps["tools"].detail
        assert ("--enable-auto-tool-choice" in steps["tools"].advice) == (status == "warning")

    @each(
        ("whole", "stream", "detail"),
        [
            (json_answer(completion("Hi.", usage=None)), STREAM, "not reported for whole answers"),
            (json_answer(completion("Hi.", usage="many")), STREAM, "not reported for whole answers"),
            (
                WHOLE,
                Answer([sse(chunk({"content": "one "}), chunk({"content": "two"}, finish="stop"))]),
                "for streamed answers",
            ),
        ],
    )
    def test_usage_that_is_not_reported(self, whole: Answer, stream: Answer, detail: str, upstream: Upstream) -> None:
        upstream(container(whole, stream))
        steps = called("my-endpoint")
        assert steps["usage"].status == "warning"
        assert detail in steps["usage"].detail
        assert "estimates" in steps["usage"].advice


@each("arguments", [["a/b/c"], ["-endpoint"], [], ["my-endpoint", "--timeout", "0"], ["my-endpoint", "--unknown"]])
def test_wrong_usage(arguments: list[str], runtime: Running) -> None:
    refused = run(*arguments)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "Error: " in refused.stderr
    assert not runtime.app.state.received


@pytest.mark.slow(reason="starts the command in processes of their own, and each imports LiteLLM")
def test_on_a_screen(upstream: Upstream) -> None:
    upstream(lambda seen: WHOLE if seen.path.endswith("/invocations") else answered(403, f"\x1b[31m{BEARER}"))
    with in_terminal(["check", "my-endpoint"], os.environ) as terminal:
        terminal.wait_for("Importing LiteLLM")
        assert terminal.wait_for_the_end() == 1
    shown = terminal.screen.replace(terminal.screen.splitlines()[0], "✓ region")
    assert shown == ON_A_SCREEN.strip()
    assert b"\x1b[31mUser" not in terminal.written


@pytest.mark.slow(reason="starts the command in processes of their own, and each imports LiteLLM")
def test_ctrl_c_is_no_failure(upstream: Upstream) -> None:
    upstream(Answer(end="stall"))
    with in_terminal(["check", "my-endpoint"], os.environ) as terminal:
        terminal.wait_for("Waiting for a chat")
        terminal.type("\x03")
        assert terminal.wait_for_the_end() == 130
        assert not terminal.cursor_is_hidden
    shown = [line for line in terminal.screen.splitlines() if line.strip() != "^C"]
    assert [line[:20].strip() for line in shown] == ["✓ region", "✓ credentials", "", "– endpoint"]  # noqa: RUF001


ON_A_SCREEN = """
✓ region
✓ credentials         AKIAIOSFODNN7EXAMPLE; whose was not asked: the runtime is
                      on this machine
– endpoint            not asked: the runtime is on this machine
✓ token               accepted
✗ CallWithBearerToken SageMaker answered 403: [31mUser: <arn> is not authorized
                      to perform: sagemaker:CallWithBearerToken on resource: *
                      because no identity-based policy allows the
                      sagemaker:CallWithBearerToken action
                      → allow sagemaker:CallWithBearerToken on *
✓ InvokeEndpoint      allowed
– chat                needs: CallWithBearerToken
– stream              needs: CallWithBearerToken
– first token         needs: CallWithBearerToken
– tools               needs: CallWithBearerToken
– usage               needs: CallWithBearerToken
Failed: CallWithBearerToken.
"""  # noqa: RUF001


def sampled(text: str, *logprobs: float) -> Answer:
    content = [{"token": "a", "logprob": each, "top_logprobs": []} for each in logprobs]
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json_answer(completion(choices=[{**choice, "logprobs": {"content": content} if content else None}]))


def adapter_container(
    base: Answer, adapter: Answer, invoked: Answer, again: Answer | None = None
) -> Callable[[Seen], Answer]:
    """Answers the base component, the adapter on ``/openai/v1``, and the adapter on ``/invocations``."""
    bases = iter([base, again or base])

    def answer(seen: Seen) -> Answer:
        if seen.json.get("temperature") != 0:
            return container()(seen)
        if seen.path.endswith("/invocations"):
            assert seen.headers["x-amzn-sagemaker-inference-component"] == "legal"
            return invoked
        return adapter if "/inference-components/legal/" in seen.path else next(bases)

    return answer


OF_BASE, OF_ADAPTER = sampled("I am a model.", -0.5, -1.0), sampled("I am a lawyer.", -0.1, -2.0)
NO = quoted(400, "no")


class TestAdapters:
    """A LoRA adapter's component, and its base, which may be answering for it."""

    @pytest.fixture(autouse=True)
    def legal_on_coder(self, aws_apis: Aws) -> None:
        aws_apis.make_endpoint("my-gpus", "coder")
        aws_apis.make_adapter("legal", "my-gpus", "coder")

    @each(
        ("adapter", "invoked", "status", "said", "advice"),
        [
            (OF_ADAPTER, NO, "ok", "its answer is not that of coder, on which it stands", ""),
            (sampled("I am a model.", -0.5, -1.2), NO, "ok", "its answer is not that of coder", ""),
            (OF_BASE, OF_ADAPTER, "failed", "coder answers for it on /openai/v1", "aws_sagemaker_chat_route"),
            (OF_BASE, OF_BASE, "warning", "on /openai/v1 and on /invocations: the base may be", "is not documented"),
            (sampled("I am a model.", -0.5, -1.01), OF_BASE, "warning", "the base may be", "is not documented"),
            (
                OF_BASE,
                NO,
                "warning",
                "coder, which may be answering for it; on /invocations: the container",
                "is not d",
            ),
            (
                NO,
                OF_ADAPTER,
                "skipped",
                "not compared with coder: the container answered",
                "coder may be answering for it",
            ),
        ],
    )
    def test_who_answers(
        self, adapter: Answer, invoked: Answer, status: str, said: str, advice: str, upstream: Upstream
    ) -> None:
        server = upstream(adapter_container(OF_BASE, adapter, invoked))
        steps = checked("my-gpus/legal")
        assert steps["inference component"].detail == "InService, a LoRA adapter on coder"
        assert list(steps)[-1] == "adapter"
        step = steps["adapter"]
        assert (step.status, said in step.detail) == (status, True), step
        assert advice in step.advice
        asked = [seen.json for seen in server.seen if seen.json.get("temperature") == 0]
        assert {json.dumps(each, sort_keys=True) for each in asked} == {json.dumps(asked[0], sort_keys=True)}
        assert asked[0]["logprobs"] is True

    def test_without_log_probabilities(self, upstream: Upstream) -> None:
        """A container that refuses them is asked without."""
        answers = adapter_container(sampled("a"), sampled("b"), NO)
        server = upstream(lambda seen: NO if "logprobs" in seen.json else answers(seen))
        assert checked("my-gpus/legal")["adapter"].status == "ok"
        assert sum("logprobs" in seen.json for seen in server.seen) == 1

    @each(
        ("base", "again", "said"),
        [
            (OF_BASE, sampled("I was a model."), "answers the same question differently at temperature 0"),
            (sampled(""), sampled(""), "which answered without a word"),
        ],
    )
    def test_what_cannot_be_compared(self, base: Answer, again: Answer, said: str, upstream: Upstream) -> None:
        upstream(adapter_container(base, OF_ADAPTER, OF_ADAPTER, again))
        step = checked("my-gpus/legal")["adapter"]
        assert (step.status, said in step.detail) == ("skipped", True), step

    def test_the_bases_own_noise_is_no_difference(self, upstream: Upstream) -> None:
        base, again = sampled("I am a model.", -0.5), sampled("I am a model.", -0.54)
        upstream(adapter_container(base, sampled("I am a model.", -0.57), OF_BASE, again))
        assert checked("my-gpus/legal")["adapter"].status == "warning"

    @each(
        ("adapter", "invoked", "status", "said"),
        [
            (sampled(""), OF_ADAPTER, "skipped", "not compared with coder: it answered without a word"),
            (json_answer({"detail": "busy"}), OF_ADAPTER, "skipped", "not compared with coder: it answered without"),
            (
                OF_BASE,
                sampled(""),
                "warning",
                "coder, which may be answering for it; on /invocations: an answer without",
            ),
        ],
    )
    def test_no_answer_is_not_another_answer(
        self, adapter: Answer, invoked: Answer, status: str, said: str, upstream: Upstream
    ) -> None:
        upstream(adapter_container(OF_BASE, adapter, invoked))
        step = checked("my-gpus/legal")["adapter"]
        assert (step.status, said in step.detail) == (status, True), step

    @each(("route", "status"), [("/openai/v1", "warning"), ("/invocations", "warning")])
    def test_an_answer_that_differs_once_may_be_the_bases(self, route: str, status: str, upstream: Upstream) -> None:
        """What else is in its batch can change a model's words at temperature 0 as well."""
        often, otherwise = adapter_container(OF_BASE, OF_BASE, OF_BASE), iter([sampled("I am one model.", -0.5, -1.0)])

        def answer(seen: Seen) -> Answer:
            of_adapter = "legal" in seen.path or seen.path.endswith("/invocations")
            if of_adapter and route in seen.path and seen.json.get("temperature") == 0:
                return next(otherwise, OF_BASE)
            return often(seen)

        upstream(answer)
        assert checked("my-gpus/legal")["adapter"].status == status

    def test_what_is_no_log_probability_is_left_out(self, upstream: Upstream) -> None:
        """A number of 400 digits, and what JSON has not."""
        odd = sampled("I am a model.", 10**400, float("nan"))
        upstream(adapter_container(odd, odd, odd))
        assert checked("my-gpus/legal")["adapter"].status == "warning"

    def test_a_base_that_may_not_be_called(self, upstream: Upstream) -> None:
        answers = adapter_container(OF_BASE, OF_ADAPTER, NO)
        refusal = answered(403, denied("InvokeEndpoint"))
        upstream(lambda seen: refusal if "/inference-components/coder/" in seen.path else answers(seen))
        step = checked("my-gpus/legal")["adapter"]
        assert (step.status, "not compared with coder" in step.detail) == ("skipped", True)

    def test_the_adapters_served_name_is_not_said_to_the_base(self, upstream: Upstream) -> None:
        """By that name the container would answer as the adapter."""
        server = upstream(adapter_container(OF_BASE, OF_ADAPTER, NO))
        checked("my-gpus/legal", "--hf-model-name", "legal")
        models = {seen.path.split("/")[4]: seen.json["model"] for seen in server.seen}
        assert models == {"legal": "legal", "coder": ""}

    def test_whether_it_is_an_adapter_may_not_be_seen(self, aws_apis: Aws, upstream: Upstream) -> None:
        aws_apis.sagemaker.refuses("DescribeInferenceComponent")
        upstream(adapter_container(OF_BASE, OF_BASE, OF_BASE))
        step = checked("my-gpus/legal")["adapter"]
        assert step == Step(
            "adapter",
            "skipped",
            "not seen whether this is one: sagemaker:DescribeInferenceComponent is not allowed",
            "to have it checked, allow sagemaker:DescribeInferenceComponent",
        )

    def test_the_base_itself(self, upstream: Upstream) -> None:
        upstream(container())
        assert "adapter" not in checked("my-gpus/coder")
