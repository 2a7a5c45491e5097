"""Two Strands agents, a coder and a reviewer with a calculator, on two inference components of one endpoint.

    pip install . 'strands-agents[litellm,openai]'
    python examples/strands_agents.py

calls SageMaker through LiteLLM in this process (``LiteLLMModel``): ``SAGEMAKER_CODER_MODEL`` and
``SAGEMAKER_REVIEWER_MODEL`` name the components, as sagemaker_openai/<endpoint>/<inference component>.

    python examples/strands_agents.py --proxy http://localhost:4000

calls a LiteLLM proxy that runs with proxy_config.yaml (``OpenAIModel``), with ``LITELLM_MASTER_KEY``.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import math
import operator
import os
from collections.abc import Callable
from typing import Any

from strands import Agent, tool
from strands.models.litellm import LiteLLMModel
from strands.models.model import Model
from strands.models.openai import OpenAIModel

import litellm_sagemaker_openai

TASK = 'Write a Python function that gives the seconds of a leap year, "366 * 24 * 60 * 60". Calculate it.'
CODER = "You write short Python functions. Calculate with the calculator, never in your head."
REVIEWER = "You review Python code. Check each number with the calculator, then say what is wrong, or that nothing is."

_OPERATIONS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_MOST_CHARACTERS = 200
_MOST_BITS = 1000


@tool
def calculator(expression: str) -> str:
    """Calculate with numbers, + - * / // % ** and parentheses.

    Args:
        expression: what to calculate, such as "12 * (3 + 4)".
    """
    return f"{expression} = {calculate(expression)}"


def calculate(expression: str) -> int | float:
    """The value of an arithmetic expression. A model wrote it, so it is parsed and never run as Python.

    Raises:
        ValueError: it is none, it has no value, or the value is very large.
    """
    if len(expression) > _MOST_CHARACTERS:
        raise ValueError(f"an expression may have {_MOST_CHARACTERS} characters, not {len(expression)}")
    try:
        return _value(ast.parse(expression.strip(), mode="eval").body)
    except (SyntaxError, ArithmeticError) as error:
        raise ValueError(f"{expression!r} has no value: {error}") from error


def _value(node: ast.expr) -> int | float:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        value = node.value
    elif isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATIONS:
        value = _OPERATIONS[type(node.op)](_value(node.operand))
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Pow) and _bits(left) * abs(right) > _MOST_BITS:
            raise ValueError("a power that is too large")
        value = _OPERATIONS[type(node.op)](left, right)
    else:
        raise ValueError("only numbers, + - * / // % ** and parentheses can be calculated")
    if not isinstance(value, (int, float)) or not math.isfinite(value) or _bits(value) > _MOST_BITS:
        raise ValueError("the value is not a number, or too large")
    return value


def _bits(value: int | float) -> int:
    return math.frexp(value)[1] if isinstance(value, float) else value.bit_length()


def direct_model(variable: str, default: str) -> Model:
    """A model on SageMaker, called through LiteLLM in this process."""
    litellm_sagemaker_openai.register()
    return LiteLLMModel(model_id=os.environ.get(variable, default))


def proxy_model(url: str, name: str) -> Model:
    """A model of a LiteLLM proxy."""
    client_args = {"base_url": f"{url}/v1", "api_key": os.environ["LITELLM_MASTER_KEY"]}
    return OpenAIModel(client_args=client_args, model_id=name)


async def review(coder_model: Model, reviewer_model: Model) -> list[Agent]:
    """The coder solves the task, the reviewer reviews it; both agents, with what they said."""
    coder = Agent(name="coder", model=coder_model, system_prompt=CODER, tools=[calculator], callback_handler=None)
    reviewer = Agent(
        name="reviewer", model=reviewer_model, system_prompt=REVIEWER, tools=[calculator], callback_handler=None
    )
    code = await coder.invoke_async(TASK)
    await reviewer.invoke_async(f"The task was: {TASK}\n\nReview this answer:\n\n{code}")
    return [coder, reviewer]


def show(agent: Agent) -> None:
    for message in agent.messages:
        for block in message["content"]:
            if "text" in block and message["role"] == "assistant":
                print(f"{agent.name}: {block['text']}")
            elif "toolUse" in block:
                print(f"{agent.name} calls {block['toolUse']['name']} with {block['toolUse']['input']}")
            elif "toolResult" in block:
                print(f"  {' '.join(part.get('text', '') for part in block['toolResult']['content'])}")


def main() -> None:
    parser = argparse.ArgumentParser(description="A coder and a reviewer, two agents on two inference components.")
    parser.add_argument("--proxy", metavar="URL", help="a LiteLLM proxy; none: SageMaker, through LiteLLM")
    proxy = parser.parse_args().proxy
    if proxy:
        coder_model, reviewer_model = proxy_model(proxy, "coder"), proxy_model(proxy, "reviewer")
    else:
        coder_model = direct_model("SAGEMAKER_CODER_MODEL", "sagemaker_openai/my-gpus/coder")
        reviewer_model = direct_model("SAGEMAKER_REVIEWER_MODEL", "sagemaker_openai/my-gpus/reviewer")
    for agent in asyncio.run(review(coder_model, reviewer_model)):
        show(agent)


if __name__ == "__main__":
    main()
