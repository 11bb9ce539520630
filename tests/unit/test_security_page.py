"""docs/security.md: its table is that of the tests' markers, and every file and test that it names exists."""

import re
from pathlib import Path

from tests.security_page import PAGE, ROOT, promises, with_table


def test_the_table_is_that_of_the_markers() -> None:
    page = PAGE.read_text("utf-8")
    assert with_table(page) == page, "run python -m tests.security_page"
    assert len(promises()) > 40


def test_the_files_that_keep_promises_exist() -> None:
    assert [each.file for each in promises() if not (ROOT / each.file).is_file()] == []


def test_every_test_and_file_named_on_the_page_exists() -> None:
    """Wherever it is, and however short its path."""
    spans = re.findall(r"`([^`]+)`", PAGE.read_text("utf-8"))
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
