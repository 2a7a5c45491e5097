"""The command ``litellm-sagemaker-openai``: a group of the subcommands in ``commands/``."""

from __future__ import annotations

import click

from litellm_sagemaker_openai._version import __version__
from litellm_sagemaker_openai.commands.chat import chat
from litellm_sagemaker_openai.commands.check import check
from litellm_sagemaker_openai.commands.config import config
from litellm_sagemaker_openai.commands.endpoints import endpoints
from litellm_sagemaker_openai.commands.local import local
from litellm_sagemaker_openai.commands.token import token


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="litellm-sagemaker-openai")
def main() -> None:
    """Models on your own Amazon SageMaker endpoints, over their OpenAI-compatible path."""


for command in (endpoints, config, check, chat, token, local):
    main.add_command(command)
