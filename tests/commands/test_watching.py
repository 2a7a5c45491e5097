"""``config --watch``: when it writes its file, and what it says."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner, Result

from litellm_sagemaker_openai.cli import main
from litellm_sagemaker_openai.commands import watching
from tests.aws_apis import Aws

Do = Callable[[], None]
Watch = Callable[..., Result]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "proxy_config.yaml"


@pytest.fixture
def watch(file: Path, monkeypatch: pytest.MonkeyPatch, aws_apis: Aws) -> Watch:
    """Runs it, and does something after each look, in place of waiting; Ctrl-C comes after the last."""

    def run(*after_each_look: Do, arguments: tuple[str, ...] = ("--force",)) -> Result:
        steps = iter(after_each_look)

        def sleep(seconds: float) -> None:
            assert seconds == 300
            step = next(steps, None)
            if step is None:
                raise KeyboardInterrupt
            step()

        monkeypatch.setattr(watching, "sleep", sleep)
        return CliRunner().invoke(main, ["config", "--output", str(file), *arguments, "--watch"])

    aws_apis.make_endpoint("my-endpoint")
    return run


def names(file: Path) -> list[str]:
    return [each["model_name"] for each in yaml.safe_load(file.read_text())["model_list"]]


def nothing() -> None: ...


def test_it_is_written_where_what_is_in_service_changed(watch: Watch, file: Path, aws_apis: Aws) -> None:
    seen: list[Any] = []

    def look() -> None:
        seen.append((names(file), file.stat().st_ino))

    def deploy() -> None:
        look()
        aws_apis.make_endpoint("new-one")

    def begin_another() -> None:
        look()
        aws_apis.make_endpoint("starting")
        aws_apis.sagemaker.shows("endpoint/starting", "Creating")

    def finish_it() -> None:
        look()
        aws_apis.sagemaker.shows("endpoint/starting", "InService")

    result = watch(nothing, deploy, begin_another, finish_it)
    assert result.exit_code == 130
    assert result.stdout == f"wrote {file}\n" * 3
    (first, inode), (second, second_inode), (third, third_inode) = seen
    assert (first, second, third) == (["my-endpoint"], ["my-endpoint", "new-one"], ["my-endpoint", "new-one"])
    assert inode != second_inode == third_inode  # what is only being created stands in a comment
    assert names(file) == ["my-endpoint", "new-one", "starting"]
    assert os.listdir(file.parent) == [file.name]


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        ("ListEndpoints", "AccessDeniedException"),
        (
            "ListInferenceComponents",
            "some may not be known, since the credentials lack sagemaker:ListInferenceComponents",
        ),
        ("DescribeEndpoint", "since the credentials lack sagemaker:DescribeEndpoint"),
    ],
)
def test_where_aws_does_not_answer_it_stays(watch: Watch, file: Path, aws_apis: Aws, refused: str, why: str) -> None:
    aws_apis.make_endpoint("my-gpus", "coder")
    result = watch(lambda: aws_apis.sagemaker.refuses(refused), nothing, nothing, aws_apis.sagemaker.refused.clear)
    assert names(file) == ["my-endpoint", "coder"]
    assert result.stdout == f"wrote {file}\n"
    [line] = result.stderr.split("\n\n")[0].splitlines()  # Ctrl-C ends a line of its own
    assert line.startswith(f"{file} stays as it is: ")
    assert why in line


def test_where_nothing_is_in_service_any_more_it_stays(watch: Watch, file: Path, aws_apis: Aws) -> None:
    result = watch(lambda: aws_apis.sagemaker.shows("endpoint/my-endpoint", "Deleting"), nothing)
    assert names(file) == ["my-endpoint"]
    assert "nothing to configure" in result.stderr


def test_what_fails_at_first_ends_it(watch: Watch, file: Path, aws_apis: Aws) -> None:
    aws_apis.sagemaker.refuses("ListEndpoints")
    result = watch()
    assert (result.exit_code, file.exists()) == (1, False)
    assert result.stderr.startswith("Error: ListEndpoints: AccessDeniedException")


def test_started_again_it_leaves_a_file_that_is_right(watch: Watch, file: Path) -> None:
    watch()
    file.chmod(0o640)
    inode = file.stat().st_ino
    assert watch(nothing).stdout == ""
    assert file.stat().st_ino == inode
    file.write_text("model_list: []\n")
    assert watch().stdout == f"wrote {file}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_link_stays_one(watch: Watch, file: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    file.symlink_to(real)
    watch()
    assert file.is_symlink()
    assert names(real) == ["my-endpoint"]


@pytest.mark.parametrize("arguments", [(), ("--force",)])
def test_what_may_not_be_overwritten_is_not(watch: Watch, file: Path, arguments: tuple[str, ...]) -> None:
    if arguments:
        file.mkdir()
    else:
        file.write_text("mine")
    result = watch(arguments=arguments)
    assert result.exit_code == 1
    assert f"{file} is there already; " in result.stderr
    assert result.stderr.endswith("needs a regular file\n" if arguments else "--force overwrites it\n")


@pytest.mark.parametrize("arguments", [["--watch", "60"], ["--output", "f", "my-endpoint", "--watch"]])
def test_what_it_goes_with(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["config", *arguments])
    assert result.exit_code == 2
    assert "--watch goes with --output, and without names" in result.stderr


def test_a_pause_that_is_too_short() -> None:
    result = CliRunner().invoke(main, ["config", "--output", "f", "--watch", "1"])
    assert result.exit_code == 2
    assert "x>=10" in result.stderr


def test_a_folder_that_cannot_be_written_ends_it(watch: Watch, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", replace)
    result = watch()
    assert result.exit_code == 1
    assert result.stderr == f"Error: cannot write {file}: No space left on device\n"
    assert os.listdir(file.parent) == []


def test_a_folder_that_cannot_be_written_any_more_is_tried_again(watch: Watch, file: Path, aws_apis: Aws) -> None:
    away = file.parent.with_name("away")

    def lose() -> None:
        file.parent.rename(away)
        aws_apis.make_endpoint("new-one")

    result = watch(lose, nothing, lambda: away.rename(file.parent) and None)
    assert names(file) == ["my-endpoint", "new-one"]
    assert result.stdout == f"wrote {file}\n" * 2
    said = f"{file} stays as it is: cannot write {file}: No such file or directory"
    assert result.stderr.split("\n\n")[0].splitlines() == [said]


def test_a_file_that_was_deleted_is_written_again(watch: Watch, file: Path) -> None:
    assert watch(file.unlink, nothing).stdout == f"wrote {file}\n" * 2
    assert names(file) == ["my-endpoint"]


def test_a_files_owner_stays(watch: Watch, file: Path) -> None:
    """Only root gives files away; anybody else gives one to another group of theirs."""
    owner = (1234, 4321) if os.geteuid() == 0 else (os.geteuid(), os.getgroups()[-1])
    file.write_text("model_list: []\n")
    os.chown(file, *owner)
    assert watch().stdout == f"wrote {file}\n"
    assert (file.stat().st_uid, file.stat().st_gid) == owner


@pytest.fixture
def process(file: Path, aws_apis: Aws) -> Iterator[subprocess.Popen[str]]:
    aws_apis.make_endpoint("my-endpoint")
    run_it = "from litellm_sagemaker_openai.cli import main; main(prog_name='litellm-sagemaker-openai')"
    command = [sys.executable, "-c", run_it, "config", "--output", str(file), "--watch", "600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


def test_ctrl_c(process: subprocess.Popen[str], file: Path) -> None:
    """A program that reads its output is told at once, and Ctrl-C ends it."""
    assert process.stdout is not None
    assert process.stdout.readline() == f"wrote {file}\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert "Traceback" not in process.stderr.read()  # type: ignore[union-attr]
