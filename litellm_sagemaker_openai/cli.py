"""The command ``litellm-sagemaker-openai``: a group of the subcommands in ``commands/``."""

from __future__ import annotations

from typing import Any

import click

from litellm_sagemaker_openai._version import __version__
from litellm_sagemaker_openai.commands.chat import chat
from litellm_sagemaker_openai.commands.check import check
from litellm_sagemaker_openai.commands.common import STOPPED, write_stand_ins
from litellm_sagemaker_openai.commands.config import config
from litellm_sagemaker_openai.commands.endpoints import endpoints
from litellm_sagemaker_openai.commands.launch import launch
from litellm_sagemaker_openai.commands.local import local
from litellm_sagemaker_openai.commands.serve import serve
from litellm_sagemaker_openai.commands.token import token


class _Commands(click.Group):
    """What holds for each subcommand: what the output cannot encode does not end it, and Ctrl-C is not a failure."""

    def main(self, *arguments: Any, **keywords: Any) -> Any:
        write_stand_ins()
        return super().main(*arguments, **keywords)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except KeyboardInterrupt:  # click itself would say "Aborted!", with exit status 1
            click.echo(err=True)
            context.exit(STOPPED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="litellm-sagemaker-openai")
def main() -> None:
    """Models on your own Amazon SageMaker endpoints, over their OpenAI-compatible path."""


for command in (endpoints, config, check, chat, serve, launch, token, local):
    main.add_command(command)
