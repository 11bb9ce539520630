"""Progress in a terminal and elsewhere."""

import io

import pytest

from local.progress import Bar


class Terminal(io.StringIO):
    """Text that takes itself for a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_one_line_that_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    stream = Terminal()
    with Bar("Starting", 2, stream) as bar:
        bar.show("one")
        bar.advance("one")
        bar.advance("two")
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert "1/2 one" in text
    assert "2/2 done in" in text
    assert "█" * 24 in text


def test_a_terminal_line_is_never_wider_than_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    stream = Terminal()
    with Bar("Starting", 1, stream) as bar:
        bar.advance("x" * 100)
    assert max(len(line.replace("\x1b[2K", "")) for line in stream.getvalue().replace("\n", "").split("\r")) < 30


def test_elsewhere_a_few_plain_lines_come() -> None:
    stream = io.StringIO()
    with Bar("Making", 100, stream) as bar:
        bar.show("not shown")
        for step in range(120):  # more than announced
            bar.advance(f"step {step}")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[0] == "Making: 10/100 step 9"
    assert lines[-1].startswith("Making: done in")


def test_what_failed_is_not_called_done() -> None:
    stream = Terminal()
    with pytest.raises(ValueError, match="broken"), Bar("Making", 2, stream):
        raise ValueError("broken")
    assert "done" not in stream.getvalue()
    assert stream.getvalue().endswith("\n")
