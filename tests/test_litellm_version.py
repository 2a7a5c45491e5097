"""What is said where LiteLLM is too old, or is one that this package cannot be imported with.

What LiteLLM 1.80 lacks is taken away here; the version is what the package metadata would say.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

import litellm
import pytest
from litellm.proxy.types_utils.utils import get_instance_fn

import litellm_sagemaker_openai
from litellm_sagemaker_openai.litellm_version import OLDEST, UnsupportedLiteLLM, import_failure, too_old

HANDLER = "litellm_sagemaker_openai.sagemaker_openai"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The modules to import as if for the first time; afterwards those that were there are there again."""
    for module in ("provider", "errors"):
        monkeypatch.delitem(sys.modules, f"litellm_sagemaker_openai.{module}", raising=False)
    monkeypatch.delitem(vars(litellm_sagemaker_openai), "sagemaker_openai", raising=False)
    return monkeypatch


@pytest.mark.parametrize("version", ["1.80.0", "1.999.0"])
def test_a_litellm_that_lacks_what_is_needed(installed: pytest.MonkeyPatch, tmp_path: Path, version: str) -> None:
    """The last line on the terminal of a proxy that does not start is what `get_instance_fn` raises."""
    installed.delattr(litellm, "PermissionDeniedError")
    installed.setattr(metadata, "version", {"litellm": version}.__getitem__)
    with pytest.raises(UnsupportedLiteLLM) as refused:
        get_instance_fn(HANDLER, config_file_path=str(tmp_path / "config.yaml"))
    assert f"litellm {version} is installed" in str(refused.value)
    assert f"works with litellm>={OLDEST}" in str(refused.value)
    assert "PermissionDeniedError" in str(refused.value)


def test_a_module_that_cannot_be_imported(installed: pytest.MonkeyPatch) -> None:
    installed.setitem(sys.modules, "litellm_sagemaker_openai.errors", None)
    with pytest.raises(UnsupportedLiteLLM, match=r"sagemaker_openai cannot be imported \(ModuleNotFoundError"):
        get_instance_fn(HANDLER)


def test_no_litellm_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    error = ModuleNotFoundError("No module named 'litellm'")
    assert import_failure("register", error) is error
    assert too_old() is None


@pytest.mark.parametrize(
    ("version", "warned"),
    [
        ("1.100.0", True),
        ("1.102.9", True),
        ("1.103.0", False),
        ("1.103.0rc1", False),
        ("1.110.2", False),
        ("2.0", False),
    ],
)
def test_a_litellm_that_is_older_than_it_should_be(monkeypatch: pytest.MonkeyPatch, version: str, warned: bool) -> None:
    monkeypatch.setattr(metadata, "version", {"litellm": version}.__getitem__)
    warning = too_old()
    assert (warning is not None) == warned
    assert warning is None or warning.startswith(f"litellm {version} is installed")


def test_the_oldest_is_the_one_that_pip_is_told() -> None:
    pyproject = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert set(re.findall(r'"litellm(?:\[proxy\])?>=([\d.]+)"', pyproject)) == {OLDEST}
    versions = (Path(__file__).parent.parent / "docs" / "litellm-versions.md").read_text(encoding="utf-8")
    assert f"**from {OLDEST} on**" in versions
