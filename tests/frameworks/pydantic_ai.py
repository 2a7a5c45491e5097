"""Pydantic AI, on a proxy: its LiteLLMProvider is a client of one."""

import os

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.litellm import LiteLLMProvider

provider = LiteLLMProvider(api_base="http://localhost:4000/v1", api_key=os.environ["LITELLM_MASTER_KEY"])
model = OpenAIChatModel("chat", provider=provider)


class Person(BaseModel):
    name: str
    age: int


answer = Agent(model, output_type=Person).run_sync('The person is "Ada", 36 years old.')
print(answer.output)

# What else is tried

agent = Agent(model)


@agent.tool_plain
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"12 degrees in {city}"


def chat():
    global result
    result = Agent(model).run_sync("Hello?")
    return result.output


def usage():
    tokens = result.usage
    tokens = tokens() if callable(tokens) else tokens
    return tokens.input_tokens, tokens.output_tokens


def stream():
    streamed = Agent(model).run_stream_sync("Hello?")
    return list(streamed.stream_text(delta=True, debounce_by=None))


def tools():
    return agent.run_sync('What is the weather in "Dublin"?').output


def structured():
    return answer.output
