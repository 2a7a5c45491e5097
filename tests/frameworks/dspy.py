"""DSPy, through LiteLLM."""

import dspy

lm = dspy.LM("sagemaker_openai/my-endpoint")
dspy.configure(lm=lm)
read = dspy.Predict("text -> name: str, age: int")
person = read(text='The person is "Ada", 36 years old.')
print(person.name, person.age)

# What else is tried
import asyncio


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f'It has "12 degrees in {city}".'


def chat():
    [answer] = lm("Hello?")
    return answer


def usage():
    tokens = lm.history[-1]["usage"]
    return tokens["prompt_tokens"], tokens["completion_tokens"]


def cost():
    return lm.history[-1]["cost"]


async def pieces():
    answering = dspy.streamify(dspy.Predict("question -> answer"))
    return [chunk async for chunk in answering(question="Hello?") if not isinstance(chunk, dspy.Prediction)]


def stream():
    return [chunk.choices[0].delta.content or "" for chunk in asyncio.run(pieces())]


class Ask(dspy.Signature):
    question: str = dspy.InputField()
    tools: list[dspy.Tool] = dspy.InputField()
    calls: dspy.ToolCalls = dspy.OutputField()


def tools():
    with dspy.context(adapter=dspy.ChatAdapter(use_native_function_calling=True)):
        asked = dspy.Predict(Ask)(question='What is the weather in "Dublin"?', tools=[dspy.Tool(get_weather)])
    [call] = asked.calls.tool_calls
    assert lm.history[-1]["kwargs"].get("tools"), "asked for as text"
    answer = call.execute([dspy.Tool(get_weather)])
    with dspy.context(adapter=dspy.JSONAdapter()):
        return dspy.Predict("weather -> report")(weather=answer).report


def structured():
    return {"name": person.name, "age": person.age}
