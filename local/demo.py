"""The demo: the requests of shots.py through REST, their pictures and two contact sheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from local import sheet
from local.errors import LocalError
from local.progress import Bar
from local.rest import RestClient
from local.settings import Settings
from local.shots import ADAPTER_SHOTS, PICTURES, TEXT_SHOTS, Shot
from local.stack import read_api_key

SECONDS = 300.0  # longest wait for one picture


def run(
    settings: Settings,
    folder: Path,
    texts: Sequence[Shot] = TEXT_SHOTS,
    adapters: Sequence[Shot] = ADAPTER_SHOTS,
    family: str | None = None,
) -> None:
    """Make the demo's pictures with a stack that runs, write them and the sheets, and print a table.

    Args:
        settings: the stack.
        folder: where the pictures go; created if missing.
        texts: pictures from text.
        adapters: pictures from pictures.
        family: that draws all of them, and what it cannot do is left out; None for the shots' own.

    Raises:
        LocalError: a request failed, or the stack does not know the family; with the server's message.
    """
    client = RestClient(settings.rest_url, read_api_key(settings))
    if family:
        tasks = _tasks_of(client, family)
        chosen = [shot.drawn_by(family) for shot in adapters if shot.task is None or shot.task in tasks]
        if left_out := [shot.name for shot in adapters if shot.task is not None and shot.task not in tasks]:
            print(f"{family} does not serve {', '.join(left_out)}")
        texts, adapters = [shot.drawn_by(family) for shot in texts], chosen
    folder.mkdir(parents=True, exist_ok=True)
    shots = (*texts, *adapters)
    answers, pictures = [], []
    with Bar("Drawing", len(shots)) as bar:
        for shot in shots:
            bar.show(shot.name)
            answer = client.make_picture(shot.request, SECONDS)
            data = client.fetch(answer["result_url"])
            pictures.append(_decode(data, shot, answer))
            answers.append(answer)
            (folder / f"{shot.name}.png").write_bytes(data)
            bar.advance(shot.name)
    first = len(texts)
    captions = [
        f"{shot.family}, seed {answer['seed']}: {shot.prompt}" for shot, answer in zip(shots, answers, strict=True)
    ]
    cv2.imwrite(str(folder / "contact_sheet.png"), sheet.draw(pictures[:first], captions[:first]))
    cv2.imwrite(str(folder / "adapters.png"), sheet.draw(*_pairs(adapters, pictures[first:]), columns=4))
    print("\n".join(list_lines(shots, answers)))


def _tasks_of(client: RestClient, family: str) -> list[str]:
    """What a family of the running stack can do.

    Raises:
        LocalError: it has no such family.
    """
    families = {each["name"]: each["tasks"] for each in client.families()}
    if family not in families:
        raise LocalError(
            f"the stack that runs has no family {family}; it has {', '.join(families)} (`make down` and try again, if"
            " it was added since)"
        )
    return list(families[family])


def list_lines(shots: Sequence[Shot], answers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of a table: each picture's size, seed, steps and the seconds of its stages.

    Args:
        shots: what was asked.
        answers: what the gateway answered to each; its extra keys width, height, seed, steps and timings are shown.
    """
    stages = list(dict.fromkeys(stage for answer in answers for stage in answer.get("timings") or {}))
    rows = [["picture", "size", "seed", "steps", *(f"{stage} s" for stage in stages)]]
    for shot, answer in zip(shots, answers, strict=True):
        timings = answer.get("timings") or {}
        rows.append(
            [
                shot.name,
                f"{answer.get('width')}x{answer.get('height')}",
                str(answer.get("seed", "")),
                str(answer.get("steps", "")),
                *(f"{timings[stage]:.3f}" if stage in timings else "" for stage in stages),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _pairs(shots: Sequence[Shot], results: Sequence[sheet.Pixels]) -> tuple[list[sheet.Pixels], list[str]]:
    """What each adapter started from, followed by what it generated, with captions."""
    pictures, captions = [], []
    for shot, result in zip(shots, results, strict=True):
        source = cv2.imread(str(PICTURES / shot.picture), cv2.IMREAD_COLOR)
        if source is None:
            raise LocalError(f"{PICTURES / shot.picture} cannot be read")
        pictures += [np.asarray(source, np.uint8), result]
        title = shot.name.replace("_", " ")
        captions += [f"{title}: the picture sent", f"{title}: {shot.prompt or 'no prompt'}"]
    return pictures, captions


def _decode(data: bytes, shot: Shot, answer: Mapping[str, Any]) -> sheet.Pixels:
    """Return a picture's pixels, BGR; transparent parts as they are coloured below.

    Raises:
        LocalError: it is not a picture, or not of the size that the answer reports.
    """
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None or picture.shape[:2] != (answer["height"], answer["width"]):
        raise LocalError(f"{shot.name}: no picture of {answer['width']} x {answer['height']} came back")
    return np.asarray(picture, np.uint8)
