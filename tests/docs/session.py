"""A session of a coding agent as a picture, docs/pictures/session.svg: a part of ``make pictures``.

Claude Code, as ``make agents`` has installed it, works in a real terminal on a script over the local runtime. Where it
is not installed, the picture stays as it is.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from examples.demo import RUNTIME
from litellm_sagemaker_openai.local.echo import EchoConfig
from litellm_sagemaker_openai.local.script import read_script
from litellm_sagemaker_openai.local.server import running
from tests.conftest import CREDENTIALS, REGION
from tests.docs.pages import ROOT
from tests.docs.pictures import FOLDER, as_svg
from tests.docs.reader import environment
from tests.terminal import Terminal, in_terminal

_PROGRAMS = ROOT / ".agents" / "node_modules" / ".bin"
_SCRIPT = ROOT / "tests" / "agents" / "claude.yaml"
_COMMAND = ["launch", "claude", "my-gpus/coder"]
_COLUMNS = 100
_ONLY_HERE = "^no model_info, since .*"  # launch says it of the local runtime
_FILES = {
    "calculator.py": "def add(a, b):\n    return a - b\n",
    "test_calculator.py": "from calculator import add\n\nassert add(2, 3) == 5, add(2, 3)\nprint('passed')\n",
}


def main() -> None:
    if not (_PROGRAMS / "claude").exists():
        print("docs/pictures/session.svg stays as it is: `make agents` installs Claude Code")  # noqa: T201
        return
    script = read_script(_SCRIPT.read_text(encoding="utf-8"), _SCRIPT.name)
    runtime = replace(RUNTIME, credentials=CREDENTIALS, region=REGION, echo=EchoConfig(script=script))
    with TemporaryDirectory() as home, running(runtime) as sagemaker:
        work = Path(home, "calculator")
        work.mkdir()
        for name, text in _FILES.items():
            (work / name).write_text(text, encoding="utf-8")
        # Somebody who has used it before, and trusts the folder.
        known = {
            "hasCompletedOnboarding": True,
            "theme": "dark",
            "projects": {str(work): {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}},
        }
        Path(home, ".claude.json").write_text(json.dumps(known), encoding="utf-8")
        env = environment(
            Path(home),
            PATH=f"{_PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            PYTHONPATH=str(ROOT),
            AWS_ACCESS_KEY_ID=CREDENTIALS.access_key,
            AWS_SECRET_ACCESS_KEY=CREDENTIALS.secret_key,
            AWS_SESSION_TOKEN=CREDENTIALS.session_token or "",
            AWS_REGION=REGION,
            AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=sagemaker.url,
            HTTPS_PROXY="http://127.0.0.1:9",
            NO_PROXY="127.0.0.1",
            IS_SANDBOX="1",
        )
        before = Path.cwd()
        os.chdir(work)
        options = ["--context-length", "131072", "--", "--allowedTools", "Read Edit Bash"]
        with in_terminal([*_COMMAND, *options], env, columns=_COLUMNS, rows=64) as terminal:
            _work(terminal)
            svg = as_svg(
                "session", _COMMAND, terminal, _COLUMNS, [(re.escape(str(work)), "~/calculator"), (_ONLY_HERE, "")]
            )
        os.chdir(before)
    (FOLDER / "session.svg").write_text(svg, encoding="utf-8")


def _work(terminal: Terminal) -> None:
    terminal.wait_for("/effort")
    terminal.type("Fix the failing test")
    terminal.wait_for("Fix the failing test")
    terminal.type("\r")
    terminal.wait_for("Done. add adds now")
    terminal.wait_for(lambda seen: re.search(r"\(\d+s · |esc to interrupt", seen.screen) is None)


if __name__ == "__main__":
    main()
