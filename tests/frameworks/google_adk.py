"""Google ADK, through LiteLLM."""

import asyncio

from google.adk.agents import LlmAgent
from google.adk.models.lite_llm import LiteLlm
from google.adk.runners import InMemoryRunner


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"12 degrees in {city}"


model = LiteLlm(model="sagemaker_openai/my-endpoint")
agent = LlmAgent(name="weather", model=model, tools=[get_weather])


async def main():
    events = await InMemoryRunner(agent=agent).run_debug('What is the weather in "Dublin"?', quiet=True)
    return events[-1].content.parts[0].text


print(asyncio.run(main()))

# What else is tried
from google.adk.agents.run_config import RunConfig, StreamingMode
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


async def ask(text, **options):
    runner = InMemoryRunner(agent=LlmAgent(name="plain", model=model, **options))
    return await runner.run_debug(text, quiet=True)


async def chat():
    global answer
    [answer] = await ask("Hello?")
    return answer.content.parts[0].text


def usage():
    return answer.usage_metadata.prompt_token_count, answer.usage_metadata.candidates_token_count


async def pieces():
    runner = InMemoryRunner(agent=LlmAgent(name="plain", model=model))
    config = RunConfig(streaming_mode=StreamingMode.SSE)
    events = await runner.run_debug("Hello?", quiet=True, run_config=config)
    return [event.content.parts[0].text for event in events if event.partial]


def stream():
    return asyncio.run(pieces())


def tools():
    return asyncio.run(main())


def structured():
    [answer] = asyncio.run(ask('The person is "Ada", 36 years old.', output_schema=Person))
    return Person.model_validate_json(answer.content.parts[0].text)
