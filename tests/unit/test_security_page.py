"""docs/security.md: the guards that it names are there, and so are their tests."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\|[^|]+\|[^|]+\| `([^`|]+)` \| `([^`|]+)::([^`|]+)` \|$", re.MULTILINE)


def guards() -> list[tuple[str, str, str]]:
    """(file, test's file, test) of each row of the table of guards."""
    page = (ROOT / "docs/security.md").read_text("utf-8")
    section = page.partition("\n## Guards\n")[2].partition("\n## ")[0]
    rows = ROW.findall(section)
    lines = [line for line in section.splitlines() if line.startswith("|")]
    assert len(rows) == len(lines) - 2, "a row has another form"  # the head and the line under it
    return rows


def test_there_are_guards() -> None:
    assert len(guards()) > 25


@pytest.mark.parametrize(("file", "test_file", "test"), guards())
def test_a_guard_and_its_test_exist(file: str, test_file: str, test: str) -> None:
    assert (ROOT / file).is_file()
    tree = ast.parse((ROOT / test_file).read_text("utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert test in functions


def test_every_test_and_file_named_on_the_page_exists() -> None:
    """Wherever it is, and however short its path."""
    page = (ROOT / "docs/security.md").read_text("utf-8")
    spans = re.findall(r"`([^`]+)`", page)
    paths = [
        str(path)
        for room in ("tests", "common", "orchestrator", "gateway", "local")
        for path in (ROOT / room).rglob("*.py")
    ]
    functions = {name for path in paths for name in re.findall(r"def (test_\w+)", Path(path).read_text("utf-8"))}
    for span in spans:
        file, _, test = span.rpartition("::") if "::" in span or not span.endswith(".py") else (span, "", "")
        if file.endswith(".py"):
            assert any(path.endswith(f"/{file}") for path in paths), f"{file} is not there"
        if test.startswith("test_"):
            assert test in functions, f"{test} is not there"
