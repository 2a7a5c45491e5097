"""LangChain, through LiteLLM."""

from langchain.agents import create_agent
from langchain_litellm import ChatLiteLLM


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"12 degrees in {city}"


model = ChatLiteLLM(model="sagemaker_openai/my-endpoint")
agent = create_agent(model, tools=[get_weather])
question = {"role": "user", "content": 'What is the weather in "Dublin"?'}
print(agent.invoke({"messages": [question]})["messages"][-1].content)

# What else is tried
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


def chat():
    global answer
    answer = model.invoke("Hello?")
    return answer.content


def usage():
    return answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]


def stream():
    return [piece.content for piece in model.stream("Hello?")]


def tools():
    return agent.invoke({"messages": [question]})["messages"][-1].content


def structured():
    return model.with_structured_output(Person).invoke('The person is "Ada", 36 years old.')
