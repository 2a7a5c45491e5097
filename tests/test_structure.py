"""The floor plan's rules, read from the package's imports. CONTRIBUTING.md says them in words."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import litellm_sagemaker_openai

NAME = "litellm_sagemaker_openai"
ROOT = Path(litellm_sagemaker_openai.__file__).parent
SEAMS = "litellm_seams"

# What LiteLLM documents, or shows at its top for all to use.
PUBLIC = {
    "litellm": {
        "CustomLLM",
        "CustomStreamWrapper",
        "EmbeddingResponse",
        "ModelResponse",
        "TextCompletionResponse",
        "arerank",
        "cache",
        "callbacks",
        "completion",
        "custom_provider_map",
        "get_llm_provider",
        "get_valid_models",
        "model_alias_map",
        "model_cost",
        "model_fallbacks",
        "num_retries",
        "register_model",
        "rerank",
        "ssl_certificate",
        "ssl_verify",
        "suppress_debug_info",
        "token_counter",
    },
    "litellm.types.rerank": {"RerankResponse"},
    "litellm.types.utils": {"CallTypes", "ModelResponseStream"},
    "litellm.integrations.custom_logger": {"CustomLogger"},
}
# The one class that is needed as it is, and whose methods are overridden: see its docstring.
NEEDED = {"litellm_seams.aws_credentials": {"litellm.llms.bedrock.base_aws_llm": {"BaseAWSLLM"}}}
# LiteLLM's documentation has the first (https://docs.litellm.ai/docs/completion/token_usage), Python's the others.
DOCUMENTED_ATTRIBUTES = {"_hidden_params", "_replace", "_exit"}
# The others' private names that are said to be used, outside the seams: each with its reason there.
SAID = {"commands.token": {"_expiry_time"}}  # botocore's

PURE = [
    "access",
    "aws.container_settings",
    "aws.hosts",
    "aws.identity",
    "aws.s3_location",
    "aws.sigv4",
    "aws.token",
    "capabilities",
    "commands.adapters",
    "commands.agents",
    "commands.client_recipes",
    "commands.model_info",
    "commands.probing",
    "commands.refused_responses",
    "commands.served_routes",
    "commands.stated",
    "context_limit",
    "errors",
    "formats.aws_event_stream",
    "formats.chat_request",
    "formats.chunks",
    "formats.embeddings",
    "formats.events",
    "formats.invocation_headers",
    "formats.messages",
    "formats.prompt_cache_key",
    "formats.rerank",
    "formats.text_completions",
    "formats.texts_or_ids",
    "formats.whole_answer",
    "local.described",
    "local.event_stream",
    "local.messages",
    "local.rerank",
    "local.routing",
    "local.script",
    "local.sessions",
    "local.text_completions",
    "monitoring.connections",
    "monitoring.reasons",
    "monitoring.recorder",
    "monitoring.table",
    "operations.queued_inference.request",
    "options",
    "refusals",
    "sending.timeouts",
    "settings",
    "target",
    "upstream_errors",
]
IO = {"aiohttp", "asyncio", "boto3", "concurrent", "os", "pathlib", "socket", "subprocess", "threading", "time"}


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip(".")


@cache
def trees() -> dict[str, ast.Module]:
    return {module_of(file): ast.parse(file.read_text(encoding="utf-8")) for file in sorted(ROOT.rglob("*.py"))}


def imports(module: str) -> Iterator[tuple[str, str]]:
    """(module, name) of each import, anywhere in a module; the name is empty where a module itself is imported."""
    for node in ast.walk(trees()[module]):
        if isinstance(node, ast.Import):
            yield from ((each.name, "") for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            yield from ((node.module or "", each.name) for each in node.names)


def own_imports(module: str) -> set[str]:
    """The modules of this package that a module imports, but for what only a type checker reads."""
    found = set()
    for name, imported in imports(module):
        if name == NAME or name.startswith(f"{NAME}."):
            inner = name.removeprefix(NAME).lstrip(".")
            deeper = f"{inner}.{imported}".lstrip(".")
            found.add(deeper if deeper in trees() else inner)
    return found - {""}


def folder_of(module: str) -> str:
    return module.split(".")[0] if "." in module or module in FOLDERS else ""


FOLDERS = {file.parent.name for file in ROOT.glob("*/__init__.py")}


def test_nothing_imports_the_provider() -> None:
    assert [module for module in trees() if "provider" in own_imports(module) and module] == []


def test_operations_do_not_import_each_other() -> None:
    def operation(module: str) -> str:
        return module.split(".")[1] if module.startswith("operations.") else ""

    for module in trees():
        if operation(module):
            others = {operation(each) for each in own_imports(module)} - {"", "operation", operation(module)}
            assert not others, module


# Each folder, and the folders that it must not know.
@pytest.mark.parametrize(
    ("folder", "unknown"),
    [
        ("formats", {"operations", "sending", "commands", "local"}),
        ("aws", {"operations", "sending", "commands", "local", "formats", SEAMS}),
        (SEAMS, {"operations", "commands", "local"}),
        ("monitoring", {"operations", "sending", "commands", "local", "formats", "aws", SEAMS}),
        ("sending", {"operations", "commands", "local"}),
        ("operations", {"commands", "local"}),
        ("local", {"operations", "sending", "commands", "formats", SEAMS}),
    ],
)
def test_folders(folder: str, unknown: set[str]) -> None:
    for module in trees():
        if folder_of(module) == folder:
            known = {folder_of(each) for each in own_imports(module)}
            assert not known & unknown, module


def test_there_are_no_circles() -> None:
    seen: dict[str, str] = {}

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " → ".join((*way, module))
        if module not in seen:
            for each in sorted(own_imports(module) - {"", module}):
                visit(each, (*way, module))
            seen[module] = module

    for module in trees():
        if module:  # the package itself imports for type checkers alone
            visit(module, ())


@pytest.mark.parametrize("folder", ["aws", "local", "monitoring"])
def test_folders_without_litellm(folder: str) -> None:
    modules = [f"{NAME}.{module}" for module in trees() if folder_of(module) == folder]
    program = f"import sys, {', '.join(modules)}; sys.exit('litellm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


def test_litellms_names_are_public() -> None:
    """All others stand in ``litellm_seams/``, where they are looked up when they are used."""
    for module, tree in trees().items():
        allowed = {**PUBLIC, **NEEDED.get(module, {})}
        for name, imported in imports(module):
            if name.partition(".")[0] == "litellm":
                assert imported in allowed.get(name, set()) or (name, imported) == ("litellm", ""), f"{module}: {name}"
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "litellm":
                assert node.attr in PUBLIC["litellm"] or node.attr.endswith(("Error", "Timeout")), (module, node.attr)


def test_private_names_are_our_own() -> None:
    """What begins with an underscore, outside ``litellm_seams/``, is defined in this package."""
    defined = {*DOCUMENTED_ATTRIBUTES}
    for tree in trees().values():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                defined.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                defined.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                defined.add(node.id)
    for module, tree in trees().items():
        for node in ast.walk(tree):
            name = node.attr if isinstance(node, ast.Attribute) else ""
            if name.startswith("_") and not name.endswith("__"):
                assert name in defined or name in SAID.get(module, set()), (module, name)


def test_only_the_seams_look_names_up() -> None:
    users = {module for module in trees() if f"{SEAMS}.lookup" in own_imports(module)}
    assert {folder_of(module) for module in users} == {SEAMS}


def test_metrics_are_loaded_where_they_are_asked_for() -> None:
    """The package's front door loads the callback when it is first named, and that what publishes."""
    callback, publishers = f"{SEAMS}.metrics_callback", {"monitoring.prometheus", "monitoring.opentelemetry"}
    assert [module for module in trees() if module and callback in own_imports(module)] == []
    assert [module for module in trees() if own_imports(module) & publishers] == [callback]


def test_aiohttp_is_for_one_seam() -> None:
    users = {module for module in trees() for name, _ in imports(module) if name.partition(".")[0] == "aiohttp"}
    assert users == {f"{SEAMS}.aiohttp_post"}


@pytest.mark.parametrize("module", PURE)
def test_what_is_called_pure_does_no_io(module: str) -> None:
    assert not {name.partition(".")[0] for name, _ in imports(module)} & IO
    page = (ROOT.parent / "docs" / "how-it-works.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"| `{module.replace('.', '/')}.py`"))
    assert "| pure" in row


@pytest.mark.parametrize("module", [module for module in trees() if folder_of(module) == SEAMS and module != SEAMS])
def test_a_seam_begins_with_what_it_is_for(module: str) -> None:
    if module == f"{SEAMS}.lookup":
        return
    text = ast.get_docstring(trees()[module]) or ""
    for heading in ("What ", "Seen on: ", "Without ", "Needed until: "):
        assert any(line.startswith(heading) for line in text.splitlines()), f"{module}: no line begins with {heading!r}"
    until = text.partition("Needed until: ")[2]
    assert "tests/" in until, f"{module}: name the test"
    for path in (part for part in until.replace(",", " ").split() if part.startswith("tests/")):
        path, _, test = path.rstrip(".").partition("::")
        file = ROOT.parent / path
        assert file.exists(), path
        assert test in file.read_text(encoding="utf-8"), test
