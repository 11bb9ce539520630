"""Photographs that come inside scikit-image's wheel, by what their licence and our measurements allow.

What a network is measured on is never trained on. The motorcycle (Middlebury stereo set) is not used: it has no free
licence.
"""

from pathlib import Path

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image

FOLDER = Path(skimage.__file__).parent / "data"
# No object stands out in these: bricks, grass, gravel (CC0 Textures, CC0), a sky (NASA, public domain).
TEXTURES = ("brick.png", "grass.png", "gravel.png", "hubble_deep_field.jpg")
# A cat (Stéfan van der Walt), a man with a camera (Lav Varshney), a retina (Häggström): all CC0.
OBJECTS = ("chelsea.png", "camera.png", "retina.jpg")
# A woman (NASA, public domain), a cup (Rachel Michetti, CC0), a rocket (SpaceX, public domain).
HELD_OUT = ("astronaut.png", "coffee.png", "rocket.jpg")
# In the matting network's contact sheet: it never saw any of them.
SHOWN = (*HELD_OUT, "chelsea.png")


def load(name: str) -> NDArray[np.uint8]:
    """uint8 RGB [H, W, 3]."""
    return np.asarray(Image.open(FOLDER / name).convert("RGB"), dtype=np.uint8)
