"""The arrays that rooms hand to each other; shapes and ranges are said where a function takes or returns one."""

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""Pictures, masks and mattes, 0 to 255: (H, W, 3) RGB, (H, W, 4) RGBA with straight alpha, or (H, W)."""
Floats = npt.NDArray[np.float32]
"""Tensors of networks, and pictures that are computed on."""
