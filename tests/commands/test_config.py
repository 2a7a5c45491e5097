"""``config``: what it writes, and LiteLLM's proxy started with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner, Result

from examples.demo import RUNTIME, litellm_proxy
from litellm_sagemaker_openai.cli import main
from litellm_sagemaker_openai.local.server import running
from litellm_sagemaker_openai.settings import sort_settings
from tests.aws.test_description import ENVIRONMENT
from tests.aws_apis import Aws
from tests.commands.test_endpoints import ASYNCHRONOUS
from tests.conftest import MESSAGES, REGION
from tests.examples.test_proxy_config import warnings_in

TEI = "763104351884.dkr.ecr.us-west-2.amazonaws.com/tei:2.0.1-tei1.9.3-gpu-py310-cu129-ubuntu24.04"
MODEL_INFO = {
    "mode": "chat",
    "max_input_tokens": 32768,
    "supports_function_calling": True,
    "supports_tool_choice": True,
    "supports_response_schema": True,
    "supports_reasoning": True,
}
REASONING = {"timeout": 65, "stream_timeout": 120, "allowed_openai_params": ["reasoning_effort"]}


@pytest.fixture(autouse=True)
def _no_endpoints(aws_apis: Aws) -> None:
    """AWS is asked also of what is named."""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["config", *arguments])


def written(*arguments: str) -> dict[str, Any]:
    """What is on standard output, as YAML."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    parsed = yaml.safe_load(result.stdout)
    assert isinstance(parsed, dict)
    return parsed


def models(configuration: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["model_name"]: each["litellm_params"] for each in configuration["model_list"]}


def infos(configuration: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["model_name"]: each["model_info"] for each in configuration["model_list"] if "model_info" in each}


def deployment(model: str, **more: Any) -> dict[str, Any]:
    more = more or {"timeout": 65, "stream_timeout": 120}
    return {"model": model, "litellm_credential_name": "sagemaker", **more}


@pytest.fixture
def account(aws_apis: Aws) -> Aws:
    """What the local runtime of the demo serves, and what is not to be served."""
    aws_apis.make_endpoint("my-gpus", "coder", "reviewer", "starting", environment=ENVIRONMENT)
    aws_apis.make_endpoint("my-endpoint")
    aws_apis.make_endpoint("reports", **ASYNCHRONOUS)
    aws_apis.make_endpoint("broken")
    aws_apis.sagemaker.shows(
        "endpoint/broken", {"EndpointStatus": "Failed", "FailureReason": "It is\nmodel_list: broken."}
    )
    aws_apis.sagemaker.shows("inference-component/starting", "Creating")
    return aws_apis


def test_what_is_in_service(account: Aws) -> None:
    result = run()
    configuration = yaml.safe_load(result.stdout)
    assert models(configuration) == {
        "coder": deployment("sagemaker_openai/my-gpus/coder", **REASONING),
        "reviewer": deployment("sagemaker_openai/my-gpus/reviewer", **REASONING),
        "my-endpoint": deployment("sagemaker_openai/my-endpoint"),
        "reports": deployment("sagemaker_openai/reports", aws_sagemaker_async=True),
    }
    assert sort_settings(models(configuration)["reports"], {}).queue is not None
    assert infos(configuration) == {"coder": MODEL_INFO, "reviewer": MODEL_INFO}
    del configuration["model_list"]
    assert configuration == {
        "credential_list": [
            {
                "credential_name": "sagemaker",
                "credential_info": {},
                "credential_values": {"aws_region_name": REGION},
            }
        ],
        "litellm_settings": {
            "custom_provider_map": [
                {"provider": "sagemaker_openai", "custom_handler": "litellm_sagemaker_openai.sagemaker_openai"}
            ]
        },
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY", "trusted_proxy_ranges": []},
    }
    assert (
        "# Left out, by their state when this was written:\n"
        "#   sagemaker_openai/broken: Failed\n"
        "#   sagemaker_openai/my-gpus/starting: Creating\n"
    ) in result.stdout
    assert result.stderr == "broken: Failed: It is model_list: broken.\n"


@pytest.mark.slow(reason="starts LiteLLM's proxy")
def test_the_proxy_serves_all_of_it(account: Aws, tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    assert run("--output", str(file)).exit_code == 0
    with running(RUNTIME) as runtime, litellm_proxy(file, runtime.url, runtime.url) as proxy:
        assert warnings_in(proxy.log) == []
        with httpx.Client(
            base_url=proxy.url, headers={"Authorization": f"Bearer {proxy.master_key}"}, trust_env=False, timeout=60
        ) as caller:
            listed = {model["id"]: model for model in caller.get("/v1/models").json()["data"]}
            assert sorted(listed) == ["coder", "my-endpoint", "reports", "reviewer"]
            assert listed["coder"]["max_input_tokens"] == 32768
            shown = {each["model_name"]: each["model_info"] for each in caller.get("/model/info").json()["data"]}
            assert {name: shown["coder"][name] for name in MODEL_INFO} == MODEL_INFO
            assert not {*MODEL_INFO} & {name for name, value in shown["my-endpoint"].items() if value}
            for name, path in (
                ("my-endpoint", "/endpoints/my-endpoint"),
                ("coder", "/endpoints/my-gpus/inference-components/coder"),
                ("reviewer", "/endpoints/my-gpus/inference-components/reviewer"),
            ):
                answer = caller.post("/v1/chat/completions", json={"model": name, "messages": MESSAGES}).json()
                assert answer["choices"][0]["message"]["content"].endswith("You said: Hello?")
                assert runtime.app.state.received[-1].path == f"{path}/openai/v1/chat/completions"
            asked = {"messages": MESSAGES, "reasoning_effort": "low"}
            assert caller.post("/v1/chat/completions", json={"model": "coder", **asked}).status_code == 200
            assert runtime.app.state.received[-1].body["reasoning_effort"] == "low"
            assert caller.post("/v1/chat/completions", json={"model": "my-endpoint", **asked}).status_code == 400


def test_each_line_of_model_info_says_why(aws_apis: Aws) -> None:
    aws_apis.make_endpoint("my-endpoint", environment=ENVIRONMENT)
    aws_apis.make_endpoint("embedder", image=TEI)
    result = run()
    assert "never-shown" not in result.output
    assert (
        """\
      stream_timeout: 120 # the longest silence of a stream
      allowed_openai_params: ["reasoning_effort"] # SM_VLLM_REASONING_PARSER=qwen3
    model_info:
      mode: chat # SM_VLLM_TOOL_CALL_PARSER=hermes
      max_input_tokens: 32768 # SM_VLLM_MAX_MODEL_LEN=32768
      supports_function_calling: true # SM_VLLM_ENABLE_AUTO_TOOL_CHOICE=true, SM_VLLM_TOOL_CALL_PARSER=hermes
      supports_tool_choice: true # SM_VLLM_ENABLE_AUTO_TOOL_CHOICE=true, SM_VLLM_TOOL_CALL_PARSER=hermes
      supports_response_schema: true # vLLM takes response_format
      supports_reasoning: true # SM_VLLM_REASONING_PARSER=qwen3
"""
        in result.stdout
    )
    assert infos(yaml.safe_load(result.stdout)) == {"my-endpoint": MODEL_INFO, "embedder": {"mode": "embedding"}}
    assert "# For a model that makes embeddings" not in result.stdout  # of each it is known
    assert (
        '\n      aws_sagemaker_embedding_format: "huggingface" # image tei' in result.stdout
    )  # TEI's, and nobody else's
    assert result.stdout.count("aws_sagemaker_embedding_format") == 1
    assert result.stdout.partition("# Region and")[2] == run("e").stdout.partition("# Region and")[2].replace(
        "os.environ/AWS_REGION", REGION
    )


def test_who_deploys_a_model_does_not_write_the_configuration(aws_apis: Aws) -> None:
    evil = "x\nlitellm_settings:\n  drop_params: true\u2028general_settings: {}\x85a: b"
    aws_apis.make_endpoint("my-endpoint", environment={**ENVIRONMENT, "SM_VLLM_REASONING_PARSER": evil})
    configuration = written()
    assert configuration["litellm_settings"] == written("e")["litellm_settings"]
    assert configuration["general_settings"] == written("e")["general_settings"]
    assert infos(configuration) == {"my-endpoint": MODEL_INFO}


def test_without_the_permission_there_is_no_model_info(account: Aws) -> None:
    account.sagemaker.refuses("DescribeInferenceComponent")
    result = run()
    assert infos(yaml.safe_load(result.stdout)) == {}
    assert "not all is known, since the credentials lack sagemaker:DescribeInferenceComponent\n" in result.stderr


# What is named


def test_what_is_named_is_looked_up(account: Aws) -> None:
    result = run("my-endpoint", "sagemaker_openai/my-gpus/coder", "my-endpoint")
    configuration = yaml.safe_load(result.stdout)
    assert models(configuration) == {
        "my-endpoint": deployment("sagemaker_openai/my-endpoint"),
        "coder": deployment("sagemaker_openai/my-gpus/coder", **REASONING),
    }
    assert infos(configuration) == {"coder": MODEL_INFO}
    assert configuration["credential_list"][0]["credential_values"] == {"aws_region_name": "os.environ/AWS_REGION"}
    assert "export AWS_REGION=" in result.stdout
    assert "Left out" not in result.stdout
    assert result.stderr == ""
    assert not [operation for operation, _ in account.sagemaker.calls if operation.startswith("List")]


_NO_KEYS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": ""}


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"AWS_REGION": ""}, "no AWS region: give --region, or set AWS_REGION or the profile's region"),
        (_NO_KEYS, "no AWS credentials found: set AWS_ACCESS_KEY_ID"),
        ({"AWS_ENDPOINT_URL_SAGEMAKER": "http://127.0.0.1:9"}, "Could not connect to the endpoint URL"),
        ({"AWS_PROFILE": "nobody"}, "The config profile (nobody) could not be found"),
    ],
)
def test_names_need_no_aws(
    account: Aws, environment: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.sagemaker.calls.clear()
    for name, value in environment.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    result = run("my-gpus/coder", "my-endpoint")
    configuration = yaml.safe_load(result.stdout)
    assert (result.exit_code, infos(configuration), list(models(configuration))) == (0, {}, ["coder", "my-endpoint"])
    assert result.stderr.startswith(f"no model_info, since AWS was not asked or did not answer: {said}")
    assert result.stderr.count("\n") == 1
    assert account.sagemaker.calls == {}


def test_aws_is_not_asked_of_the_local_runtime(account: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", "http://127.0.0.1:8080")
    monkeypatch.delenv("AWS_ENDPOINT_URL_SAGEMAKER")
    result = run("my-endpoint")
    assert list(models(yaml.safe_load(result.stdout))) == ["my-endpoint"]
    assert result.stderr == "no model_info, since the runtime is on this machine, and AWS does not know it\n"


def test_names_of_what_is_not_there(account: Aws) -> None:
    account.sagemaker.refuses("DescribeModel")
    result = run("nowhere", "my-gpus", "my-gpus/coder", "my-endpoint")
    assert list(infos(yaml.safe_load(result.stdout))) == ["coder"]
    nowhere, hosting, missing = result.stderr.splitlines()
    assert nowhere.startswith("nowhere: DescribeEndpoint: ValidationException: Could not find endpoint")
    assert hosting == "my-gpus: my-gpus hosts inference components: name one, as in my-gpus/my-component"
    assert missing == "not all is known, since the credentials lack sagemaker:DescribeModel"
    account.sagemaker.refuses("*", code="ExpiredTokenException")
    result = run("my-gpus/coder", "my-endpoint")
    assert list(models(yaml.safe_load(result.stdout))) == ["coder", "my-endpoint"]
    assert result.stderr.startswith(
        "no model_info, since AWS was not asked or did not answer: DescribeEndpoint: Expired"
    )
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        (["--region", "eu-west-1", "e"], {"aws_region_name": "eu-west-1"}),
        (["arn:aws:sagemaker:eu-west-2:123456789012:endpoint/e", "e"], {"aws_region_name": "eu-west-2"}),
        (
            ["--profile", 'my "own": ü', "e"],
            {"aws_region_name": "os.environ/AWS_REGION", "aws_profile_name": 'my "own": ü'},
        ),
    ],
)
def test_region_and_profile(arguments: list[str], values: dict[str, str]) -> None:
    configuration = written(*arguments)
    assert configuration["credential_list"][0]["credential_values"] == values
    assert [(each["model_name"], each["litellm_params"]["model"]) for each in configuration["model_list"]] == [
        ("e", "sagemaker_openai/e")
    ]


def test_the_profile_that_was_looked_up_with(aws_apis: Aws) -> None:
    Path(os.environ["AWS_CONFIG_FILE"]).write_text("[profile research]\nregion = eu-central-1\n")
    Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).write_text(
        "[research]\naws_access_key_id = AKIARESEARCH\naws_secret_access_key = never-written\n"
    )
    aws_apis.make_endpoint("my-endpoint", region="eu-central-1")
    result = run("--profile", "research", "--region", "eu-central-1")
    values = yaml.safe_load(result.stdout)["credential_list"][0]["credential_values"]
    assert values == {"aws_region_name": "eu-central-1", "aws_profile_name": "research"}
    assert "never-written" not in result.stdout


@pytest.mark.parametrize("name", ["123", "1e5", "0x10", "true", "null", "on", "no", "y", "2026-01-01"])
def test_names_that_yaml_would_read_as_something_else(name: str) -> None:
    configuration = written(name, f"my-gpus/{name}x")
    assert list(models(configuration)) == [name, f"{name}x"]
    assert models(configuration)[name]["model"] == f"sagemaker_openai/{name}"


def test_each_model_has_a_name_of_its_own() -> None:
    assert {
        name: each["model"] for name, each in models(written("a/coder", "b/coder", "b/writer", "coder")).items()
    } == {
        "a/coder": "sagemaker_openai/a/coder",
        "b/coder": "sagemaker_openai/b/coder",
        "writer": "sagemaker_openai/b/writer",
        "coder": "sagemaker_openai/coder",
    }


# The file


def test_a_file_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    result = run("e", "--output", str(file))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines()[-1].startswith(f"wrote {file}")
    before = file.read_text()
    assert before == run("e").stdout

    result = run("other", "--output", str(file))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {file} is there already; --force overwrites it\n"
    assert file.read_text() == before

    assert run("other", "--output", str(file), "--force").exit_code == 0
    assert file.read_text() == run("other").stdout


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    result = run("e", "-o", str(tmp_path / "nowhere" / "proxy.yaml"))
    assert result.exit_code == 1
    assert result.stderr.endswith("proxy.yaml: No such file or directory\n")
    for file, why in ((tmp_path, "Is a directory"), (tmp_path / "file" / "proxy.yaml", "No such file or directory")):
        (tmp_path / "file").touch()
        result = run("e", "-o", str(file), "--force")
        assert (result.exit_code, result.stderr) == (1, f"Error: cannot write {file}: {why}\n")


def test_nothing_is_written_where_there_is_nothing(aws_apis: Aws, tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    for stage in range(2):
        result = run("--output", str(file))
        assert (result.exit_code, result.stdout, file.exists()) == (1, "", False)
        assert result.stderr.endswith(f"Error: nothing to configure: nothing in {REGION} is known to be in service\n")
        if stage == 0:
            aws_apis.make_endpoint("broken")
            aws_apis.sagemaker.shows("endpoint/broken", "Failed")


def test_what_may_not_be_asked_is_not_guessed(aws_apis: Aws) -> None:
    aws_apis.make_endpoint("my-endpoint")
    aws_apis.make_endpoint("my-gpus", "coder")
    aws_apis.sagemaker.refuses("DescribeEndpoint")
    result = run()
    assert list(models(yaml.safe_load(result.stdout))) == ["coder"]
    assert "#   sagemaker_openai/my-endpoint: whether it hosts inference components is not known\n" in result.stdout
    assert result.stderr == "not all is known, since the credentials lack sagemaker:DescribeEndpoint\n"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["a b"], 2, "'a b' is not the name of an endpoint"),
        (["a/b/c"], 2, "has 3 parts"),
        (["e", "--force"], 2, "--force goes with --output"),
        (["e", "--region", "narnia"], 1, "'narnia' is not an AWS region"),
        (
            ["arn:aws:sagemaker:eu-west-2:123456789012:endpoint/e", "--region", "eu-west-1"],
            1,
            "--region or another ARN says region 'eu-west-1' and the ARN of e says 'eu-west-2'; they must agree",
        ),
        (["--profile", "nobody"], 1, "The config profile (nobody) could not be found"),
    ],
)
def test_bad_input(arguments: list[str], status: int, said: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    assert said in result.stderr
    assert "Traceback" not in result.output
