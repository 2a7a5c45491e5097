"""What the last release cost, to compare with: kept in ``last_release.json``, and made of the benchmark's results.

``python -m benchmarks.last_release > benchmarks/last_release.json`` keeps those of the last run: a step of a release.
Machines differ from run to run, and so do LiteLLM's versions. What can be compared is how much a call costs of what
LiteLLM's floor cost in the same run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench_contenders import FLOOR, OURS

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class LastRelease:
    """A release in its own run.

    Args:
        version: this provider's.
        litellm: LiteLLM's.
        cpu: a case's name → CPU per call in milliseconds, of this provider and of LiteLLM's floor.
    """

    version: str
    litellm: str
    cpu: Mapping[str, tuple[float, float]]

    def of_floor(self, case: str) -> float | None:
        """Its CPU as a share of the floor's; None for a case that was not measured then."""
        own, floor = self.cpu.get(case, (0.0, 0.0))
        return own / floor if floor else None


def last_release() -> LastRelease:
    kept: Mapping[str, Any] = json.loads((_FOLDER / "last_release.json").read_text(encoding="utf-8"))
    cpu = {case: (each[OURS], each[FLOOR]) for case, each in kept["cpu"].items()}
    return LastRelease(kept["version"], kept["litellm"], cpu)


def kept_of(results: str) -> dict[str, Any]:
    """What to keep of ``results.md``: versions, and the CPU of each case that has both this provider and the floor."""
    cpu = {}
    for title, table in re.findall(r"(?m)^### (.+)\n\n((?:\|.*\n)+)", results):
        cells = [[cell.strip(" *`") for cell in row.strip("|").split("|")] for row in table.splitlines()]
        values = {row[0]: float(row[1].replace(",", "")) for row in cells if row[0] in (OURS, FLOOR)}
        if cells[0][1].startswith("CPU") and len(values) == 2:
            cpu[title] = values
    versions = dict(re.findall(r"(litellm|litellm-sagemaker-openai) (\d[\w.]*\w)", results))
    return {"version": versions["litellm-sagemaker-openai"], "litellm": versions["litellm"], "cpu": cpu}


def main() -> None:
    print(json.dumps(kept_of((_FOLDER / "results.md").read_text(encoding="utf-8")), indent=2))


if __name__ == "__main__":
    main()
