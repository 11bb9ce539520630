"""Every field of the documented JSON, one by one: what it sets in the proto, that it changes nothing, or is refused."""

from typing import Any

import pytest

from gateway.contract import blocks
from gateway.contract import request as contract
from imagegen.v1 import generation_pb2 as pb
from tests.unit.gateway.asking import MASK, URL, edited, from_picture

# Field: the adapter to try it with, a value, and the path that it sets.
SETS: dict[str, tuple[str, Any, str]] = {
    "url": ("face", "base64,QUJD", "face.image.data"),
    "width": ("face", 640, "size.width"),
    "height": ("img2img", "150%", "size.height_percent"),
    "min_length": ("control", 300, "size.min_length"),
    "padding": ("control2", "5%", "layout.padding_share"),
    "fit": ("upscale", "cover", "layout.fit"),
    "output_format": ("inpainting", "webp", "output.format"),
    "quality": ("face", 85, "output.quality"),
    "output_quality": ("face", 85, "output.quality"),
    "max_file_size": ("face", "1mb", "output.max_file_size"),
    "metadata": ("face", "prompt", "output.metadata"),
    "safe": ("face", True, "safety.enabled"),
    "generative_upscale": ("upscale", True, "upscale.image.url"),
    "upscale_strength": ("upscale", 9, "upscale.fidelity"),
    "background.generate": ("face", {"adapter_type": "control", "description": "a"}, "control.image.url"),
    "background.remove": ("face", "item", "background.remove"),
    "background.color": ("face", "hsv(0, 0%, 0%)", "background.color.rgba"),
    "background.replace": ("face", URL, "background.replace.url"),
    "background.generate.description": ("face", "a hen", "prompt"),
    "background.generate.additional_prompt": ("face", "in snow", "prompt"),
    "background.generate.negative_prompt": ("face", "people", "negative_prompt"),
    "background.generate.model_type": ("face", "fantasy", "family"),
    "background.generate.sample_num": ("face", 7, "seed"),
    "background.generate.adapter_type": ("face", "control2", "control.edges_only"),
    "background.generate.face_id": ("face", True, "face.face_only"),
    "background.generate.controlnet_conditioning_scale": ("control", 1, "control.edges.scale"),
    "background.generate.ip_image2": ("inpainting", MASK, "inpaint.mask.url"),
    "background.generate.strength": ("img2img", 0.4, "image_to_image.strength"),
    "background.generate.context_images": ("img2img", [URL], "image_to_image.references"),
    "background.generate.item_area_percentage": ("generate_background", 0.4, "generate_background.item_area"),
    "background.generate.color": ("generate_background", "red", "generate_background.color.rgba"),
    "print_size": ("face", "a6", "size.width"),
    "caption": ("face", {"url": URL}, "caption.image.url"),
    "enhancements": ("face", ["light"], "enhancements"),
    "imagegen": ("face", {"preview_interval": 3}, "preview_interval"),
    "target": ("generate_background", "storage://s/p", "output.target"),
}
NOT_IN_REQUEST = {"webhooks.complete", "webhooks.events"}
"""What is not in GenerateRequest: tests/unit/gateway/test_webhooks.py."""
# These act only with something that is not asked for here. A preset is put under the request before: test_presets.py.
SETS_NOTHING = {
    "background": {},
    "webhooks": {"started": "https://a.example"},
    "upscale_parameters": {"type": "v1"},
    "dpi": 72,
    "print_reorientation": False,
    "preset": "ecommerce",
    "background.prompt": {},
    "background.generate.avatar_generation_type": {},
    "clean_parameters": {"level": 0.5},
    "exposure_correction_parameters": {"level": 0.5},
    "denoise_parameters": {"type": "v2"},
    "deblur_parameters": {"type": "v1"},
    "light_parameters": {"type": "hdr_light", "level": 0.5},
    "color_parameters": {"type": "contrast"},
    "white_balance_parameters": {"level": 1},
    "face_enhance_parameters": {"type": "beautify"},
    "nsfw_parameters": {"threshold": 0.5},
}


def ask(adapter: str, field: str, value: object) -> pb.GenerateRequest:
    """A request with an adapter and one more field."""
    *blocks, name = field.split(".")
    if blocks == ["background", "generate"]:
        return from_picture(adapter, generate={name: value})
    if field == "background.generate":
        return edited(background={"generate": value})
    if blocks:
        return from_picture(adapter, **{blocks[0]: {name: value}})
    return from_picture(adapter, **{name: value})


def value_at(message: Any, path: str) -> object:
    """The value at a path; None if it is not set."""
    for name in path.split("."):
        if message.DESCRIPTOR.fields_by_name[name].is_repeated:
            return list(getattr(message, name)) or None
        if not message.HasField(name):
            return None
        message = getattr(message, name)
    return message


def test_the_tables_hold_every_field() -> None:
    documented = set(contract.ProcessRequest.model_fields)
    for block, model in (
        ("background", blocks.Background),
        ("background.generate", blocks.Generate),
        ("webhooks", blocks.Webhooks),
    ):
        documented |= {f"{block}.{name}" for name in model.model_fields}
    assert SETS.keys() | SETS_NOTHING.keys() | NOT_IN_REQUEST == documented


@pytest.mark.parametrize("field", SETS)
def test_a_field_sets_its_path(field: str) -> None:
    adapter, value, path = SETS[field]
    found = ask(adapter, field, value)
    assert value_at(found, path) is not None
    others = ask(adapter, "unheard_of", 1)
    if value_at(others, path) is not None and field not in {"generative_upscale", "background.generate.ip_image2"}:
        assert value_at(found, path) != value_at(others, path)


@pytest.mark.parametrize("field", SETS_NOTHING)
def test_a_field_of_what_is_off_sets_nothing(field: str) -> None:
    if "." not in field:
        assert edited(**{field: SETS_NOTHING[field]}) == edited()
