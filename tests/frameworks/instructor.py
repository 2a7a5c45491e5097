"""Instructor, through LiteLLM."""

import instructor
import litellm
from pydantic import BaseModel

client = instructor.from_litellm(litellm.completion)


class Person(BaseModel):
    name: str
    age: int


person, completion = client.chat.completions.create_with_completion(
    model="sagemaker_openai/my-endpoint",
    messages=[{"role": "user", "content": 'The person is "Ada", 36 years old.'}],
    response_model=Person,
)
print(person, completion.usage.total_tokens)

# What else is tried


def ask(text, **options):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="sagemaker_openai/my-endpoint", messages=messages, **options)


def chat():
    global answer
    answer = ask("Hello?", response_model=None)
    return answer.choices[0].message.content


def usage():
    return answer.usage.prompt_tokens, answer.usage.completion_tokens


def stream():
    chunks = ask("Hello?", response_model=None, stream=True)
    return [chunk.choices[0].delta.content or "" for chunk in chunks]


WITHOUT = {"tools": "they are its structured outputs"}


def structured():
    json_mode = instructor.from_litellm(litellm.completion, mode=instructor.Mode.JSON)
    messages = [{"role": "user", "content": 'The person is "Ada", 36 years old.'}]
    model = "sagemaker_openai/my-endpoint"
    also = json_mode.chat.completions.create(model=model, messages=messages, response_model=Person)
    print(repr(also))
    return person if also == person else also
