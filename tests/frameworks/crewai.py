"""CrewAI, through LiteLLM."""

from crewai import LLM, Agent
from crewai.tools import tool


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"12 degrees in {city}"


llm = LLM("sagemaker_openai/my-endpoint")
agent = Agent(role="Reporter", goal="Report the weather", backstory="You report.", llm=llm, tools=[get_weather])
print(agent.kickoff('What is the weather in "Dublin"?').raw)

# What else is tried
from crewai.events import LLMStreamChunkEvent, crewai_event_bus
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


def chat():
    global asked
    asked = LLM("sagemaker_openai/my-endpoint")
    return asked.call("Hello?")


def usage():
    tokens = asked.get_token_usage_summary()
    return tokens.prompt_tokens, tokens.completion_tokens


def stream():
    pieces = []
    with crewai_event_bus.scoped_handlers():
        crewai_event_bus.on(LLMStreamChunkEvent)(lambda source, event: pieces.append(event.chunk))
        LLM("sagemaker_openai/my-endpoint", stream=True).call("Hello?")
        crewai_event_bus.flush()
    return pieces


def tools():
    return agent.kickoff('What is the weather in "Dublin"?').raw


def structured():
    plain = Agent(role="Reader", goal="Read", backstory="You read.", llm=llm)
    return plain.kickoff('The person is "Ada", 36 years old.', response_format=Person).pydantic
