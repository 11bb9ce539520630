"""The demo: five prompts through REST, their pictures and a contact sheet.

The first two are the text-only requests of the API's own documentation, word for word, so their seeds are drawn by
the server. The others name their seeds and come out the same every time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from local import sheet
from local.errors import LocalError
from local.progress import Bar
from local.rest import RestClient
from local.settings import Settings
from local.stack import read_api_key

SECONDS = 300.0  # longest wait for one picture
_WOMAN = (
    "woman in a futuristic suit holding a gun in her hand, looking at the camera, cyberpunk art, neo-figurative, anime"
)


@dataclass(frozen=True)
class Shot:
    """One picture of the demo.

    Attributes:
        name: of its file, without the ending.
        width: pixels.
        height: pixels.
        generate: the block background.generate of the request.
    """

    name: str
    width: int
    height: int
    generate: Mapping[str, str | int]


SHOTS = (
    Shot("woman_realistic", 2048, 1024, {"description": _WOMAN}),
    Shot("woman_fantasy", 2048, 1024, {"description": _WOMAN, "model_type": "fantasy"}),
    Shot("apple", 1024, 1024, {"description": "red apple", "sample_num": 7}),
    Shot("rocket", 768, 1024, {"description": "rocket", "sample_num": 11, "model_type": "fantasy"}),
    Shot("cat", 1024, 768, {"description": "cat face", "sample_num": 3}),
)


def run(settings: Settings, folder: Path) -> None:
    """Make the demo's pictures with a stack that runs, write them and the sheet, and print a table.

    Args:
        settings: the stack.
        folder: where the pictures go; made if missing.

    Raises:
        LocalError: a request failed; with the server's message.
    """
    client = RestClient(settings.rest_url, read_api_key(settings))
    folder.mkdir(parents=True, exist_ok=True)
    answers, pictures = [], []
    with Bar("Drawing", len(SHOTS)) as bar:
        for shot in SHOTS:
            bar.show(shot.name)
            request = {"width": shot.width, "height": shot.height, "background": {"generate": dict(shot.generate)}}
            answer = client.make_picture(request, SECONDS)
            data = client.fetch(answer["result_url"])
            pictures.append(_decode(data, shot))
            answers.append(answer)
            (folder / f"{shot.name}.png").write_bytes(data)
            bar.advance(shot.name)
    captions = [
        f"{shot.generate.get('model_type', 'realistic')}, seed {answer.get('seed')}: {shot.generate['description']}"
        for shot, answer in zip(SHOTS, answers, strict=True)
    ]
    cv2.imwrite(str(folder / "contact_sheet.png"), sheet.draw(pictures, captions))
    print("\n".join(list_lines(SHOTS, answers)))
    print(f"The pictures are in {folder}; contact_sheet.png shows them all.")


def list_lines(shots: Sequence[Shot], answers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of a table: each picture's seed, steps and the seconds of its stages.

    Args:
        shots: what was asked.
        answers: what the gateway answered to each; its extra keys seed, steps and timings are shown.
    """
    stages = list(dict.fromkeys(stage for answer in answers for stage in answer.get("timings") or {}))
    rows = [["picture", "size", "seed", "steps", *(f"{stage} s" for stage in stages)]]
    for shot, answer in zip(shots, answers, strict=True):
        timings = answer.get("timings") or {}
        rows.append(
            [
                shot.name,
                f"{shot.width}x{shot.height}",
                str(answer.get("seed", "")),
                str(answer.get("steps", "")),
                *(f"{timings[stage]:.3f}" if stage in timings else "" for stage in stages),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _decode(data: bytes, shot: Shot) -> sheet.Pixels:
    """Return a picture's pixels, BGR.

    Raises:
        LocalError: it is no picture, or not of the size that was asked for.
    """
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None or picture.shape[:2] != (shot.height, shot.width):
        raise LocalError(f"{shot.name}: no picture of {shot.width} x {shot.height} came back")
    return np.asarray(picture, np.uint8)
