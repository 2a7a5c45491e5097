"""LlamaIndex, through LiteLLM."""

from llama_index.core.tools import FunctionTool
from llama_index.llms.litellm import LiteLLM


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"12 degrees in {city}"


llm = LiteLLM("sagemaker_openai/my-endpoint")
tool = FunctionTool.from_defaults(get_weather)
print(llm.predict_and_call([tool], 'What is the weather in "Dublin"?'))

# What else is tried
import asyncio

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


def chat():
    global answer
    answer = llm.chat([ChatMessage("Hello?")])
    return answer.message.content


def usage():
    tokens = answer.raw["usage"]
    return tokens["prompt_tokens"], tokens["completion_tokens"]


def stream():
    return [piece.delta for piece in llm.stream_chat([ChatMessage("Hello?")])]


async def agent():
    return await FunctionAgent(tools=[tool], llm=llm).run('What is the weather in "Dublin"?')


def tools():
    return str(asyncio.run(agent()))


def structured():
    return llm.structured_predict(Person, PromptTemplate('The person is "Ada", 36 years old.'))
