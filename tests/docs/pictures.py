"""What the commands show in a terminal, as pictures: ``make pictures`` writes them into docs/pictures/.

The commands run in a real terminal, against the local runtime and moto's control plane. What differs from run to run,
and what would name this machine, is replaced: seconds, the runtime's host, moto's name for the caller.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from pyte.screens import Char
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.style import Style
from rich.text import Text

from examples.demo import RUNTIME
from litellm_sagemaker_openai.local.server import running
from tests.aws_apis import Aws, aws_services
from tests.conftest import CREDENTIALS, REGION
from tests.docs.pages import DOCS
from tests.docs.reader import AS_ON_AWS, environment, make_listed_endpoints
from tests.terminal import Terminal, in_terminal

FOLDER = DOCS / "pictures"
_PROMPT = "$ litellm-sagemaker-openai "
# rich's has a font that a browser would load from elsewhere.
_FORMAT = re.sub(r"(?s)@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT).replace(
    "Fira Code, monospace", "ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace"
)


@dataclass(frozen=True)
class Picture:
    """A command, how wide its terminal is, and what is typed into it."""

    command: list[str]
    columns: int
    use: Callable[[Terminal], None] = lambda _: None


def converse(terminal: Terminal) -> None:
    terminal.wait_for("\n>")
    terminal.type("What do **you** say to `print(1)`?\r")
    terminal.wait_for("You said")
    terminal.wait_for(lambda seen: seen.screen.endswith("\n>"))
    terminal.type("\x04")


PICTURES = {
    "endpoints": Picture(["endpoints", "--region", REGION], 138),
    "check": Picture(["check", "my-gpus/coder", "--region", REGION], 104),
    "chat": Picture(["chat", "my-gpus/coder", "--region", REGION], 84, converse),
}


@contextmanager
def account(aws: Aws, home: Path) -> Iterator[dict[str, str]]:
    """The environment of somebody whose account has the endpoints that the pages list."""
    aws.forget()
    make_listed_endpoints(aws)
    with running(replace(RUNTIME, credentials=CREDENTIALS, region=REGION)) as runtime:
        yield environment(
            home,
            AWS_ACCESS_KEY_ID=CREDENTIALS.access_key,
            AWS_SECRET_ACCESS_KEY=CREDENTIALS.secret_key,
            AWS_SESSION_TOKEN=CREDENTIALS.session_token or "",
            AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=runtime.url,
            AWS_ENDPOINT_URL_SAGEMAKER=aws.url,
            AWS_ENDPOINT_URL_STS=aws.url,
        )
    aws.forget()


def draw(name: str, env: dict[str, str]) -> str:
    """A picture as SVG."""
    picture = PICTURES[name]
    with in_terminal(picture.command, env, columns=picture.columns, rows=40) as terminal:
        picture.use(terminal)
        assert terminal.wait_for_the_end() == 0, terminal.everything
        return as_svg(name, picture.command, terminal, picture.columns)


def as_svg(
    name: str, command: list[str], terminal: Terminal, columns: int, instead: Sequence[tuple[str, str]] = ()
) -> str:
    """What is on a terminal's screen, below the command; ``instead``: patterns, and what is shown in their place."""
    shown = [Text(_PROMPT + " ".join(command), style="bold")]
    shown += [line(characters, [*AS_ON_AWS, *instead]) for characters in terminal.characters]
    while not shown[-1].plain.strip():
        shown.pop()
    while not shown[1].plain.strip():
        del shown[1]
    console = Console(record=True, width=columns, file=io.StringIO())
    for each in shown:
        console.print(each, soft_wrap=True)
    svg = console.export_svg(title="", code_format=_FORMAT, unique_id=name)
    # rich cuts each line off at its height, and with it the underscores of some fonts. All lines fit.
    return re.sub(r'(?s) clip-path="url\(#[\w-]+\)"|<defs>.*</defs>\s*', "", svg)


def line(characters: list[Char], replaced: Sequence[tuple[str, str]] = AS_ON_AWS) -> Text:
    """A line of a terminal's screen, with its colours; ``replaced``: patterns, and what is shown in their place."""
    text = Text()
    for style, run in groupby(characters, style_of):
        text.append("".join(each.data for each in run), style)
    text.rstrip()
    for pattern, instead in replaced:
        for match in re.finditer(pattern, text.plain):
            text = Text.assemble(text[: match.start()], instead, text[match.end() :])
    return text


def style_of(character: Char) -> Style:
    def colour(name: str) -> str | None:
        if re.fullmatch("[0-9a-f]{6}", name):
            return f"#{name}"
        return None if name == "default" else "yellow" if name == "brown" else name.replace("bright", "bright_")

    return Style(
        color=colour(character.fg),
        bgcolor=colour(character.bg),
        bold=character.bold,
        italic=character.italics,
        underline=character.underscore,
        reverse=character.reverse,
    )


def text_in(svg: str) -> list[str]:
    """What a picture says."""
    return ["".join(each.itertext()) for each in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with TemporaryDirectory() as home, aws_services() as aws, account(aws, Path(home)) as env:
        for name in PICTURES:
            (FOLDER / f"{name}.svg").write_text(draw(name, env), encoding="utf-8")


if __name__ == "__main__":
    main()
