"""The linear map of latents to colours that previews are drawn with, measured on the checkpoint's own VAE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from model_tools.training import photographs

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

PHOTOGRAPHS = (*photographs.HELD_OUT, "chelsea.png")
SIDE = 256
"""Of the middle of each photograph, pixels."""


def fit_preview(encode: Callable[[Tensor], Tensor], factor: int) -> tuple[list[list[float]], list[float]]:
    """Least squares over four photographs: colours of areas of factor x factor pixels from the latents there.

    Args:
        encode: from pictures [1, 3, H, W] in [-1, 1] to latents as the denoiser has them.
        factor: pixels for each latent, along a side.

    Returns:
        A row of factors for each latent channel, and the bias; RGB in [-1, 1].
    """
    latents, colours = [], []
    for name in PHOTOGRAPHS:
        pixels = _middle(photographs.load(name))
        with torch.inference_mode():
            encoded = encode(torch.from_numpy(pixels.transpose(2, 0, 1)[None]))[0]
        latents.append(encoded.flatten(1).T.numpy())
        rows = SIDE // factor
        colours.append(pixels.reshape(rows, factor, rows, factor, 3).mean((1, 3)).reshape(-1, 3))
    known = np.concatenate(latents)
    known = np.concatenate([known, np.ones((len(known), 1), np.float32)], axis=1)
    solution = np.linalg.lstsq(known, np.concatenate(colours), rcond=None)[0].astype(np.float64).round(5).tolist()
    return solution[:-1], solution[-1]


def _middle(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    top, left = ((length - SIDE) // 2 for length in picture.shape[:2])
    return picture[top : top + SIDE, left : left + SIDE].astype(np.float32) / 127.5 - 1
