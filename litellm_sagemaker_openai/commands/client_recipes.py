"""What each client needs to call the proxy that ``serve`` runs, to paste. Pure.

The key is in one variable, ``LITELLM_MASTER_KEY``, as LiteLLM's documentation has it; tests/commands/test_serve.py runs
the blocks.
"""

from __future__ import annotations

import json

KEY = "LITELLM_MASTER_KEY"


def chat_recipes(url: str, model: str, key: str | None) -> dict[str, str]:
    """Client → what to paste into a shell, a program or its configuration.

    Args:
        url: the proxy's.
        model: the name of one that chats.
        key: for what reads no variable; None: a placeholder stands there.
    """
    return {
        "curl": f"""\
curl {url}/v1/chat/completions -H "Authorization: Bearer ${KEY}" -H "Content-Type: application/json" \\
  -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello?"}}]}}'""",
        "OpenAI SDK": f"""\
import os
from openai import OpenAI
client = OpenAI(base_url="{url}/v1", api_key=os.environ["{KEY}"])
answer = client.chat.completions.create(model="{model}", messages=[{{"role": "user", "content": "Hello?"}}])
print(answer.choices[0].message.content)""",
        "Anthropic SDK": f"""\
import os
from anthropic import Anthropic
client = Anthropic(base_url="{url}", api_key=os.environ["{KEY}"])
question = {{"role": "user", "content": "Hello?"}}
print(client.messages.create(model="{model}", max_tokens=1000, messages=[question]).content[-1].text)""",
        "LangChain": f"""\
import os
from langchain_openai import ChatOpenAI
model = ChatOpenAI(model="{model}", base_url="{url}/v1", api_key=os.environ["{KEY}"], stream_usage=True)
print(model.invoke("Hello?").text)""",
        "Claude Code": f"""\
ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN=${KEY} ANTHROPIC_MODEL={model} \\
  ANTHROPIC_DEFAULT_HAIKU_MODEL={model} ANTHROPIC_DEFAULT_SONNET_MODEL={model} ANTHROPIC_DEFAULT_OPUS_MODEL={model} \\
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 claude --disallowedTools=WebSearch""",
        "Codex": f"""\
codex -c model_provider=sagemaker -c model={model} -c 'model_providers.sagemaker={_codex_provider(url)}'""",
        "OpenCode": f"""\
OPENCODE_CONFIG_CONTENT='{json.dumps(_opencode(url, model))}' opencode -m sagemaker/{model}""",
        "Continue": f"""\
name: SageMaker
version: 0.0.1
schema: v1
models:
  - name: {json.dumps(model)}
    provider: openai
    model: {json.dumps(model)}
    apiBase: {url}/v1
    apiKey: {key or f"<{KEY}>"}
    roles: [chat, edit, apply]""",
    }


def embedding_recipes(url: str, model: str) -> dict[str, str]:
    """The same for a model that makes embeddings."""
    return {
        "curl, embeddings": f"""\
curl {url}/v1/embeddings -H "Authorization: Bearer ${KEY}" -H "Content-Type: application/json" \\
  -d '{{"model": "{model}", "input": ["Hello?"]}}'""",
        "OpenAI SDK, embeddings": f"""\
import os
from openai import OpenAI
client = OpenAI(base_url="{url}/v1", api_key=os.environ["{KEY}"])
print(len(client.embeddings.create(model="{model}", input=["Hello?"]).data[0].embedding))""",
    }


def _codex_provider(url: str) -> str:
    """An inline table of TOML."""
    return f'{{name="SageMaker", base_url="{url}/v1", env_key="{KEY}", wire_api="responses"}}'


def _opencode(url: str, model: str) -> dict[str, object]:
    options = {"baseURL": f"{url}/v1", "apiKey": f"{{env:{KEY}}}"}
    provider = {"npm": "@ai-sdk/openai-compatible", "name": "SageMaker", "options": options, "models": {model: {}}}
    return {"provider": {"sagemaker": provider}}
