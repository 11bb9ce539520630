"""Documents: prose wrapped at 100 columns, links that lead somewhere, a README of one screen and a half, an index."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\(([^)\s]+)\)")
WIDTH = 100
GENERATED = {"helm/imagegen/README.md"}  # of the comments of the chart's values: tests/deploy/readme.py


def pages() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],  # noqa: S607 - the git of PATH
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return sorted(set(listed.stdout.split()) - GENERATED)


@pytest.mark.parametrize("page", pages())
def test_prose_is_wrapped(page: str) -> None:
    assert wide_lines((ROOT / page).read_text("utf-8")) == []


@pytest.mark.parametrize("page", pages())
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    local = [link.partition("#")[0] for link in LINK.findall(text) if not re.match(r"[a-z]+:|#", link)]
    assert [link for link in local if not ((ROOT / page).parent / link).exists()] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 120


def test_the_index_names_every_page() -> None:
    named = set(LINK.findall((ROOT / "docs" / "README.md").read_text("utf-8")))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"} <= named


def test_the_site_has_every_page() -> None:
    named = set(re.findall(r"[\w/.-]+\.md", (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2]))
    assert named == {path.name for path in (ROOT / "docs").glob("*.md")} | {"adr/README.md"}


@pytest.mark.parametrize(
    ("text", "wide"),
    [
        ("word " * 30, True),
        ("| cell " * 30, False),
        ("```\n" + "code " * 30 + "\n```", False),
        ("see [a page](" + "x" * 120 + ")", False),
        ("- " + "word " * 30, True),
    ],
)
def test_what_counts_as_wide(text: str, wide: bool) -> None:
    assert bool(wide_lines(text)) is wide


def wide_lines(text: str) -> list[str]:
    """Return the lines of prose beyond WIDTH. Tables, code, and lines of one long word cannot be wrapped."""
    found, in_code = [], False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            in_code = not in_code
        if in_code or line.startswith(("|", "    ")) or len(line) <= WIDTH:
            continue
        if max(len(word) for word in line.split()) <= WIDTH - len("- [a page"):
            found.append(line)
    return found


def test_pages_that_code_names_exist() -> None:
    command = ["git", "grep", "-IhoE", r"\bdocs/[A-Za-z0-9_/-]+\.md\b", "--", "*.py", "*.proto", "*.yaml", "*.toml"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)  # noqa: S603 - git
    assert [page for page in sorted(set(found.stdout.split())) if not (ROOT / page).exists()] == []
