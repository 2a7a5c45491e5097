"""The pages' code blocks by what they are: each kind has its test in test_snippets.py or test_commands.py, here, in
tests/deploy/ or in tests/commands/; tests/test_frameworks.py has those that `make frameworks` runs."""

from __future__ import annotations

import re

from tests.docs.pages import in_language

FRAMEWORKS = [block for block in in_language("python") if block.page == "docs/frameworks.md"]
PYTHON = [block for block in in_language("python") if block not in FRAMEWORKS]
SCRIPTS = [block for block in in_language("yaml") if block.page == "docs/local-runtime.md"]
YAML = [block for block in in_language("yaml") if block not in SCRIPTS]
JSON = in_language("json")

_BASH = in_language("bash")
MAKE = [block for block in _BASH if re.fullmatch(r'(make [\w-]+( [A-Z_]+=(\S+|"[^"]*"))*\n)+', block.text)]
PIP = [block for block in _BASH if re.fullmatch(r"pip install \S+\n", block.text)]
CURL = [block for block in _BASH if re.search(r"(?m)^ *curl ", block.text)]
PROXY_START = [block for block in _BASH if block.text.endswith("\nlitellm --config proxy_config.yaml\n")]
ULIMIT = [block for block in _BASH if block.text.startswith("ulimit ")]
SCRIPTED = [block for block in _BASH if block.text.startswith("litellm-sagemaker-openai local --script ")]
LOCAL = [block for block in _BASH if block.text.startswith("litellm-sagemaker-openai local ") and block not in SCRIPTED]
LISTING = [block for block in _BASH if block.text.startswith("litellm-sagemaker-openai endpoints ")]
WATCHING = [block for block in _BASH if " --watch" in block.text]
CONFIGURING = [
    block for block in _BASH if block.text.startswith("litellm-sagemaker-openai config ") and block not in WATCHING
]
LAUNCHING = [block for block in _BASH if block.text.startswith("litellm-sagemaker-openai launch ")]
SERVING = [block for block in _BASH if block.text.startswith("litellm-sagemaker-openai serve ")]
CALLING = [block for block in _BASH if re.match(r"litellm-sagemaker-openai (check|chat) ", block.text)]
CONTAINERS = [block for block in _BASH if block.page == "docs/deploying-the-proxy.md"]
DEPLOYING = [block for block in _BASH if "python examples/deploy_endpoint.py " in block.text]

TESTED = [
    *(*PYTHON, *FRAMEWORKS, *YAML, *JSON),
    *(*MAKE, *PIP, *CURL, *PROXY_START, *ULIMIT, *LOCAL, *LISTING, *CONFIGURING, *CALLING, *CONTAINERS, *DEPLOYING),
    *(*WATCHING, *SERVING, *LAUNCHING, *SCRIPTS, *SCRIPTED),
]
