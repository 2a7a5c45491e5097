"""Calls that are refused before anything is sent: whose mistake it is, and what its caller is told. Pure.

Whoever calls LiteLLM from Python wrote all of the call, and is told all. In a proxy, the client is told what it can
change in its request, and of a mistake in the deployment only that there is one; what to set is in the operator's log.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from typing import Any

from litellm_sagemaker_openai.upstream_errors import PROVIDER

# How the message of each such exception begins, and that of a deployment's mistake. LiteLLM hands its callbacks of an
# earlier try no exception, only its text.
NOT_SENT = f"{PROVIDER} did not send this request: "
MISCONFIGURED = (
    f"{NOT_SENT}its deployment is misconfigured. Nothing in the request can change that; tell the operator of this "
    "proxy, whose log says what to set"
)


class Mistake(enum.Enum):
    """Who has to change something."""

    CALLERS = "caller"  # in the request
    OPERATORS = "operator"  # on the deployment


class Refusal(ValueError):
    """A call that cannot be sent as it is.

    Attributes:
        parameters: those whose values are at fault, by their names; none where it is what is asked itself.
    """

    def __init__(self, message: str, *parameters: str) -> None:
        super().__init__(message)
        self.parameters = parameters


class AtFault:
    """A context in which a ValueError becomes a Refusal, with these parameters at fault. One that says its own passes.

    A class and no generator, since each call enters five.
    """

    def __init__(self, *parameters: str) -> None:
        self._parameters = parameters

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        if isinstance(error, ValueError) and not isinstance(error, Refusal):
            raise Refusal(str(error), *self._parameters) from error


def whose_mistake(error: ValueError, said: Collection[str] | None) -> Mistake:
    """Who has to change something, by nothing but who said what is at fault.

    Args:
        error: the refusal.
        said: the names that a proxy's client said; None where the call did not come through a proxy.
    """
    parameters = error.parameters if isinstance(error, Refusal) else ()
    if said is None or not parameters or any(name in said for name in parameters):
        return Mistake.CALLERS
    return Mistake.OPERATORS


def for_the_caller(error: Exception, whose: Mistake) -> str:
    """What the caller is told."""
    return MISCONFIGURED if whose is Mistake.OPERATORS else f"{NOT_SENT}{error}"
