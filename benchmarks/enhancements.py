"""`python -m benchmarks.enhancements`: what each classical enhancement does to a degraded photograph.

Writes docs/enhancements.jpg, the pictures side by side, and docs/enhancements.md, their distance to the original (PSNR)
and the time that each takes.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from orchestrator.params import Enhancement, EnhancementKind, EnhancementMethod
from orchestrator.tasks.enhance import enhance

Pixels = npt.NDArray[np.uint8]
Worsen = Callable[[Pixels], Pixels]

ROOT = Path(__file__).resolve().parent.parent
CELL, CAPTION = 240, 22
MEGAPIXELS = 12
HEAD = """# Enhancements, measured

`python -m benchmarks.enhancements` degrades a photograph in a known way, enhances it by one way at level 1, and
compares with the original. PSNR says how near it comes; light and colour are not meant to come back to an original, so
for them only the pictures speak. Time is for {megapixels} megapixels on this machine's two cores.

![the degraded picture, and the enhanced one](enhancements.jpg)

| enhancement | type | degraded by | PSNR before, dB | PSNR after, dB | s |
|---|---|---|---:|---:|---:|
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One enhancement, and what is put before it."""

    picture: str
    worsened: str
    worsen: Worsen
    kind: EnhancementKind
    method: EnhancementMethod | None = None
    restores: bool = True


def noisy(picture: Pixels) -> Pixels:
    """Gaussian noise of 20 grey levels."""
    grain = np.random.default_rng(0).normal(0, 20, picture.shape)
    return np.clip(picture + grain, 0, 255).astype(np.uint8)


def jpeg(picture: Pixels) -> Pixels:
    """JPEG of quality 12."""
    file = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 12])[1]
    return np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), np.uint8)


def dark(picture: Pixels) -> Pixels:
    """Gamma 1.8."""
    return np.rint(255 * (picture / 255) ** 1.8).astype(np.uint8)


def warm(picture: Pixels) -> Pixels:
    """Red at 1.2, green as it is, blue at 0.65 of it."""
    return np.asarray(np.rint(np.clip(picture * np.array([1.2, 1.0, 0.65]), 0, 255)), np.uint8)


def blurred(picture: Pixels) -> Pixels:
    """A Gauss of 1.5 pixels."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.5), np.uint8)


def untouched(picture: Pixels) -> Pixels:
    """As it is."""
    return picture


_K, _M = EnhancementKind, EnhancementMethod
ROWS = (
    Row("astronaut", "noise, 20 levels", noisy, _K.DENOISE, _M.V1),
    Row("astronaut", "noise, 20 levels", noisy, _K.DENOISE, _M.V2),
    Row("astronaut", "JPEG, quality 12", jpeg, _K.CLEAN),
    Row("astronaut", "blur, 1.5 pixels", blurred, _K.DEBLUR, _M.V1),
    Row("astronaut", "blur, 1.5 pixels", blurred, _K.DEBLUR, _M.V2),
    Row("chelsea", "gamma 1.8", dark, _K.EXPOSURE_CORRECTION),
    Row("astronaut", "warm light", warm, _K.WHITE_BALANCE),
    *(Row("rocket", "nothing", untouched, _K.LIGHT, method, restores=False) for method in (_M.CONTRAST, _M.HDR_LIGHT)),
    Row("rocket", "nothing", untouched, _K.LIGHT, _M.HDR_LIGHT_ADVANCED, restores=False),
    *(Row("rocket", "nothing", untouched, _K.COLOR, method, restores=False) for method in (_M.CONTRAST, _M.HDR_LIGHT)),
    Row("rocket", "nothing", untouched, _K.COLOR, _M.HDR_LIGHT_ADVANCED, restores=False),
)


def main() -> None:
    """Measure all, and write both files."""
    lines, cells = [], []
    for row in ROWS:
        original = read(row.picture)
        worse = row.worsen(original)
        better = run(worse, row)
        large = cv2.resize(worse, (4000, MEGAPIXELS * 250), interpolation=cv2.INTER_CUBIC)
        start = time.perf_counter()
        run(np.asarray(large, np.uint8), row)
        seconds = time.perf_counter() - start
        numbers = [f"{psnr(each, original):.1f}" if row.restores else "" for each in (worse, better)]
        lines.append(f"| {row.kind} | {row.method or ''} | {row.worsened} | {' | '.join(numbers)} | {seconds:.2f} |")
        cells.append(np.hstack([cell(worse, row.worsened), cell(better, f"{row.kind} {row.method or ''}")]))
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % 3)
    sheet = np.vstack([np.hstack(cells[index : index + 3]) for index in range(0, len(cells), 3)])
    cv2.imwrite(str(ROOT / "docs" / "enhancements.jpg"), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    text = HEAD.format(megapixels=MEGAPIXELS) + "\n".join(lines) + "\n"
    (ROOT / "docs" / "enhancements.md").write_text(text, "utf-8")
    print(text)


def read(name: str) -> Pixels:
    """A photograph of the demo, RGB."""
    found = cv2.imread(str(ROOT / "local" / "pictures" / f"{name}.jpg"))
    if found is None:
        raise FileNotFoundError(name)
    return np.asarray(found[..., ::-1], np.uint8)


def run(picture: Pixels, row: Row) -> Pixels:
    """The enhanced picture."""
    return asyncio.run(enhance(picture, [Enhancement(kind=row.kind, method=row.method, level=1.0)]))


def psnr(one: Pixels, other: Pixels) -> float:
    """Decibels."""
    return float(10 * np.log10(255**2 / np.mean((one.astype(np.float64) - other) ** 2)))


def cell(picture: Pixels, words: str) -> Pixels:
    """The middle of a picture under a line of words."""
    height, width = picture.shape[:2]
    side = min(height, width, 300)
    top, left = (height - side) // 3, (width - side) // 2
    shown = cv2.resize(picture[top : top + side, left : left + side], (CELL, CELL), interpolation=cv2.INTER_AREA)
    framed = np.full((CELL + CAPTION, CELL + 4, 3), 255, np.uint8)
    framed[CAPTION:, :CELL] = shown
    cv2.putText(framed, words, (2, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (30, 30, 30), 1, cv2.LINE_AA)
    return framed


if __name__ == "__main__":
    main()
