"""``config --watch``: a file that is kept up to date with what is in service."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import NoReturn

import click

from litellm_sagemaker_openai.commands.common import expected_failures

Say = Callable[[str], None]


def keep_up_to_date(output: str, compose: Callable[[Say], str], seconds: float, *, force: bool) -> NoReturn:
    """Write the file where what it would say changed, but for its comments, until Ctrl-C.

    Each time that it was written, a line on standard output says so, for a program that reads it. Where AWS cannot be
    asked any more, nothing is in service any more, or the file cannot be written any more, it stays as it is, and
    standard error says why, once. A file that was deleted is written again.

    Args:
        output: the file. A reader finds the whole of the old or the whole of the new one.
        compose: gives the file's text, and tells a function what else there is to say.
        seconds: between two looks.
        force: whether it may be there already.

    Raises:
        click.ClickException: the file is there already; or the first time, it cannot be written, AWS cannot be asked,
            or nothing is in service.
    """
    file = Path(output).resolve()  # a link stays one
    try:
        text = file.read_text(encoding="utf-8") if file.is_file() else None
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"cannot read {output}: {error}") from error
    if file.exists() and not (force and file.is_file()):
        hint = "--force overwrites it" if file.is_file() else "--watch needs a regular file"
        raise click.ClickException(f"{output} is there already; {hint}")
    said: set[str] | None = None
    while True:
        to_say: list[str] = []
        try:
            with expected_failures():
                composed = compose(to_say.append)
            is_new = text is None or without_comments(composed) != without_comments(text)
            if is_new or not file.exists():
                _write(file, composed, output)
                text = composed
                click.echo(f"wrote {output}")
        except click.ClickException as error:
            if said is None:
                raise
            to_say.append(f"{output} stays as it is: {error.message}")
        for line in to_say:
            if line not in (said or ()):
                click.echo(line, err=True)
        said = set(to_say)
        sleep(seconds)


def without_comments(text: str) -> list[str]:
    """The lines of a YAML file that are not comments. What only they say is no reason for a proxy to restart."""
    return [line for line in text.splitlines() if not line.lstrip().startswith("#")]


def _write(file: Path, text: str, output: str) -> None:
    new = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        with new.open("x", encoding="utf-8") as opened:  # nothing that is there, nor what a link leads to
            opened.write(text)
        if file.exists():
            before = file.stat()
            if hasattr(os, "chown"):  # Windows has no owners
                with suppress(PermissionError):  # who may not give a file away keeps it
                    os.chown(new, before.st_uid, before.st_gid)
            new.chmod(before.st_mode & 0o7777)
        new.replace(file)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise click.ClickException(f"cannot write {output}: {error.strerror}") from error
