"""The whole way on one machine: OpenAI's and Anthropic's SDK → LiteLLM proxy → SageMaker, with no AWS account.

`make demo` runs it. It starts a local SageMaker runtime, a stand-in for Amazon Bedrock and the real LiteLLM proxy with
proxy_config.yaml, talks to the proxy, and stops all three. Its exit status is 0 only if everything worked.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anthropic
import httpx
import openai
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from examples.bedrock import PREFIX, bedrock_stand_in
from litellm_sagemaker_openai.aws.sigv4 import FrozenCredentials
from litellm_sagemaker_openai.local.runtime import Received, RuntimeConfig
from litellm_sagemaker_openai.local.server import running

CONFIG = Path(__file__).resolve().parents[1] / "proxy_config.yaml"
REGION = "us-west-2"
# Made up anew each time: the runtime accepts tokens that are signed with these, and no others.
RUNTIME = RuntimeConfig(
    endpoints={"my-endpoint": (), "my-gpus": ("coder", "reviewer")},
    credentials=FrozenCredentials("DEMO", secrets.token_urlsafe(), secrets.token_urlsafe()),
    region=REGION,
)
MODELS = {
    "SAGEMAKER_CHAT_MODEL": "sagemaker_openai/my-endpoint",
    "SAGEMAKER_CODER_MODEL": "sagemaker_openai/my-gpus/coder",
    "SAGEMAKER_REVIEWER_MODEL": "sagemaker_openai/my-gpus/reviewer",
}
CHAT_PATH = "/endpoints/my-endpoint/openai/v1/chat/completions"
CODER_PATH = "/endpoints/my-gpus/inference-components/coder/openai/v1/chat/completions"
REVIEWER_PATH = "/endpoints/my-gpus/inference-components/reviewer/openai/v1/chat/completions"

# What the proxy inherits. Not the rest: a DATABASE_URL or a REDIS_HOST of yours would make it another proxy.
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")
_START_SECONDS = 60
_STOP_SECONDS = 10


class DemoError(Exception):
    """Something did not work."""


def check(holds: bool, expected: str) -> None:
    if not holds:
        raise DemoError(f"expected {expected}")


# What is started


@dataclass(frozen=True)
class Proxy:
    """A LiteLLM proxy that answers at ``url``, and what it has written so far."""

    url: str
    master_key: str = field(repr=False)
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")


@contextmanager
def litellm_proxy(config: Path, runtime_url: str, bedrock_url: str) -> Iterator[Proxy]:
    """The real proxy, a process of its own on a free port, as long as the context lasts.

    Raises:
        DemoError: it is not installed, or did not start; the message has the end of its log.
    """
    command = shutil.which("litellm", path=sysconfig.get_path("scripts"))
    if command is None:
        raise DemoError("LiteLLM's proxy is missing; install it with: pip install 'litellm-sagemaker-openai[proxy]'")
    master_key = f"sk-{secrets.token_hex(32)}"
    with tempfile.TemporaryDirectory() as folder:
        log_file = Path(folder, "proxy.log")
        with log_file.open("wb") as log:
            process = subprocess.Popen(
                [command, "--config", str(config), "--host", "127.0.0.1", "--port", "0"],
                env=_environment(master_key, runtime_url, bedrock_url),
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield Proxy(_wait_until_ready(process, log_file), master_key, log_file)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _environment(master_key: str, runtime_url: str, bedrock_url: str) -> dict[str, str]:
    credentials = RUNTIME.credentials
    return {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        **MODELS,
        "LITELLM_MASTER_KEY": master_key,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        "AWS_SESSION_TOKEN": credentials.session_token or "",
        # Only for a demo: where AWS is, and that there is no internet and no configuration to look at.
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": runtime_url,
        "AWS_BEDROCK_RUNTIME_ENDPOINT": bedrock_url,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",  # reads no .env file
        "PYTHONUNBUFFERED": "1",  # keeps the log's lines in order
    }


def _wait_until_ready(process: subprocess.Popen[bytes], log_file: Path) -> str:
    """The proxy's URL, once it answers. With port 0 the system chooses a port, and the log says which."""
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        found = re.search(r"Uvicorn running on (http://[\d.:]+)", log_file.read_text(errors="replace"))
        if found:
            httpx.get(f"{found.group(1)}/health/readiness", trust_env=False).raise_for_status()
            return found.group(1)
        time.sleep(0.05)
    status = f"ended with status {process.returncode}" if process.poll() is not None else "did not become ready"
    raise DemoError(f"the proxy {status}. {tail(log_file.read_text(errors='replace'))}")


def tail(log: str) -> str:
    return "The end of its log:\n" + "\n".join(f"    {line}" for line in log.splitlines()[-30:])


# What is shown


class Talk:
    """Clients of the proxy that print what they send, where at SageMaker that arrives, and who answers."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.received: deque[Received] = deque()
        self.headers: Mapping[str, str] = {}
        self.http_options: Any = {
            "mounts": {"all://127.0.0.1": None},  # an HTTP proxy for the internet is no way to this machine
            "event_hooks": {"request": [self._sends], "response": [self._gets]},
        }
        self.client = openai.OpenAI(
            base_url=f"{proxy.url}/v1",
            api_key=proxy.master_key,
            max_retries=0,
            http_client=openai.DefaultHttpxClient(**self.http_options),
        )

    def _sends(self, request: Any) -> None:
        self.received.clear()
        show("send", f"POST {request.url.path}")
        show("", json.dumps(json.loads(request.content), ensure_ascii=False), most_lines=3)

    def _gets(self, response: Any) -> None:
        self.headers = response.headers
        for path in self.paths:
            show("SageMaker", f"POST {path}")
        if response.is_success:
            show("from", "{} (model group {}, fallbacks: {})".format(*self.served_by))

    @property
    def paths(self) -> list[str]:
        """The paths on which SageMaker was asked."""
        return [request.path for request in self.received]

    @property
    def served_by(self) -> tuple[str, str, str]:
        """Who answered: the deployment's model, its model group, and the number of fallbacks before it."""
        names = ("x-litellm-model-name", "x-litellm-model-group", "x-litellm-attempted-fallbacks")
        model, group, fallbacks = (self.headers.get(name, "") for name in names)
        return model, group, fallbacks


def show(label: str, text: str, most_lines: int | None = None) -> None:
    """A labelled paragraph."""
    first, *others = textwrap.wrap(
        text, 98, break_long_words=False, break_on_hyphens=False, max_lines=most_lines, placeholder=" …"
    ) or [""]
    print(f"  {label:<10}{first}", *others, sep=f"\n{'':<12}")


def chat(talk: Talk) -> None:
    answer = talk.client.chat.completions.create(
        model="chat", messages=[{"role": "user", "content": "Is anybody there?"}], max_tokens=100
    )
    show("get", answer.choices[0].message.content or "")
    show("", f"{answer.usage and answer.usage.total_tokens} tokens")
    check(said(answer.choices[0].message.content, "Is anybody there?"), "the echo of the question")
    check(answer.usage is not None and answer.usage.total_tokens > 0, "SageMaker's count of tokens")
    check(talk.served_by == (MODELS["SAGEMAKER_CHAT_MODEL"], "chat", "0"), "SageMaker's answer")


def streamed_chat(talk: Talk) -> None:
    check(said(read_stream(talk, "chat", "Tell me piece by piece."), "piece by piece"), "the echo of the question")


def read_stream(talk: Talk, model: str, question: str) -> str:
    """The text of a streamed answer; that it was one is checked."""
    chunks = talk.client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": question}],
        stream=True,
        stream_options={"include_usage": True},
    )
    pieces, finish_reasons, usage = [], [], None
    for chunk in chunks:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            pieces += [choice.delta.content] if choice.delta.content else []
            finish_reasons += [choice.finish_reason] if choice.finish_reason else []
    show("get", " | ".join(pieces))
    show("", f"{len(pieces)} pieces, {usage and usage.total_tokens} tokens, finish_reason {finish_reasons}")
    check(len(pieces) > 1, "an answer in pieces")
    check(finish_reasons == ["stop"], "one finish_reason, stop")
    check(usage is not None and usage.total_tokens > 0, "the usage that was asked for")
    return "".join(pieces)


WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Seattle", "Dublin"]}},
            "required": ["city"],
        },
    },
}


def tool_call(talk: Talk) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the weather in Dublin?"}]
    asked = talk.client.chat.completions.create(model="chat", messages=messages, tools=[WEATHER]).choices[0]
    calls = [call for call in asked.message.tool_calls or [] if call.type == "function"]
    check(asked.finish_reason == "tool_calls" and len(calls) == 1, "one tool call")
    call = calls[0]
    show("get", f"call of {call.function.name} with {call.function.arguments}")
    check(call.function.name == "get_weather", "a call of get_weather")
    check(json.loads(call.function.arguments)["city"] in ("Seattle", "Dublin"), "one of the cities in the schema")
    messages += [
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.function.name, "arguments": call.function.arguments},
                }
            ],
        },
        {"role": "tool", "tool_call_id": call.id, "content": "12 degrees, rain"},
    ]
    answer = talk.client.chat.completions.create(model="chat", messages=messages, tools=[WEATHER]).choices[0]
    show("get", answer.message.content or "")
    check("12 degrees, rain" in (answer.message.content or ""), "an answer made of the tool's result")


def two_components(talk: Talk) -> None:
    coder = talk.client.chat.completions.create(
        model="coder", messages=[{"role": "user", "content": "Write a function."}]
    )
    show("get", coder.choices[0].message.content or "")
    check(talk.paths == [CODER_PATH], f"one request to {CODER_PATH}")
    check(said(coder.choices[0].message.content, "Write a function."), "the echo of the question")
    reviewer = talk.client.chat.completions.create(
        model="reviewer", messages=[{"role": "user", "content": "Review it."}], reasoning_effort="low"
    )
    message = reviewer.choices[0].message
    show("get", message.content or "")
    show("", f"reasoning: {(message.model_extra or {}).get('reasoning_content')}")
    check(talk.paths == [REVIEWER_PATH], f"one request to {REVIEWER_PATH}")
    check(said(message.content, "Review it."), "the echo of the question")
    check(bool((message.model_extra or {}).get("reasoning_content")), "the reasoning that was asked for")


def responses(talk: Talk) -> None:
    """The OpenAI SDK's Responses API, as Codex speaks it."""
    with talk.client.responses.stream(model="chat", input="Is anybody there?") as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        response = stream.get_final_response()
    show("get", " | ".join(pieces))
    show("", f"{len(pieces)} pieces, {response.usage and response.usage.total_tokens} tokens, {response.status}")
    check(len(pieces) > 1 and response.output_text == "".join(pieces), "an answer in pieces")
    check(said(response.output_text, "Is anybody there?"), "the echo of the question")
    check(talk.paths == [CHAT_PATH], f"one request to {CHAT_PATH}")


def messages(talk: Talk) -> None:
    """The Anthropic SDK's Messages API, as Claude Code speaks it, with a model that thinks."""
    with (
        anthropic.Anthropic(
            base_url=talk.proxy.url,
            api_key=talk.proxy.master_key,
            max_retries=0,
            http_client=anthropic.DefaultHttpxClient(**talk.http_options),
        ) as client,
        client.messages.stream(
            model="reviewer",
            max_tokens=2000,
            thinking={"type": "enabled", "budget_tokens": 1024},
            messages=[{"role": "user", "content": "Is anybody there?"}],
        ) as stream,
    ):
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    thoughts = [block.thinking for block in message.content if block.type == "thinking"]
    show("get", " | ".join(pieces))
    show("", f"{len(pieces)} pieces, {message.usage.output_tokens} tokens, stop_reason {message.stop_reason}")
    show("", f"thinking: {' '.join(thoughts)}")
    check(len(pieces) > 1 and said("".join(pieces), "Is anybody there?"), "the echo of the question in pieces")
    check(bool("".join(thoughts)), "the thinking that was asked for")
    check(talk.paths == [REVIEWER_PATH], f"one request to {REVIEWER_PATH}")


def streamed_fallback(talk: Talk) -> None:
    show("", "coder is scaled to zero: SageMaker has no capacity for it")
    text = read_stream(talk, "coder", "Is anybody there?")
    check(talk.paths == [CODER_PATH], f"one request to {CODER_PATH}")
    model, group, fallbacks = talk.served_by
    check(model.startswith("bedrock/") and (group, fallbacks) == ("chat-bedrock", "1"), "Bedrock after one fallback")
    check(text == f"{PREFIX}Is anybody there?", "the stand-in's answer")


def said(answer: str | None, question: str) -> bool:
    """Whether it is the local runtime's answer: it gives the question back."""
    return answer is not None and answer.startswith("Echo container") and question in answer


def main() -> int:
    failed: list[str] = []

    def step(title: str, run: Callable[[Talk], None], talk: Talk) -> None:
        print(f"\n{title}\n")
        try:
            run(talk)
        except (DemoError, openai.OpenAIError, anthropic.AnthropicError) as error:
            show("FAILED", str(error))
            failed.append(title)

    with ExitStack() as stack:
        print("Starting a local SageMaker runtime, a stand-in for Amazon Bedrock and the LiteLLM proxy ...")
        bedrock_url = stack.enter_context(bedrock_stand_in())
        with running(RUNTIME) as runtime:
            proxy = stack.enter_context(litellm_proxy(CONFIG, runtime.url, bedrock_url))
            print(f"  SageMaker {runtime.url}\n  Bedrock   {bedrock_url}\n  LiteLLM   {proxy.url}, {CONFIG.name}")
            talk = Talk(proxy)
            stack.callback(talk.client.close)
            talk.received = runtime.app.state.received
            step("1. A chat with the model on an endpoint", chat, talk)
            step("2. A streamed chat", streamed_chat, talk)
            step("3. A tool call", tool_call, talk)
            step("4. Two inference components on one endpoint", two_components, talk)
            step("5. The Responses API, streamed", responses, talk)
            step("6. The Messages API, streamed", messages, talk)
        # The same endpoints at the same address, but scaled to zero.
        with running(replace(RUNTIME, cold_start=3600), port=urlsplit(runtime.url).port or 0) as runtime:
            talk.received = runtime.app.state.received
            step("7. A streamed fallback to Bedrock", streamed_fallback, talk)
        if failed:
            print(f"\nThe proxy. {tail(proxy.log)}")
    print(f"\nFAILED: {'; '.join(failed)}" if failed else "\nAll of it worked.")
    return 1 if failed else 0


def _stop(*_: object) -> None:
    sys.exit("\nStopped.")  # an exception, so that what was started is stopped


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        sys.exit(main())
    except DemoError as failure:
        sys.exit(f"FAILED: {failure}")
