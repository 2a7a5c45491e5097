"""``chat``: one answer of an endpoint's model, or a conversation with it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from litellm_sagemaker_openai.commands.common import (
    STOPPED,
    aws_options,
    console,
    expected_failures,
    failure_line,
    quiet_litellm,
    resolve_region,
    target_argument,
    with_certificate_advice,
)

if TYPE_CHECKING:
    from litellm_sagemaker_openai.commands.answer import Answer
    from litellm_sagemaker_openai.target import Target

_PROMPT_SECONDS = 0.5  # how late Ctrl-C may be noticed at the prompt


@click.command()
@target_argument
@click.argument("prompt", required=False)
@click.option("--system", metavar="TEXT", help="What the model is told before the conversation.")
@click.option("--temperature", metavar="NUMBER", type=click.FloatRange(0, 2), help="[default: the container's]")
@click.option(
    "--max-tokens",
    metavar="NUMBER",
    type=click.IntRange(1),
    help="The most tokens of an answer, reasoning included.  [default: the container's]",
)
@click.option("--hf-model-name", metavar="NAME", help="For a container that insists on its served model name.")
@click.option("--no-markdown", is_flag=True, help="Show answers as they were written.")
@aws_options
def chat(
    target: Target,
    prompt: str | None,
    system: str | None,
    temperature: float | None,
    max_tokens: int | None,
    hf_model_name: str | None,
    no_markdown: bool,
    region: str | None,
    profile: str | None,
) -> None:
    """Talk with the model of an endpoint or an inference component.

    With a PROMPT, or something in a pipe, it prints one answer; else it is a conversation. Ctrl-C stops an answer, and
    clears the line at the prompt; Ctrl-D ends the conversation.

    \b
      litellm-sagemaker-openai chat my-endpoint
      litellm-sagemaker-openai chat my-endpoint "What is a production variant?"
      git diff | litellm-sagemaker-openai chat my-gpus/reviewer "Review this change."

    In a terminal Markdown is rendered and reasoning is dimmed. Into a pipe or a file goes the answer alone, as it was
    written. The exit status of a single answer is 0, 1 where it failed, and 130 where you stopped it.
    """
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]  # a diff may hold bytes that are not text here
    question = _question(prompt)
    if question is None and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("a conversation needs a terminal; give a PROMPT, or pipe one in")
    with expected_failures():
        region, _ = resolve_region(region, profile, target.region)
    options = {
        "aws_region_name": region,
        "aws_profile_name": profile,
        "temperature": temperature,
        "max_tokens": max_tokens,
        "hf_model_name": hf_model_name,
    }
    model = Model(
        str(target),
        {name: value for name, value in options.items() if value is not None},
        markdown=not no_markdown,
    )
    history = [{"role": "system", "content": system}] if system else []
    if question is None:
        _converse(model, history)
        return
    with _Interrupts() as interrupts:
        reply = _ask(model, [*history, {"role": "user", "content": question}], interrupts)
    if reply.failure is not None:
        raise click.ClickException(reply.failure)
    if reply.stopped:
        click.get_current_context().exit(STOPPED)


@dataclass(frozen=True, slots=True)
class Model:
    """Who is asked: the model's name, the keywords of each call, and whether answers are rendered as Markdown."""

    name: str
    options: Mapping[str, Any]
    markdown: bool = True


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its text as far as it came, and whether it was stopped, or why it failed."""

    text: str = field(repr=False)
    stopped: bool = False
    failure: str | None = None


def _question(prompt: str | None) -> str | None:
    """The prompt followed by what is piped in; None where there is neither."""
    piped = "" if sys.stdin.isatty() else sys.stdin.read().strip("\n")
    return "\n\n".join(part for part in (prompt, piped) if part and part.strip()) or None


def _converse(model: Model, history: Sequence[dict[str, Any]]) -> None:
    with suppress(ImportError):  # not on Windows
        import readline  # noqa: F401 - gives input() its keys and its history

    _print_note(f"{model.name} in {model.options['aws_region_name']}. Ctrl-C stops an answer, only Ctrl-D ends.")
    with _Interrupts() as interrupts:
        while (question := _next_question(interrupts)) is not None:
            if not question.strip():
                continue
            asked = [*history, {"role": "user", "content": question}]
            reply = _ask(model, asked, interrupts)
            if reply.failure is not None:
                console(stderr=True).print(f"Error: {reply.failure}", style="red", markup=False)
            elif reply.text:
                # Also where it was stopped: chat templates want questions and answers to alternate.
                history = [*asked, {"role": "assistant", "content": reply.text}]
            click.echo()


def _next_question(interrupts: _Interrupts) -> str | None:
    """What is typed next, or None at the end."""
    while True:
        try:
            with interrupts.allowed(), _prompt_woken():
                return input("> ")
        except KeyboardInterrupt:
            click.echo()
        except EOFError:
            click.echo()
            return None


@contextmanager
def _prompt_woken() -> Iterator[None]:
    """Notice a Ctrl-C that came after the prompt was written and before readline waits for a key.

    CPython's readline_until_enter_or_signal looks for signals only when one interrupts its select(), which that one
    did not. So another signal interrupts it at intervals.
    """
    if not hasattr(signal, "setitimer"):  # Windows
        yield
        return
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, _PROMPT_SECONDS, _PROMPT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _ask(model: Model, messages: list[dict[str, Any]], interrupts: _Interrupts) -> Reply:
    """Ask, and show the answer as it comes."""
    pieces: list[str] = []
    finish_reason, stopped = None, False
    try:
        with _display(model) as answer:
            for choice in _stream_choices(model, messages, interrupts):
                if reasoning := getattr(choice.delta, "reasoning_content", None):
                    answer.reasoning(reasoning)
                if content := choice.delta.content:
                    pieces.append(content)
                    answer.content(content)
                finish_reason = choice.finish_reason or finish_reason
    except KeyboardInterrupt:
        stopped = True
    except _CallFailed as failed:
        return Reply("".join(pieces), failure=str(failed))
    text = "".join(pieces)
    if note := "stopped" if stopped else _note(finish_reason, text):
        _print_note(f"({note})", stderr=True)
    return Reply(text, stopped)


def _print_note(text: str, *, stderr: bool = False) -> None:
    """Print something that does not belong to the conversation."""
    console(stderr=stderr).print(text, style="dim", markup=False)


def _note(finish_reason: str | None, text: str) -> str:
    """What an answer's text does not show: that it was cut off, or is empty."""
    if finish_reason == "length":
        return "cut off: it reached --max-tokens, or the container's limit"
    return "" if text.strip() else "an empty answer"


class _CallFailed(Exception):
    """LiteLLM raised an exception; this is its message, in a line."""


def _stream_choices(model: Model, messages: list[dict[str, Any]], interrupts: _Interrupts) -> Iterator[Any]:
    """The first choice of each chunk.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
        _CallFailed: there is no answer, or it broke off.
    """
    quiet_litellm()
    import litellm
    from openai import OpenAIError  # what LiteLLM raises are all of this class

    try:
        with interrupts.allowed():
            stream = litellm.completion(
                model=f"sagemaker_openai/{model.name}", messages=messages, stream=True, **model.options
            )
        while True:
            with interrupts.allowed():
                chunk: Any = next(stream, None)
            if chunk is None:
                return
            yield from chunk.choices[:1]
    except OpenAIError as error:
        raise _CallFailed(with_certificate_advice(failure_line(error), error)) from error


def _display(model: Model) -> AbstractContextManager[Answer]:
    """Where the answer is shown: drawn in a terminal, or written as it is."""
    from litellm_sagemaker_openai.commands.answer import drawn_answer, plain_answer

    output = console()
    if not (sys.stdout.isatty() and output.is_terminal):
        return plain_answer(sys.stdout)
    return drawn_answer(output, f"Waiting for {model.name}", markdown=model.markdown)


class _Interrupts:
    """Lets Ctrl-C raise ``KeyboardInterrupt`` only while a question or a piece of an answer is waited for.

    Anywhere else it could leave an import half done, or the cursor hidden: there it is remembered until the next wait.
    """

    def __enter__(self) -> _Interrupts:
        self._pressed = self._waiting = False
        self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *failure: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _press(self, *_: object) -> None:
        self._pressed = True
        if self._waiting:
            raise KeyboardInterrupt

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """A wait that Ctrl-C may end."""
        self._waiting = True
        try:
            if self._pressed:
                raise KeyboardInterrupt
            yield
        except KeyboardInterrupt:
            self._pressed = False
            raise
        finally:
            self._waiting = False
