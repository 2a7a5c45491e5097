"""What deploy/ holds, read as Compose, Helm and CloudFormation read it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from tests.conftest import REGION

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"

CONFIG: Any = yaml.safe_load((DEPLOY / "config.yaml").read_text())
COMPOSE: Any = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
HELM_TEXT = (DEPLOY / "helm" / "values.yaml").read_text()
HELM: Any = yaml.safe_load(HELM_TEXT)

# SageMaker ends a stream after 8 minutes.
LONGEST_STREAM = 480
FALLBACK_ID = "openai.gpt-oss-120b-1:0"
ARNS = [
    f"arn:aws:sagemaker:{REGION}:123456789012:endpoint/my-endpoint",
    f"arn:aws:sagemaker:{REGION}:123456789012:inference-component/coder",
]


class _Template(yaml.SafeLoader):  # type: ignore[misc]
    """``!Sub x`` is short for ``{"Fn::Sub": x}``, and ``!Ref x`` for ``{"Ref": x}``."""


def _short_form(loader: Any, name: str, node: Any) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    else:
        value = loader.construct_sequence(node, deep=True)
    return {name if name == "Ref" else f"Fn::{name}": value}


_Template.add_multi_constructor("!", _short_form)

# A class of SafeLoader's: it makes nothing but data.
TEMPLATE: Any = yaml.load((DEPLOY / "cloudformation" / "proxy.yaml").read_text(), _Template)
_NOTHING = object()


def stack(**parameters: Any) -> Any:
    """The template's resources as a stack with these parameters has them: those that are not given have their
    defaults, and what only AWS can know, such as an ARN, is the resource's name in angle brackets."""
    defaults = {name: each["Default"] for name, each in TEMPLATE["Parameters"].items() if "Default" in each}
    values = {
        "ChatModel": "sagemaker_openai/my-endpoint",
        "EndpointArns": ARNS,
        "VpcCidr": "10.0.0.0/16",
        "AWS::Region": REGION,
        "AWS::Partition": "aws",
        "AWS::AccountId": "123456789012",
        "AWS::NoValue": _NOTHING,
        **defaults,
        **parameters,
    }
    return {
        name: _resolved(resource["Properties"], values)
        for name, resource in TEMPLATE["Resources"].items()
        if "Properties" in resource and ("Condition" not in resource or _holds(resource["Condition"], values))
    }


def _holds(condition: str, values: Mapping[str, Any]) -> bool:
    return bool(_resolved(TEMPLATE["Conditions"][condition], values))


def _resolved(node: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [each for each in (_resolved(each, values) for each in node) if each is not _NOTHING]
    if not isinstance(node, dict):
        return node
    if len(node) == 1:
        [(name, argument)] = node.items()
        if name == "Ref":
            return values.get(argument, f"<{argument}>")
        if name == "Fn::GetAtt":
            return f"<{argument}>"
        if name == "Fn::Sub":
            return re.sub(r"\$\{([\w:]+)\}", lambda found: str(values[found[1]]), argument)
        if name == "Fn::If":
            condition, yes, no = argument
            return _resolved(yes if _holds(condition, values) else no, values)
        if name == "Fn::Join":
            separator, parts = argument
            return separator.join(_resolved(parts, values))
        if name == "Fn::Equals":
            one, other = _resolved(argument, values)
            return one == other
        if name == "Fn::Not":
            return not _resolved(argument, values)[0]
        assert not name.startswith("Fn::"), name
    resolved = {name: _resolved(each, values) for name, each in node.items()}
    return {name: each for name, each in resolved.items() if each is not _NOTHING}


def container(resources: Any) -> Any:
    """The one container of a stack's task definition."""
    [found] = resources["TaskDefinition"]["ContainerDefinitions"]
    return found


def variables(resources: Any) -> dict[str, str]:
    """The environment that its task definition gives the container, without the secrets."""
    return {each["Name"]: str(each["Value"]) for each in container(resources)["Environment"]}


def attributes(listed: list[dict[str, str]]) -> dict[str, str]:
    """Of a load balancer or a target group."""
    return {each["Key"]: each["Value"] for each in listed}
