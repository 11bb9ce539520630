"""What the demo asks for: the REST requests of its pictures, as data.

The text-only requests that come first are those of the API's own documentation, word for word, so the server draws
their seeds. The others name their seeds and come out the same every time.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

PICTURES = Path(__file__).resolve().parent / "pictures"
"""Photographs and drawings of the demo; NOTICE.md has their licences."""

TASKS = {
    "generate_background": "generate_background",
    "face": "face",
    "control": "control",
    "control2": "control",
    "inpainting": "inpaint",
    "img2img": "image_to_image",
}
"""The schema's tasks by the documented adapters."""


@dataclass(frozen=True)
class Shot:
    """One picture of the demo.

    Attributes:
        name: of its file, without the ending; also shown, with "_" as a space.
        about: the fields of the request without its pictures.
        picture: file of PICTURES to start from; empty for none.
        mask: file of PICTURES, background.generate.ip_image2; empty for none.
    """

    name: str
    about: Mapping[str, Any] = field(default_factory=dict)
    picture: str = ""
    mask: str = ""

    @property
    def request(self) -> dict[str, Any]:
        """The documented JSON, its pictures inside as base64."""
        request = dict(self.about)
        if self.picture:
            request["url"] = _as_base64(self.picture)
        if self.mask:
            background = request["background"]
            generate = background["generate"] | {"ip_image2": _as_base64(self.mask)}
            request["background"] = background | {"generate": generate}
        return request

    @property
    def family(self) -> str:
        """The model family that draws it."""
        generate = self.about.get("background", {}).get("generate", {})
        return str(generate.get("model_type", "realistic"))

    @property
    def task(self) -> str | None:
        """The task that its family must serve, by the schema's names; None where no family is named."""
        generate = self.about.get("background", {}).get("generate")
        if generate is None:
            return None
        if "fit" in self.about:
            return "outpaint"
        return TASKS.get(str(generate.get("adapter_type", "")), "text_to_image")

    def drawn_by(self, family: str) -> Shot:
        """The same, drawn by another family; as it is where no family draws it."""
        if self.task is None:
            return self
        block = self.about["background"]
        generate = {**block["generate"], "model_type": family}
        return replace(self, about={**self.about, "background": {**block, "generate": generate}})

    @property
    def prompt(self) -> str:
        """The description; empty where there is none."""
        return str(self.about.get("background", {}).get("generate", {}).get("description", ""))


def _as_base64(name: str) -> str:
    return "base64," + base64.b64encode((PICTURES / name).read_bytes()).decode()


def _text(name: str, width: int, height: int, description: str, **generate: str | int) -> Shot:
    """A picture from text."""
    block = {"generate": {"description": description, **generate}}
    return Shot(name, {"width": width, "height": height, "background": block})


def _adapter(name: str, picture: str, adapter: str, description: str, *, mask: str = "", **more: Any) -> Shot:  # noqa: ANN401 -- JSON
    """A picture from a picture; `more` are fields of background.generate, and in `top` fields next to background."""
    top = more.pop("top", {})
    block = {"generate": {"description": description, "adapter_type": adapter, "sample_num": 7, **more}}
    return Shot(name, {"background": block, **top}, picture, mask)


_WOMAN = (
    "woman in a futuristic suit holding a gun in her hand, looking at the camera, cyberpunk art, neo-figurative, anime"
)
_SQUARE = {"width": 1024, "height": 1024}

TEXT_SHOTS = (
    _text("woman_realistic", 2048, 1024, _WOMAN),
    _text("woman_fantasy", 2048, 1024, _WOMAN, model_type="fantasy"),
    _text("apple", 1024, 1024, "red apple", sample_num=7),
    _text("rocket", 768, 1024, "rocket", sample_num=11, model_type="fantasy"),
    _text("cat", 1024, 768, "cat face", sample_num=3),
)

ADAPTER_SHOTS = (
    _adapter("generate_background", "coffee.jpg", "generate_background", "item on the beach", top=_SQUARE),
    _adapter("face", "astronaut.jpg", "face", "astronaut", top=_SQUARE),
    _adapter("face_id", "astronaut.jpg", "face", "person with sunglasses", face_id=True, top=_SQUARE),
    _adapter("control", "astronaut.jpg", "control", "model in the room"),
    _adapter("control2_dark_on_light", "apple_drawing.png", "control2", "red apple", controlnet_conditioning_scale=1.0),
    _adapter(
        "control2_light_on_dark",
        "fish_drawing.png",
        "control2",
        "tropical fish",
        controlnet_conditioning_scale=1.0,
        model_type="fantasy",
    ),
    _adapter("inpainting", "chelsea.jpg", "inpainting", "fox", mask="chelsea_mask.png"),
    _adapter(
        "outpainting",
        "chelsea.jpg",
        "upscale",
        "cat",
        top={"width": 768, "height": 512, "fit": {"canvas": "outpainting"}},
    ),
    _adapter("img2img", "rocket.jpg", "img2img", "rocket", strength=0.5),
    Shot("generative_upscale", {"width": 1200, "generative_upscale": True}, "chelsea.jpg"),
    Shot("remove_background", {"background": {"remove": "auto", "color": "#ffd54f"}}, "coffee.jpg"),
    Shot(
        "face_enhance",
        {"enhancements": ["face_enhance"], "face_enhance_parameters": {"type": "beautify", "level": 0.4}},
        "astronaut.jpg",
    ),
    Shot(
        "hdr_light_advanced",
        {"enhancements": ["light"], "light_parameters": {"type": "hdr_light_advanced"}},
        "chelsea.jpg",
    ),
    Shot("preset_ecommerce", {"preset": "ecommerce", "width": 600, "padding": "5%"}, "coffee.jpg"),
    Shot("crop_to_content", {"width": 400, "height": 400, "fit": {"crop": "content"}}, "rocket.jpg"),
)
