"""The pictures of docs/starter: the contact sheet and the loss curves."""

import csv
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from model_tools.training.paths import Workspace

mpl.use("Agg")
from matplotlib import pyplot as plt

COLUMNS = 8
TEXT_HEIGHT = 18
GAP = 6


def draw_sheet(labels: list[str], left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Image.Image:
    """Pairs of pictures (realistic, fantasy) under their prompts, eight pairs a row."""
    side = left.shape[1]
    width, height = 2 * side + GAP, side + TEXT_HEIGHT + GAP
    rows = -(-len(labels) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width + GAP, rows * height + GAP), "#e4e4e4")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for place, label in enumerate(labels):
        x, y = GAP + place % COLUMNS * width, GAP + place // COLUMNS * height
        pen.text((x + 2, y), label, fill="black", font=font)
        sheet.paste(Image.fromarray(left[place]), (x, y + TEXT_HEIGHT))
        sheet.paste(Image.fromarray(right[place]), (x + side, y + TEXT_HEIGHT))
    return sheet


def draw_adapters(groups: list[list[NDArray[np.uint8]]], scales: tuple[float, ...]) -> Image.Image:
    """Groups of columns: what steers (grey or RGB), then the results at each scale; a picture to a row."""
    side = groups[0][1].shape[1]
    columns, rows = len(scales) + 1, max(len(group[0]) for group in groups)
    width = columns * side + 3 * GAP
    sheet = Image.new("RGB", (len(groups) * width, rows * (side + GAP) + TEXT_HEIGHT + GAP), "#e4e4e4")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for group, columns_of in enumerate(groups):
        for column, pictures in enumerate(columns_of):
            x = GAP + group * width + column * side
            pen.text(
                (x + 2, 2), "steered by" if column == 0 else f"scale {scales[column - 1]:g}", fill="black", font=font
            )
            for row, picture in enumerate(pictures):
                sheet.paste(Image.fromarray(picture).convert("RGB"), (x, TEXT_HEIGHT + GAP + row * (side + GAP)))
    return sheet


def read_log(path: Path) -> dict[str, list[float]]:
    """Columns of a training's CSV; empty where there is none."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {key: [float(row[key] or "nan") for row in rows] for key in (rows[0] if rows else {})}


CURVES = {
    "decoder": ("psnr",),
    "draft": ("right",),
    "renderer": ("renderer",),
    "unet": ("loss",),
    "adapters": ("control", "image", "alike", "v"),
}


def draw_curves(workspace: Workspace, path: Path) -> None:
    """Running means of losses, PSNR and shares of right readings over the minutes of each training that has a log."""
    logs = {stage: columns for stage in CURVES if (columns := read_log(workspace.log(stage)))}
    figure, axes = plt.subplots(1, max(1, len(logs)), figsize=(3.2 * max(2, len(logs)), 3.2), squeeze=False)
    for axis, (stage, columns) in zip(axes[0], logs.items(), strict=False):
        for key in CURVES[stage]:
            if key in columns:
                axis.plot([seconds / 60 for seconds in columns["seconds"]], columns[key], ".-", label=key)
                axis.legend()
        axis.set(title=stage, xlabel="minutes", yscale="log" if stage == "adapters" else "linear")
        axis.grid(visible=True, alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)
