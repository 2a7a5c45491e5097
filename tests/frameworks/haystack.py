"""Haystack, on a proxy."""

from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import tool
from haystack.utils import Secret


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"12 degrees in {city}"


key = Secret.from_env_var("LITELLM_MASTER_KEY")
generator = OpenAIChatGenerator(api_key=key, model="chat", api_base_url="http://localhost:4000/v1")
agent = Agent(chat_generator=generator, tools=[get_weather])
question = ChatMessage.from_user('What is the weather in "Dublin"?')
print(agent.run(messages=[question])["last_message"].text)

# What else is tried
import json

from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


def chat():
    global answer
    [answer] = generator.run([ChatMessage.from_user("Hello?")])["replies"]
    return answer.text


def usage():
    return answer.meta["usage"]["prompt_tokens"], answer.meta["usage"]["completion_tokens"]


def stream():
    pieces = []
    generator.run([ChatMessage.from_user("Hello?")], streaming_callback=lambda chunk: pieces.append(chunk.content))
    return pieces


def tools():
    return agent.run(messages=[question])["last_message"].text


def structured():
    person = ChatMessage.from_user('The person is "Ada", 36 years old.')
    [answer] = generator.run([person], generation_kwargs={"response_format": Person})["replies"]
    return json.loads(answer.text)
