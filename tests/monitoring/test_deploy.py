"""deploy/monitoring/: what can be checked without Prometheus and Grafana. `make monitoring` does it with Prometheus."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from litellm_sagemaker_openai.monitoring.table import METRICS
from tests.docs.pages import PAGES, anchors
from tools.monitoring import FOLDER, alerts, queries

DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))


def test_each_metric_is_on_the_dashboard() -> None:
    asked = " ".join(queries().values())
    assert [each.name for each in METRICS if each.name not in asked] == []


def test_the_dashboard_can_be_imported_anywhere() -> None:
    """It names no data source but the one that is chosen, and no panel covers another."""
    panels = DASHBOARD["panels"]
    assert DASHBOARD["templating"]["list"][0]["type"] == "datasource"
    sources = [panel["datasource"] for panel in panels if panel["type"] != "row"]
    sources += [target["datasource"] for panel in panels for target in panel.get("targets", ())]
    assert {source["uid"] for source in sources} == {"${datasource}"}
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        assert not (overlap(one, other, "x", "w") and overlap(one, other, "y", "h")), (one, other)


def overlap(one: dict[str, int], other: dict[str, int], at: str, size: str) -> bool:
    return one[at] < other[at] + other[size] and other[at] < one[at] + one[size]


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_what_to_do(name: str) -> None:
    rule = alerts()[name]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"].keys() == {"summary", "description", "docs"}
    page, _, anchor = rule["annotations"]["docs"].partition("#")
    assert anchor == name.lower()
    assert anchor in anchors(PAGES[page])


def test_each_alert_is_tested() -> None:
    tests: list[Any] = yaml.safe_load((FOLDER / "alerts_test.yaml").read_text(encoding="utf-8"))["tests"]
    fired = set(re.findall(r'alertname="?: ?(\w+)', str(tests))) | set(re.findall(r'alertname="(\w+)"', str(tests)))
    fired |= {each["alertname"] for test in tests for each in test.get("alert_rule_test", ()) if each["exp_alerts"]}
    assert fired == alerts().keys()
