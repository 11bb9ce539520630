"""Weights in prompts, as the field writes them."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.diffusion.emphasis import MAX_BRACKETS, Segment, parse


@pytest.mark.parametrize(
    ("prompt", "segments"),
    [
        ("", []),
        ("a red house", [("a red house", 1)]),
        ("a (red) house", [("a ", 1), ("red", 1.1), (" house", 1)]),
        ("a [red] house", [("a ", 1), ("red", 1 / 1.1), (" house", 1)]),
        ("a (red:1.3) house", [("a ", 1), ("red", 1.3), (" house", 1)]),
        ("(red: .5 )", [("red", 0.5)]),
        ("(red:2.)(blue:0)", [("red", 2), ("blue", 0)]),
        ("((red))", [("red", 1.21)]),
        ("(a (red:2) house)", [("a ", 1.1), ("red", 2.2), (" house", 1.1)]),
        ("[(red)]", [("red", 1)]),
        (r"a \(red\) \[house\] \\", [(r"a (red) [house] " + "\\", 1)]),
        (r"(a \(b\):2)", [("a (b)", 2)]),
        ("an open (bracket", [("an open ", 1), ("bracket", 1.1)]),
        ("a closed) bracket]", [("a closed) bracket]", 1)]),
        ("(crossed [pair) of]", [("crossed ", 1.1), ("pair) of", 1)]),
        ("at 10:30) or 1:2", [("at 10:30) or 1:2", 1)]),
        ("[red:2)", [("red:2)", 1 / 1.1)]),
        (":1.5", [(":1.5", 1)]),
    ],
)
def test_brackets(prompt: str, segments: list[tuple[str, float]]) -> None:
    found = parse(prompt)
    assert [each.text for each in found] == [text for text, _ in segments]
    assert [each.weight for each in found] == pytest.approx([weight for _, weight in segments])


@pytest.mark.parametrize("prompt", ["(a:10.1)", "(a:-1)", "(a:1e9)(b:99)", "(" * 30 + "a", "((a:5):5)"])
def test_other_weights_are_refused(prompt: str) -> None:
    with pytest.raises(ValueError, match=r"the weight .*from 0 to 10"):
        parse(prompt)


def test_brackets_nest_so_far_and_no_deeper() -> None:
    pair = "([" * 16, "])" * 16
    assert parse(f"{pair[0]}a{pair[1]}")[0].text == "a"
    with pytest.raises(ValueError, match="more than 32 deep"):
        parse(f"({pair[0]}a{pair[1]})")


def test_too_many_brackets_are_refused() -> None:
    assert parse("(a) " * MAX_BRACKETS)
    with pytest.raises(ValueError, match="more than 1000 opening brackets"):
        parse("(a) " * (MAX_BRACKETS + 1))


@given(st.text(st.characters(exclude_characters="()[]\\")))
def test_what_has_no_brackets_stays_as_it_is(text: str) -> None:
    assert parse(text) == ((Segment(text, 1.0),) if text else ())


@pytest.mark.parametrize(
    "text",
    [
        ")" * 100_000,
        "\\(" * 50_000,
        "[" * 1000 + "]" * 99_000,
        "(" * 32 + "\\(" * 49_000 + ")" * 32,
        ":1)" * 33_000,
        "(a " * 1000,
    ],
)
def test_hostile_prompts_take_no_second(text: str) -> None:
    start = time.process_time()
    with contextlib.suppress(ValueError):
        parse(text)
    assert time.process_time() - start < 1
