"""Strands Agents, through LiteLLM."""

from strands import Agent, tool
from strands.models.litellm import LiteLLMModel


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"12 degrees in {city}"


model = LiteLLMModel(model_id="sagemaker_openai/my-endpoint")
agent = Agent(model, tools=[get_weather], callback_handler=None)
print(agent('What is the weather in "Dublin"?'))

# What else is tried
import asyncio

from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


def plain():
    return Agent(model, callback_handler=None)


async def chat():
    global result
    result = await plain().invoke_async("Hello?")
    return str(result)


def usage():
    tokens = result.metrics.accumulated_usage
    return tokens["inputTokens"], tokens["outputTokens"]


async def pieces():
    return [event["data"] async for event in plain().stream_async("Hello?") if "data" in event]


def stream():
    return asyncio.run(pieces())


def tools():
    return str(agent('What is the weather in "Dublin"?'))


def structured():
    return plain()('The person is "Ada", 36 years old.', structured_output_model=Person).structured_output
