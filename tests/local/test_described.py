"""The JSON object that a prompt describes, as the frameworks write it, and prompts that are meant to do harm."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litellm_sagemaker_openai.local.described import described, without_objects
from litellm_sagemaker_openai.local.echo import EchoConfig, complete
from tests.local.test_echo import PERSON, jsonschema

Json = dict[str, Any]
USER = 'The person is "Ada", 36 years old.'
NESTED: Json = {
    "$defs": {"Person": PERSON},
    "properties": {"people": {"type": "array", "items": {"$ref": "#/$defs/Person"}}},
    "required": ["people"],
    "type": "object",
}
# DSPy 3's JSONAdapter, without a schema that LiteLLM says the model supports.
DSPY = (
    "Inputs will have the following structure:\n\n[[ ## text ## ]]\n{text}\n\nOutputs will be a JSON object with the "
    'following fields.\n\n{\n  "name": "{name}",\n'
    '  "age": "{age}        # note: the value you produce must be a single int value",\n'
    '  "share": "{share}        # note: the value you produce must be a single float value",\n'
    '  "alive": "{alive}        # note: the value you produce must be True or False",\n'
    '  "color": "{color}        # note: the value you produce must exactly match (no extra characters) one of: red; '
    'green",\n  "group": "{group}        # note: the value you produce must adhere to the JSON schema: '
    + json.dumps(NESTED).replace('"', '\\"')
    + '"\n}\nIn adhering to this structure, your objective is: read.'
)  # fmt: skip


def answered(user: str, system: str = "") -> Any:
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": user})
    body = {"messages": messages, "response_format": {"type": "json_object"}}
    config = EchoConfig(context_length=10_000_000)  # no prompt here is refused for its length
    return json.loads(complete(body, config)["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    ("system", "user"),
    [
        (f"Always respond with a JSON object that's compatible with this schema:\n\n{json.dumps(PERSON)}\n", USER),
        (f"… match the following json_schema:\n\n\n{json.dumps(PERSON, indent=2)}\n\nnot the schema itself", USER),
        ("", f"{USER} Your answer MUST follow:\n```json\n{json.dumps(PERSON)}\n```"),
        ("", f'{USER} {json.dumps({"type": "json_schema", "json_schema": {"name": "P", "schema": PERSON}})}'),
        ('Answer as {"name": "string", "age": "integer"}.', USER),
        ('Answer as {"name": "…", "age": 1}.', f'{USER} Known so far: {{"city": "London"}}'),
    ],
)  # fmt: skip
def test_an_answer_fits_what_is_described(system: str, user: str) -> None:
    assert answered(user, system) == {"name": "Ada", "age": 36}


def test_dspys_notes() -> None:
    answer = answered(f"[[ ## text ## ]]\n{USER} He likes green.\n\nRespond with a JSON object: `name`", DSPY)
    assert (answer["name"], answer["age"], answer["alive"], answer["color"]) == ("Ada", 36, True, "green")
    assert isinstance(answer["share"], (int, float))
    jsonschema.validate(answer["group"], NESTED)
    assert list(answer) == ["name", "age", "share", "alive", "color", "group"]


@pytest.mark.parametrize(
    "text",
    [
        *("Write JSON.", "{}", "{name: string}", '{"a": ', '{"properties": {"a": {"not": {}}}}'),
        # what Python's reader takes, or stops at, and an answer could not repeat
        f'{{"a": {"7" * 5000}}}',
        '{"properties": {"a": {"const": NaN}}}',
        '{"properties": {"a": {"default": 1e999}}}',
        '{"properties": {"a": {"const": "\\ud800"}}}',
        '{"\\ud800": 1}',
    ],
)
def test_what_describes_nothing_that_can_be_made(text: str) -> None:
    assert answered(text) == {"echo": text, "is_model": False}


def test_an_answer_is_an_object() -> None:
    schema = json.dumps({"$defs": {"A": {"type": "integer"}}, "$ref": "#/$defs/A"})
    assert answered(schema)["is_model"] is False


def test_a_text_without_its_objects() -> None:
    assert without_objects('a {"b": {"c": 1}} d {"e": 2}{f} {"g": ') == 'a  d {f} {"g": '


MANY = 50_000


@pytest.mark.parametrize(
    "text",
    [
        '{"' * MANY,
        '{"a":' * MANY,
        '{"a":[' * MANY,
        '{"a": {"a": 1}, ' * MANY,
        '{"a":1}' * MANY,
        '{ "a' * MANY,
        "{" + " " * MANY + ('{"a":"' + " " * 1000) * 500,
        '{"type": "object", "properties": {' + ", ".join(f'"{n}": {{"type": "string"}}' for n in range(9000)) + "}} "
        + "word " * MANY,
        "{" + ", ".join(f'"{n}": "x"' for n in range(9000)) + "} " + "word " * MANY,
        '{"a": ' * 900 + "1" + "}" * 900,
        '{"a": "' + "one of: a; b" * MANY + '"}',
        '{"properties": {"a": {"minItems": 9999, "items": {"type": "integer", "minimum": 10000}}}} ' + "7 " * MANY,
        '{"properties": {"a": {"minItems": 9999, "items": {"enum": ["a b", "c"]}}}} ' + "7 " * MANY,
    ],
    ids=str.__len__,
)  # fmt: skip
def test_what_a_prompt_costs_is_in_proportion_to_its_length(text: str) -> None:
    """The whole answer, in the processor's time: a limit far above what it takes, and far below what a square would."""
    began = time.process_time()
    assert isinstance(answered(f"{text} {USER}"), dict)
    assert time.process_time() - began < 20


def test_a_string_without_an_end_counts_as_read() -> None:
    """Each of the braces before it begins an attempt that reads all of it."""
    assert described(['{"a":' * 100 + '"' + " " * 100_000, '{"b": 1}']) is None


@given(st.text(alphabet='{}[]":, \\ant1', max_size=60))
def test_any_text(text: str) -> None:
    described([text])
    without_objects(text)
