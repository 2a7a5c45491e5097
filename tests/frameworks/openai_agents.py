"""OpenAI Agents SDK, through LiteLLM."""

from agents import Agent, Runner, function_tool
from agents.extensions.models.litellm_model import LitellmModel


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"12 degrees in {city}"


agent = Agent("Weather", model=LitellmModel(model="sagemaker_openai/my-endpoint"), tools=[get_weather])
print(Runner.run_sync(agent, 'What is the weather in "Dublin"?').final_output)

# What else is tried
import asyncio

from pydantic import BaseModel

plain = agent.clone(tools=[])


class Person(BaseModel):
    name: str
    age: int


async def chat():
    global result
    result = await Runner.run(plain, "Hello?")
    return result.final_output


def usage():
    tokens = result.context_wrapper.usage
    return tokens.input_tokens, tokens.output_tokens


async def pieces():
    streamed = Runner.run_streamed(plain, "Hello?")
    events = [event async for event in streamed.stream_events()]
    deltas = [event.data for event in events if event.type == "raw_response_event"]
    return [delta.delta for delta in deltas if delta.type == "response.output_text.delta"]


def stream():
    return asyncio.run(pieces())


def tools():
    return Runner.run_sync(agent, 'What is the weather in "Dublin"?').final_output


def structured():
    return Runner.run_sync(plain.clone(output_type=Person), 'The person is "Ada", 36 years old.').final_output
