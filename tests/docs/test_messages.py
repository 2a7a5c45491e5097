"""The messages in the troubleshooting tables are those that the package, and LiteLLM, really say."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import httpx
import pytest

from examples.demo import CONFIG, DemoError, litellm_proxy
from tests.conftest import MESSAGES
from tests.docs.pages import PACKAGE, code_in, tables
from tests.docs.reader import LOCAL_URL

PAGE = "docs/troubleshooting.md"
THEIRS = [code_in(row[0])[0] for table in tables(PAGE, "LiteLLM's own messages") for row in table]
OURS = [
    message
    for table in tables(PAGE, "By message")
    for row in table
    for message in code_in(row[0])
    if message not in THEIRS
]


def templates() -> Iterator[str]:
    """Each string in the package's source; what is filled in stands as ``…``."""
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)


def says(text: str, message: str) -> bool:
    """Whether the pieces of a message, between its ``…``, stand in a text in that order."""
    pieces = [re.escape(piece.strip()) for piece in message.split("…")]
    return re.search(".*".join(pieces), text, re.DOTALL) is not None


def test_messages_of_the_package() -> None:
    assert len(OURS) > 60
    texts = list(templates())
    for message in OURS:
        assert max(map(len, message.split("…"))) > 10, message
        assert any(says(text, message) for text in texts), message


def test_no_message_stands_there_twice() -> None:
    assert sorted(OURS + THEIRS) == sorted({*OURS, *THEIRS})
    for message in OURS:
        assert [other for other in OURS if says(other, message)] == [message]


@pytest.mark.slow(reason="starts processes that import LiteLLM")
def test_messages_of_litellm(tmp_path: Path, at_home: dict[str, str]) -> None:
    config = tmp_path / "proxy_config.yaml"
    config.write_text(CONFIG.read_text().replace("SAGEMAKER_CHAT_MODEL", "NOT_SET"))
    with pytest.raises(DemoError) as not_started, litellm_proxy(config, LOCAL_URL, LOCAL_URL):
        pass
    code = f"""
        import litellm, litellm_sagemaker_openai
        call = {{"model": "sagemaker_openai/my-endpoint", "messages": {MESSAGES}}}
        def attempt(**more):
            try:
                litellm.completion(**call, **more)
            except litellm.BadRequestError as error:
                print(error)
        attempt()
        litellm_sagemaker_openai.register()
        attempt(reasoning_effort="low")
        try:
            litellm.get_model_info(call["model"])
        except Exception as error:
            print(error)
        try:
            litellm.embedding(call["model"], ["a"], dimensions=2)
        except litellm.BadRequestError as error:
            print(error)
        params = {{"model": call["model"], "aws_region_name": "us-west-2"}}
        litellm.Router(model_list=[{{"model_name": "chat", "litellm_params": params}}])
    """
    command = [sys.executable, "-c", dedent(code)]
    said = subprocess.run(command, env=at_home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    said += str(not_started.value)
    with litellm_proxy(CONFIG, LOCAL_URL, LOCAL_URL) as proxy:
        for headers, status in (({}, 500), ({"Authorization": "Bearer sk-another"}, 400)):
            url = f"{proxy.url}/v1/chat/completions"
            answer = httpx.post(url, headers=headers, json={"model": "chat", "messages": MESSAGES}, trust_env=False)
            assert answer.status_code == status, answer.text
            said += answer.text
        said += proxy.log
    assert THEIRS
    for message in THEIRS:
        assert says(said, message), message
