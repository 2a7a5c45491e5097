"""smolagents, through LiteLLM."""

from smolagents import LiteLLMModel, ToolCallingAgent, tool


@tool
def get_weather(city: str) -> str:
    """The weather in a city.

    Args:
        city: the city's name
    """
    return f'It has "12 degrees in {city}".'


model = LiteLLMModel("sagemaker_openai/my-endpoint")
agent = ToolCallingAgent(tools=[get_weather], model=model, max_steps=3)
print(agent.run('What is the weather in "Dublin"?'))

# What else is tried
import json

from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


def chat():
    global answer
    answer = model.generate([{"role": "user", "content": [{"type": "text", "text": "Hello?"}]}])
    return answer.content


def usage():
    return answer.token_usage.input_tokens, answer.token_usage.output_tokens


def stream():
    messages = [{"role": "user", "content": [{"type": "text", "text": "Hello?"}]}]
    return [delta.content or "" for delta in model.generate_stream(messages)]


def tools():
    return agent.run('What is the weather in "Dublin"?')


def structured():
    schema = {"name": "Person", "schema": Person.model_json_schema()}
    messages = [{"role": "user", "content": [{"type": "text", "text": 'The person is "Ada", 36 years old.'}]}]
    answer = model.generate(messages, response_format={"type": "json_schema", "json_schema": schema})
    return json.loads(answer.content)
