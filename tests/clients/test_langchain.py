"""LangChain: ``ChatOpenAI`` on the proxy, ``ChatLiteLLM`` on LiteLLM itself; both say and get the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_litellm import ChatLiteLLM
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from litellm_sagemaker_openai.local.server import Running
from tests.clients.conftest import ECHO, Proxied, answer_to, tokens_of

pytestmark = pytest.mark.slow(reason="starts LiteLLM's proxy")


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"12 degrees in {city}"


@tool
def get_time() -> str:
    """The time."""
    return "noon"


class Person(BaseModel):
    """A person."""

    name: str
    age: int


class Case:
    """A chat model, and the bodies that reached SageMaker."""

    def __init__(self, model: Any, received: Callable[[], Any]) -> None:
        self.model = model
        self._received = received

    @property
    def bodies(self) -> list[Any]:
        return [request.body for request in self._received()]


@pytest.fixture(params=["ChatOpenAI", "ChatLiteLLM"])
def case(request: pytest.FixtureRequest) -> Case:
    if request.param == "ChatOpenAI":
        proxy: Proxied = request.getfixturevalue("proxy")
        # stream_usage: on a base URL of one's own, ChatOpenAI asks for no usage unless told.
        model = ChatOpenAI(model="chat", base_url=proxy.openai_url, api_key=lambda: proxy.key, stream_usage=True)
        return Case(model, lambda: proxy.received)
    runtime: Running = request.getfixturevalue("runtime")
    return Case(ChatLiteLLM(model="sagemaker_openai/my-endpoint"), lambda: runtime.app.state.received)


def tokens_in(message: Any) -> tuple[int, int]:
    usage = message.usage_metadata
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    return usage["input_tokens"], usage["output_tokens"]


async def asked(model: Any, given: Any, kind: str) -> Any:
    """The model's answer, however it is asked for; a stream's chunks put together."""
    if kind == "invoke":
        return model.invoke(given)
    if kind == "ainvoke":
        return await model.ainvoke(given)
    chunks = [chunk async for chunk in model.astream(given)] if kind == "astream" else list(model.stream(given))
    assert len([chunk for chunk in chunks if chunk.content or chunk.tool_call_chunks]) > 3
    return reduce(add, chunks)


kinds = pytest.mark.parametrize("kind", ["invoke", "ainvoke", "stream", "astream"])


@kinds
async def test_a_chat(case: Case, kind: str) -> None:
    question: list[BaseMessage] = [SystemMessage("Be brief."), HumanMessage("Hello?")]
    answer = await asked(case.model, question, kind)
    assert isinstance(answer, AIMessageChunk if "stream" in kind else AIMessage)
    [body] = case.bodies
    assert answer.content == answer_to(body)["choices"][0]["message"]["content"]
    assert str(answer.content).startswith(f"{ECHO}Hello?")
    assert answer.response_metadata["finish_reason"] == "stop"
    assert tokens_in(answer) == tokens_of(body)
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]
    assert body.get("stream", False) is ("stream" in kind)


@kinds
async def test_parallel_tool_calls_and_their_results(case: Case, kind: str) -> None:
    model = case.model.bind_tools([get_weather, get_time])
    question = HumanMessage('get_weather and get_time in "Dublin", please')
    message = await asked(model, [question], kind)
    [body] = case.bodies
    sent = answer_to(body)["choices"][0]["message"]["tool_calls"]
    assert [(call["name"], call["args"], call["id"]) for call in message.tool_calls] == (
        [("get_weather", {"city": "Dublin"}, sent[0]["id"]), ("get_time", {}, sent[1]["id"])]
    )
    assert message.invalid_tool_calls == []
    assert message.response_metadata["finish_reason"] == "tool_calls"
    assert tokens_in(message) == tokens_of(body)

    tools: dict[str, Any] = {"get_weather": get_weather, "get_time": get_time}
    results = [tools[call["name"]].invoke(call) for call in message.tool_calls]
    answer = await asked(model, [question, message, *results], kind)
    assert answer.content == "The 2 tools answered: 12 degrees in Dublin | noon"
    assert [each.get("tool_call_id") for each in case.bodies[-1]["messages"][2:]] == [call["id"] for call in sent]


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
async def test_structured_output(case: Case, method: str) -> None:
    structured = case.model.with_structured_output(Person, method=method)
    assert structured.invoke("Ada is 36") == Person(name="Ada is 36", age=36)
    assert await structured.ainvoke("Ada is 36") == Person(name="Ada is 36", age=36)
    assert ("response_format" in case.bodies[0]) is (method == "json_schema")
