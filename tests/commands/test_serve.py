"""``serve``: LiteLLM's real proxy, what is printed for each client, and what is refused before it starts."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner, Result

from litellm_sagemaker_openai.capabilities import Fact
from litellm_sagemaker_openai.cli import main
from litellm_sagemaker_openai.commands.client_recipes import KEY, chat_recipes, embedding_recipes
from litellm_sagemaker_openai.commands.config import Served
from litellm_sagemaker_openai.commands.serve import announcement, recipes
from litellm_sagemaker_openai.commands.serving import Model, Serving
from litellm_sagemaker_openai.target import Target
from tests.aws.test_description import ENVIRONMENT
from tests.aws_apis import Aws
from tests.commands.test_config import TEI
from tests.commands.test_endpoints import ASYNCHRONOUS
from tests.conftest import CREDENTIALS, REGION
from tests.docs.blocks import SERVING
from tests.operating.conftest import fine
from tests.scripted import Answer, Scripted, Seen, chunk, json_answer, scripted, sse

ROOT = Path(__file__).parents[2]
STALL = [{"role": "user", "content": "stall"}]
QUESTION = [{"role": "user", "content": "Hello?"}]
EMBEDDINGS = {
    "object": "list",
    "model": "served",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25, 0.0]}],
    "usage": {"prompt_tokens": 2, "total_tokens": 2},
}
# As the command's own script, which imports nothing from where it runs.
PROGRAM = "import sys; del sys.path[0]; from litellm_sagemaker_openai.cli import main; main()"
URL_AND_KEY = re.compile(r"^  Anthropic's base URL +(http://127\.0\.0\.1:\d+)\n  API key +(sk-\w{64})$", re.MULTILINE)
slow = pytest.mark.slow(reason="starts LiteLLM's proxy")
MOST_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


@dataclass(frozen=True)
class Serve:
    """A ``serve`` that is ready.

    Attributes:
        said: all that it printed.
        blocks: client → what is to be pasted for it.
    """

    process: subprocess.Popen[str]
    folder: Path
    sagemaker: Scripted
    said: str
    url: str
    key: str = field(repr=False)

    @property
    def blocks(self) -> dict[str, str]:
        return dict(re.findall(r"^# (.+)\n((?:.+\n)+)", self.said, re.MULTILINE))

    def post(self, path: str, headers: Mapping[str, str] | None = None, **body: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}"} if headers is None else headers
        return httpx.post(self.url + path, headers=headers, json=body, timeout=60, trust_env=False)


def container(seen: Seen) -> Answer:
    if seen.path.endswith("/invocations"):
        return json_answer(EMBEDDINGS)
    if seen.json["messages"] == STALL:
        return Answer([sse(chunk({"role": "assistant", "content": "begun"}), done=False)], end="stall")
    return fine(seen)


@pytest.fixture(scope="module")
def serving(_moto: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """All that is in service: a model that reasons, one of which nothing is known, and one that makes embeddings."""
    _moto.forget()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS.access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS.secret_key)
        patch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", _moto.url)
        _moto.make_endpoint("my-gpus", "coder", environment=ENVIRONMENT)
        _moto.make_endpoint("my-endpoint")
        _moto.make_endpoint("my-vectors", image=TEI)
    # Whatever an agent is started in: a clone of anybody's repository. LiteLLM imports from two folders up.
    folder = tmp_path_factory.mktemp("serve")
    where, temporary = folder / "clone" / "of" / "it", folder / "temporary"
    where.mkdir(parents=True)
    temporary.mkdir()
    for name in ("yaml", "prisma", "litellm_enterprise", "sitecustomize"):
        for place in (where, folder / "clone"):
            (place / f"{name}.py").write_text(f"open({str(folder / 'imported')!r}, 'a').close()")
    (where / ".env").write_text("LITELLM_LOG=DEBUG\n")
    with scripted(container) as sagemaker, (folder / "err").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "serve", "--port", "0"],
            cwd=where,
            env={**environment(_moto.url, sagemaker.url), "TMPDIR": str(temporary)},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=lambda: resource.setrlimit(
                resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
            ),
        )
        with process:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if line.startswith("Ready"):
                    break
            said = "".join(lines)
            assert lines, (folder / "err").read_text()
            found = re.search(
                r"^  Anthropic's base URL +(http://127\.0\.0\.1:\d+)\n  API key +(sk-\w{64})$", said, re.M
            )
            assert found, said
            yield Serve(process, folder, sagemaker, said, found[1], found[2])
            process.kill()


def environment(aws: str, sagemaker: str) -> dict[str, str]:
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ},
        "PYTHONPATH": str(ROOT),
        "AWS_ACCESS_KEY_ID": CREDENTIALS.access_key,
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret_key,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL_SAGEMAKER": aws,
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": sagemaker,
        # Another proxy's, which this one is not.
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/nothing",
        "CONFIG_FILE_PATH": "/nowhere.yaml",
        "LITELLM_CONFIG_BUCKET_NAME": "nobody's",
        "STORE_MODEL_IN_DB": "True",
        "SERVER_ROOT_PATH": "/elsewhere",
    }


@slow
def test_what_it_says(serving: Serve) -> None:
    assert serving.said.startswith("Serves my-endpoint, coder, my-vectors\n")
    assert list(serving.blocks) == [
        *("curl", "OpenAI SDK", "Anthropic SDK", "LangChain", "Claude Code", "Codex", "OpenCode", "Continue"),
        *("curl, embeddings", "OpenAI SDK, embeddings"),
    ]
    assert (serving.folder / "err").read_text() == "Starting LiteLLM's proxy, which takes some seconds\n"
    assert not (serving.folder / "imported").exists()


@slow
@pytest.mark.parametrize(
    ("client", "printed"),
    [
        ("curl", "SageMaker's."),
        ("OpenAI SDK", "SageMaker's.\n"),
        ("Anthropic SDK", "SageMaker's.\n"),
        ("LangChain", "SageMaker's.\n"),
        ("curl, embeddings", "[0.5,0.25,0.0]"),
        ("OpenAI SDK, embeddings", "3\n"),
    ],
)
def test_what_is_pasted_works(client: str, printed: str, serving: Serve) -> None:
    text = serving.blocks[client]
    command = (
        ["bash", "-c", f"{text.rstrip()} --silent --show-error"] if "curl" in client else [sys.executable, "-c", text]
    )
    variables = {KEY: serving.key, "NO_PROXY": "127.0.0.1", "PATH": os.environ["PATH"]}
    ran = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)
    assert printed in ran.stdout, ran.stderr


@slow
@pytest.mark.parametrize(("model", "reasons"), [("my-endpoint", False), ("coder", True)])
def test_agents_ask_each_model_for_reasoning(model: str, reasons: bool, serving: Serve) -> None:
    """LiteLLM refuses it for a model that is not known to reason, with 400, unless it may leave it out."""
    asked = [
        serving.post("/v1/chat/completions", model=model, messages=QUESTION, reasoning_effort="low"),
        serving.post("/v1/responses", model=model, input="Hello?", reasoning={"effort": "low", "summary": "auto"}),
        serving.post(
            "/v1/messages",
            model=model,
            max_tokens=2000,
            messages=QUESTION,
            thinking={"type": "enabled", "budget_tokens": 1024},
        ),
    ]
    assert [(each.status_code, "SageMaker's." in each.text) for each in asked] == [(200, True)] * 3
    sent = [each.json for each in serving.sagemaker.seen[-3:]]
    assert [each.get("reasoning_effort") for each in sent] == (["low"] * 3 if reasons else [None] * 3)
    assert all("thinking" not in each and "reasoning" not in each for each in sent)


@slow
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer sk-wrong"}, {"x-api-key": "sk-wrong"}])
def test_who_has_no_key_gets_nothing(headers: dict[str, str], serving: Serve) -> None:
    before = len(serving.sagemaker.seen)
    for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings"):
        answer = serving.post(path, headers, model="my-endpoint", messages=QUESTION)
        assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")
    assert httpx.get(f"{serving.url}/v1/models", headers=headers, trust_env=False).status_code == 401
    health = httpx.get(f"{serving.url}/health/readiness", headers=headers, trust_env=False)
    assert "my-" not in health.text
    assert len(serving.sagemaker.seen) == before


@slow
@pytest.mark.parametrize(
    "request_line",
    [
        "POST /config/update",
        "POST /model/new",
        "POST /key/generate",
        "POST /bedrock/model/amazon.nova/converse",
        "POST /mcp-rest/test/connection",
        "GET /config/yaml",
        "GET /ui/",
        "GET /",
        "GET /health",
    ],
)
def test_a_client_with_the_key_is_no_administrator(request_line: str, serving: Serve) -> None:
    method, path = request_line.split()
    headers = {"Authorization": f"Bearer {serving.key}"}
    answer = httpx.request(method, serving.url + path, headers=headers, json={}, trust_env=False)
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")


@slow
def test_a_page_in_a_browser_may_ask_nothing(serving: Serve) -> None:
    """It asks first whether it may, since a request with JSON and a key is not a simple one (CORS)."""
    headers = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
    answer = httpx.options(f"{serving.url}/v1/chat/completions", headers=headers, trust_env=False)
    assert answer.status_code == 404
    assert "access-control-allow-origin" not in answer.headers


@slow
def test_failures_are_the_clients_at_once(serving: Serve) -> None:
    """No retries, and no cool-down: the next call is asked again."""
    serving.sagemaker.script = lambda seen: json_answer({"error": {"message": "broken"}}, 500)
    before = len(serving.sagemaker.seen)
    try:
        answers = [serving.post("/v1/chat/completions", model="my-endpoint", messages=QUESTION) for _ in range(5)]
    finally:
        serving.sagemaker.script = container
    assert [each.status_code for each in answers] == [500] * 5
    assert len(serving.sagemaker.seen) == before + 5


@slow
def test_as_many_streams_as_the_system_allows_files(serving: Serve) -> None:
    """It is started by a shell that allows 256."""
    if sys.platform == "linux":  # elsewhere no process can ask for another's
        [proxy] = Path(f"/proc/{serving.process.pid}/task/{serving.process.pid}/children").read_text().split()
        allowed, most = resource.prlimit(int(proxy), resource.RLIMIT_NOFILE)
        assert allowed == most == MOST_FILES > 256


def test_ctrl_c_ends_it_at_once(serving: Serve) -> None:
    """The last test, as it ends what the others use. A stream is in flight, and nothing is left."""
    headers = {"Authorization": f"Bearer {serving.key}"}
    asked = {"model": "my-endpoint", "messages": STALL, "stream": True}
    with (
        httpx.Client(trust_env=False, timeout=60) as client,
        client.stream("POST", f"{serving.url}/v1/chat/completions", headers=headers, json=asked) as response,
    ):
        body = response.iter_lines()
        assert "begun" in next(body)
        serving.process.send_signal(signal.SIGINT)
        with pytest.raises(httpx.RemoteProtocolError):
            list(body)
    assert serving.process.wait(60) == 130
    assert list((serving.folder / "temporary").iterdir()) == []


def test_the_page_shows_what_it_says() -> None:
    [block] = SERVING
    targets = {"my-endpoint": Target("my-endpoint"), "coder": Target("my-gpus", "coder")}
    assert block.text.split()[2:] == [str(target) for target in targets.values()]
    models = {name: Model(target, Served()) for name, target in targets.items()}
    said = "\n".join(announcement("http://127.0.0.1:4000", Serving(models, ""), "sk-1", {})).replace("sk-1", "sk-…")
    assert block.output
    assert said.startswith(block.output)
    assert all(f"\n# {client}\n" in said for client in chat_recipes("", "", None))


# What is pasted for agents: tests/commands/test_serve.py runs no agent.


def test_what_agents_read() -> None:
    blocks = chat_recipes("http://127.0.0.1:4000", "my-gpus/coder", "sk-key")
    assert all("sk-key" not in text for name, text in blocks.items() if name != "Continue")

    claude = shlex.split(blocks["Claude Code"].replace("\\\n", ""))
    assert claude == [
        "ANTHROPIC_BASE_URL=http://127.0.0.1:4000",
        f"ANTHROPIC_AUTH_TOKEN=${KEY}",
        "ANTHROPIC_MODEL=my-gpus/coder",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL=my-gpus/coder",
        "ANTHROPIC_DEFAULT_SONNET_MODEL=my-gpus/coder",
        "ANTHROPIC_DEFAULT_OPUS_MODEL=my-gpus/coder",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1",
        "claude",
        "--disallowedTools=WebSearch",  # with a blank in place of the =, a prompt behind it would be another tool
    ]

    variable, *opencode = shlex.split(blocks["OpenCode"])
    assert opencode == ["opencode", "-m", "sagemaker/my-gpus/coder"]
    provider = json.loads(variable.removeprefix("OPENCODE_CONFIG_CONTENT="))["provider"]["sagemaker"]
    assert provider["options"] == {"baseURL": "http://127.0.0.1:4000/v1", "apiKey": f"{{env:{KEY}}}"}
    assert list(provider["models"]) == ["my-gpus/coder"]

    [model] = yaml.safe_load(blocks["Continue"])["models"]
    assert (model["model"], model["apiBase"], model["apiKey"]) == (
        "my-gpus/coder",
        "http://127.0.0.1:4000/v1",
        "sk-key",
    )
    assert f"<{KEY}>" in chat_recipes("http://127.0.0.1:4000", "m", None)["Continue"]

    codex = shlex.split(blocks["Codex"])
    assert codex[:5] == ["codex", "-c", "model_provider=sagemaker", "-c", "model=my-gpus/coder"]
    name, _, table = codex[-1].partition("=")
    assert name == "model_providers.sagemaker"
    # TOML's inline table, as Python 3.10 has no parser for it.
    assert dict(re.findall(r'(\w+)="([^"]*)"', table)) == {
        "name": "SageMaker",
        "base_url": "http://127.0.0.1:4000/v1",
        "env_key": KEY,
        "wire_api": "responses",
    }


def test_a_model_of_each_kind_is_shown() -> None:
    vectors = Model(Target("v"), Served(facts={"mode": Fact("embedding", "its image")}))
    only_vectors = Serving({"v": vectors, "w": vectors}, "")
    url = "http://127.0.0.1:4000"
    assert recipes(url, only_vectors, None) == embedding_recipes(url, "v")
    both = Serving({"v": vectors, "c": Model(Target("c"), Served()), "d": Model(Target("d"), Served())}, "")
    assert recipes(url, both, None) == {**chat_recipes(url, "c", None), **embedding_recipes(url, "v")}
    assert both.chat_models == ["c", "d"]


# What is refused, before anything starts


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["serve", *arguments])


def test_the_configuration(aws_apis: Aws) -> None:
    aws_apis.make_endpoint("my-gpus", "coder", environment=ENVIRONMENT)
    aws_apis.make_endpoint("reports", **ASYNCHRONOUS)
    result = run("--config", "-", "--wait", "20")
    written = yaml.safe_load(result.stdout)
    models = {each["model_name"]: each["litellm_params"] for each in written["model_list"]}
    assert models["coder"]["aws_sagemaker_cold_start_timeout"] == 1200
    assert models["coder"]["allowed_openai_params"] == ["reasoning_effort"]
    assert "aws_sagemaker_cold_start_timeout" not in models["reports"]  # SageMaker's queue waits
    assert written["litellm_settings"]["drop_params"] is True
    assert written["router_settings"] == {"num_retries": 0, "disable_cooldowns": True}
    assert written["general_settings"]["master_key"] == f"os.environ/{KEY}"
    named = yaml.safe_load(run("my-gpus/coder", "--config", "-", "--wait", "20").stdout)
    assert named["model_list"] == [each for each in written["model_list"] if each["model_name"] == "coder"]


def test_a_container_that_insists_on_its_name(aws_apis: Aws) -> None:
    aws_apis.make_endpoint("my-endpoint")
    written = yaml.safe_load(run("my-endpoint", "--hf-model-name", "org/model: 1", "--config", "-").stdout)
    assert written["model_list"][0]["litellm_params"]["hf_model_name"] == "org/model: 1"
    for targets in ([], ["my-endpoint", "my-gpus/coder"]):
        result = run(*targets, "--hf-model-name", "x")
        assert result.exit_code == 2
        assert "--hf-model-name goes with one endpoint" in result.stderr


def test_the_configuration_in_a_file(aws_apis: Aws, tmp_path: Path) -> None:
    aws_apis.make_endpoint("my-endpoint")
    file = tmp_path / "proxy.yaml"
    assert run("--config", str(file)).stderr == f"wrote {file}; its first lines say how to start the proxy\n"
    again = run("--config", str(file))
    assert (again.exit_code, again.stderr) == (1, f"Error: cannot write {file}: File exists\n")


def test_what_cannot_be_called(aws_apis: Aws) -> None:
    aws_apis.make_endpoint("my-gpus", "coder")
    aws_apis.make_endpoint("starting")
    aws_apis.sagemaker.shows("endpoint/starting", "Creating")
    compare = f"→ compare with: litellm-sagemaker-openai endpoints --region {REGION}\n"
    for target, said in {
        "nowhere": f"Error: nowhere: there is no nowhere in {REGION}\n{compare}",
        "my-gpus/nobody": f"Error: my-gpus/nobody: there is no nobody on my-gpus; there is coder\n{compare}",
        "my-gpus": "Error: my-gpus: hosts inference components, and only they are called\n→ name one: my-gpus/coder\n",
        "starting": "Error: starting: Creating, 1 of 1 instances\n→ wait until it is InService\n",
    }.items():
        result = run("my-gpus/coder", target)
        assert (result.exit_code, result.stdout, result.stderr) == (1, "", said)


def test_what_aws_does_not_tell_is_served(aws_apis: Aws) -> None:
    """The endpoint itself needs other permissions."""
    aws_apis.make_endpoint("my-endpoint")
    aws_apis.sagemaker.refuses("*")
    result = run("my-endpoint", "--config", "-")
    assert [each["model_name"] for each in yaml.safe_load(result.stdout)["model_list"]] == ["my-endpoint"]
    assert "sagemaker:DescribeEndpoint" in result.stderr
    all_of_it = run()
    assert all_of_it.exit_code == 1
    assert all_of_it.stderr.startswith("Error: ListEndpoints: AccessDeniedException: User: arn:aws:sts::")


def test_nothing_is_in_service(aws_apis: Aws) -> None:
    result = run()
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith(f"Error: nothing to configure: nothing in {REGION} is known to be in service\n")


def test_the_local_runtime_has_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", "http://127.0.0.1:8080")
    result = run()
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: name the endpoints: the runtime is on this machine")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "my-machine", "::"])
def test_others_need_a_key_that_was_chosen_for_them(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)
    result = run("--host", host, "my-endpoint")
    assert result.exit_code == 2
    assert f"--host {host} is for others, too: set {KEY} to a key that you choose for them" in result.stderr


def test_clients_go_round_a_companys_web_proxy() -> None:
    environ = {"https_proxy": "http://proxy.corp:3128", "NO_PROXY": ".corp"}
    models = {"my-endpoint": Model(Target("my-endpoint"), Served())}
    for shown in ("sk-…", None):
        said = announcement("http://127.0.0.1:4000", Serving(models, ""), shown, environ)
        assert {"export NO_PROXY=.corp,127.0.0.1", "export no_proxy=.corp,127.0.0.1"} <= set(said)
    assert not [line for line in announcement("http://[::1]:4000", Serving(models, ""), "k", {}) if "PROXY=" in line]
