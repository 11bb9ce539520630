"""Adding a task touches the places that CONTRIBUTING.md names, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from orchestrator.tasks.run import TASKS

ROOT = Path(__file__).parents[2]
ROOMS = ("orchestrator", "gateway", "clients/python/src")
AMBIGUOUS = {"face", "control", "edit", "upscale"}
"""Names of tasks that other things have too; the other six show where a task is named."""


def names_in(tree: ast.Module) -> Iterator[str]:
    """Identifiers and texts of a module, without its docstrings."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
                yield name
            case ast.alias(name=name):
                yield name.rpartition(".")[2]
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Constant(value=str(text)) if id(node) not in docstrings:
                yield text


def files_that_name_tasks() -> set[str]:
    """All but each task's own file."""
    tasks = {str(task) for task in TASKS} - AMBIGUOUS
    spelled = {word for task in tasks for word in (task, task.upper(), task.title().replace("_", ""))}
    own = {f"orchestrator/tasks/{task}.py" for task in tasks}
    paths = (path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    found = {
        str(path.relative_to(ROOT)) for path in paths if spelled & set(names_in(ast.parse(path.read_text("utf-8"))))
    }
    return found - own


def test_a_task_is_named_where_contributing_says_and_nowhere_else() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    section = text.partition("**a task.**")[2].partition("\n**")[0]
    named = set(re.findall(r"`([\w/]+\.py)`", section))
    assert files_that_name_tasks() == named
