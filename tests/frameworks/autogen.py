"""AutoGen, on a proxy."""

import asyncio
import os

from autogen_agentchat.agents import AssistantAgent
from autogen_core.models import ModelFamily
from autogen_ext.models.openai import OpenAIChatCompletionClient

client = OpenAIChatCompletionClient(
    model="chat",
    base_url="http://localhost:4000/v1",
    api_key=os.environ["LITELLM_MASTER_KEY"],
    model_info={
        "vision": False,
        "function_calling": True,
        "json_output": True,
        "structured_output": True,
        "family": ModelFamily.UNKNOWN,
    },
    include_name_in_message=False,
)


async def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"12 degrees in {city}"


async def main():
    agent = AssistantAgent("weather", client, tools=[get_weather], reflect_on_tool_use=True)
    result = await agent.run(task='What is the weather in "Dublin"?')
    return result.messages[-1].content


print(asyncio.run(main()))

# What else is tried
from autogen_core.models import UserMessage
from pydantic import BaseModel

loop = asyncio.new_event_loop()
client = OpenAIChatCompletionClient.load_component(client.dump_component())  # its connections belong to one loop


class Person(BaseModel):
    name: str
    age: int


async def create(text, **options):
    return await client.create([UserMessage(content=text, source="user")], **options)


def chat():
    global answer
    answer = loop.run_until_complete(create("Hello?"))
    return answer.content


def usage():
    return answer.usage.prompt_tokens, answer.usage.completion_tokens


async def pieces():
    messages = [UserMessage(content="Hello?", source="user")]
    return [piece async for piece in client.create_stream(messages) if isinstance(piece, str)]


def stream():
    return loop.run_until_complete(pieces())


def tools():
    return loop.run_until_complete(main())


def structured():
    answer = loop.run_until_complete(create('The person is "Ada", 36 years old.', json_output=Person))
    return Person.model_validate_json(answer.content)
