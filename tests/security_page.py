"""`python -m tests.security_page`: the table of guards in docs/security.md, of the tests' markers.

A test that holds a promise is marked `@pytest.mark.promise(against, guard, file)`: the attack, what is done about it,
and the file that does it. Strings are read from the source, so a marker has literals alone.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "security.md"
HEADING = "\n## Guards\n"
INTRO = "Each row is the marker of its test; `python -m tests.security_page` writes this table.\n\n"
HEAD = "| against | guard | file | test |\n| -- | -- | -- | -- |\n"


@dataclass(frozen=True, slots=True, order=True)
class Promise:
    """One row: the attack, the guard, the file that has it, and the test that fails without it (file::name)."""

    file: str
    against: str
    guard: str
    test: str


def promises() -> list[Promise]:
    """Promises of all tests, by the file that keeps them."""
    return sorted(each for path in (ROOT / "tests").rglob("test_*.py") for each in _of(path))


def _of(path: Path) -> Iterator[Promise]:
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for each in node.decorator_list:
                if isinstance(each, ast.Call) and ast.unparse(each.func) == "pytest.mark.promise":
                    against, guard, file = map(ast.literal_eval, each.args)
                    yield Promise(file, against, guard, f"{path.relative_to(ROOT).as_posix()}::{node.name}")


def table() -> str:
    """The table as it belongs on the page."""
    return (
        INTRO
        + HEAD
        + "".join(f"| {each.against} | {each.guard} | `{each.file}` | `{each.test}` |\n" for each in promises())
    )


def with_table(page: str) -> str:
    """The page with the table of now."""
    before, heading, rest = page.partition(HEADING)
    _, following, after = rest.partition("\n## ")
    return f"{before}{heading}\n{table()}{following}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text("utf-8")), "utf-8")
