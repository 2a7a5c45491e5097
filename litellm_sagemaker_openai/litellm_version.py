"""Whether this package works with the LiteLLM that is installed. Imports neither LiteLLM nor anything that does.

pip only warns of a version that does not fit, and an image with a LiteLLM of its own asks no pip.
"""

from __future__ import annotations

import re
from importlib import metadata

OLDEST = "1.103.0"  # the one in pyproject.toml, which is not there in an image that only has this package's files


class UnsupportedLiteLLM(RuntimeError):
    """This package cannot be imported with the LiteLLM that is installed.

    Not an ImportError: of one, LiteLLM's proxy says that it "could not import" the handler and no more
    (litellm/proxy/types_utils/utils.py, 1.106.2), and Python makes one of an AttributeError without its words.
    """


def import_failure(name: str, error: Exception) -> Exception:
    """What to raise where a name of this package cannot be imported; the error itself where LiteLLM is not installed.

    Args:
        name: the name.
        error: why not.
    """
    found = _installed()
    if found is None:
        return error
    said = f"{name} cannot be imported ({type(error).__name__}: {error})"
    return UnsupportedLiteLLM(f"{_mismatch(found)}: {said}")


def too_old() -> str | None:
    """What to warn of where the LiteLLM that is installed is older than this package works with."""
    found = _installed()
    return None if found is None or _numbers(found) >= _numbers(OLDEST) else _mismatch(found)


def _mismatch(found: str) -> str:
    return (
        f"litellm {found} is installed, and litellm-sagemaker-openai works with litellm>={OLDEST}, up to the versions "
        "in docs/litellm-versions.md"
    )


def _installed() -> str | None:
    try:
        return metadata.version("litellm")
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]
