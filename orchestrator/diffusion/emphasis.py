"""Weights in a prompt: `(word)`, `[word]`, `(word:1.3)`, as the field writes them.

The notation is AUTOMATIC1111's, which ComfyUI, InvokeAI and most shared prompts follow.
"""

import re
from dataclasses import dataclass

ROUND, SQUARE = 1.1, 1 / 1.1
"""What a pair of brackets multiplies the weight of its text by."""
MAX_WEIGHT = 10.0
MAX_BRACKETS = 1000
"""Opening brackets of one prompt: more cannot be meant, and each costs the reader time."""
MAX_DEPTH = 32
"""Of brackets within each other."""
_MARK = re.compile(r"\\(?P<escaped>[()\[\]\\])|:\s*(?P<weight>[+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*\)|(?P<bracket>[()\[\]])")


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a prompt, whose tokens all have one weight: 1 changes nothing, 0 is as if it were not there."""

    text: str
    weight: float


def parse(prompt: str) -> tuple[Segment, ...]:
    r"""The prompt without its brackets, in segments of equal weight, in order.

    `(a)` multiplies the weight of a by 1.1, `[a]` divides it by 1.1, `(a:1.3)` multiplies it by 1.3; pairs nest. An
    opening bracket without its closing one reaches to the end; a closing one without its opening one is text. `\(`,
    `\)`, `\[`, `\]` and `\\` are the characters themselves.

    Raises:
        ValueError: there are more than MAX_BRACKETS, or more than MAX_DEPTH within each other, or a weight is not from
            0 to MAX_WEIGHT. The message continues a sentence that begins with the field's name.
    """
    if prompt.count("(") + prompt.count("[") > MAX_BRACKETS:
        raise ValueError(
            f"has more than {MAX_BRACKETS} opening brackets; each is a weight, write \\( for the character itself"
        )
    parts: list[tuple[str, float]] = []
    opened: list[tuple[str, int]] = []

    def close(start: int, factor: float) -> None:
        parts[start:] = [(text, weight * factor) for text, weight in parts[start:]]

    at = 0
    for mark in _MARK.finditer(prompt):
        parts.append((prompt[at : mark.start()], 1.0))
        at = mark.end()
        bracket, weight = mark["bracket"], mark["weight"]
        if mark["escaped"]:
            parts.append((mark["escaped"], 1.0))
        elif weight is not None and opened and opened[-1][0] == "(":
            close(opened.pop()[1], float(weight))
        elif bracket in {"(", "["}:
            if len(opened) == MAX_DEPTH:
                raise ValueError(f"nests brackets more than {MAX_DEPTH} deep; write \\( for the character itself")
            opened.append((bracket, len(parts)))
        elif bracket and opened and opened[-1][0] == {")": "(", "]": "["}[bracket]:
            close(opened.pop()[1], ROUND if bracket == ")" else SQUARE)
        else:
            parts.append((mark.group(), 1.0))
    parts.append((prompt[at:], 1.0))
    for bracket, start in opened:
        close(start, ROUND if bracket == "(" else SQUARE)
    return _joined(parts)


def _joined(parts: list[tuple[str, float]]) -> tuple[Segment, ...]:
    """Neighbours of equal weight as one segment, so that their words are read as a whole."""
    segments: list[Segment] = []
    for text, weight in parts:
        if not text:
            continue
        if not 0 <= weight <= MAX_WEIGHT:
            raise ValueError(
                f"gives a part of it the weight {weight:.4g}; weights are from 0 to {MAX_WEIGHT:g}, and \\( writes the "
                "character itself"
            )
        if segments and segments[-1].weight == weight:
            segments[-1] = Segment(segments[-1].text + text, weight)
        else:
            segments.append(Segment(text, weight))
    return tuple(segments)
