"""Errors of the orchestrator in the words of the documented JSON: its names of the fields, its sentences."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway import sentences
from gateway.contract.request import ProcessRequest
from gateway.translate import enhancements
from gateway.transport.idempotency import HEADER
from imagegen.v1 import generation_pb2 as pb

_GENERATE = "background.generate"
_URL, _MASK, _REPLACE = "url", f"{_GENERATE}.ip_image2", "background.replace"
_COLOR = f"{_GENERATE}.color"
_WEBHOOK, _CAPTION = "webhooks.complete", "caption.url"
_TARGET = "output.target"

# Paths of GenerateRequest, and the fields of the JSON that they come from. "*" means any task.
_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "prompt": f"{_GENERATE}.description",
        "negative_prompt": f"{_GENERATE}.negative_prompt",
        "family": f"{_GENERATE}.model_type",
        "seed": f"{_GENERATE}.sample_num",
        "*.image": _URL,
        "*.image.data": _URL,
        "*.image.url": _URL,
        "*.mask": _MASK,
        "*.mask.data": _MASK,
        "*.mask.url": _MASK,
        "*.edges.scale": f"{_GENERATE}.controlnet_conditioning_scale",
        "*.strength": f"{_GENERATE}.strength",
        "*.item_area": f"{_GENERATE}.item_area_percentage",
        "*.color": _COLOR,
        "*.face": _MASK,
        "*.face.data": _MASK,
        "*.face.url": _MASK,
        "*.references": f"{_GENERATE}.context_images",
        "*.references.data": f"{_GENERATE}.context_images",
        "*.references.url": f"{_GENERATE}.context_images",
        "*.enlargement": "upscale_parameters.type",
        "*.face_only": f"{_GENERATE}.face_id",
        "*.edges_only": f"{_GENERATE}.adapter_type",
        "*.fidelity": "upscale_strength",
        "size": "width, height:",
        "size.width": "width",
        "size.width_percent": "width",
        "size.height": "height",
        "size.height_percent": "height",
        "size.min_length": "min_length",
        "size.reorient": "print_reorientation",
        "layout.fit": "fit",
        "layout.gravity": "fit",
        "layout.padding_pixels": "padding",
        "layout.padding_share": "padding",
        "background.remove": "background.remove",
        "background.color": "background.color",
        "background.replace": _REPLACE,
        "background.replace.data": _REPLACE,
        "background.replace.url": _REPLACE,
        "caption": "caption",
        "caption.image": _CAPTION,
        "caption.image.data": _CAPTION,
        "caption.image.url": _CAPTION,
        "caption.horizontal": "caption.position",
        "caption.vertical": "caption.position",
        "caption.width_share": "caption.target_width_percentage",
        "caption.padding_share": "caption.padding",
        "caption.padding_pixels": "caption.padding",
        "caption.opacity": "caption.opacity",
        "preview_interval": "imagegen.preview_interval",
        "steps": "imagegen.steps",
        "sampler": "imagegen.sampler",
        "guidance_scale": "imagegen.guidance_scale",
        "prompt_weights": "imagegen.prompt_weights",
        "clip_skip": "imagegen.clip_skip",
        "guidance": "imagegen.guidance",
        "guidance.start": "imagegen.guidance.start",
        "guidance.end": "imagegen.guidance.end",
        "guidance.rescale": "imagegen.guidance.rescale",
        "guidance.method": "imagegen.guidance.method",
        "guidance.eta": "imagegen.guidance.eta",
        "guidance.norm_threshold": "imagegen.guidance.norm_threshold",
        "guidance.momentum": "imagegen.guidance.momentum",
        "priority": "imagegen.priority",
        "deadline_seconds": "imagegen.deadline_seconds",
        "n": "imagegen.n",
        "output.format": "output_format",
        "output.quality": "quality",
        "output.max_file_size": "max_file_size",
        "output.metadata": "metadata",
        "safety.threshold": "nsfw_parameters.threshold",
        "safety.replacement": "nsfw_parameters.nsfw_image_url",
        "safety.replacement.data": "nsfw_parameters.nsfw_image_url",
        "safety.replacement.url": "nsfw_parameters.nsfw_image_url",
        _TARGET: "target",
        "output.dpi": "dpi",
        "webhook.url": _WEBHOOK,
        "webhook.events": "webhooks.events",
        "webhook.data": _WEBHOOK,
        "request_id": HEADER,
    }
)
# Repeated, and so with a number in the path.
_ENHANCEMENT = re.compile(r"enhancements(?:\[(\d{1,3})\])?(?:\.([a-z]+))?")
_NUMBER = re.compile(r"\[\d{1,3}\]")
_PARAMETERS: Mapping[str | None, str] = MappingProxyType(
    {"method": "type", "level": "level", "smoothing": "smoothing_level"}
)
_TASKS = frozenset(field.name for field in pb.GenerateRequest.DESCRIPTOR.oneofs_by_name["task"].fields)


@dataclass(frozen=True, slots=True)
class Names:
    """How one client names things.

    Attributes:
        from_picture: it sent a picture.
        quality: the name that it has for quality.
        picture: the name that it has for its picture.
        enhancements: what it asks for, in its order.
    """

    from_picture: bool = False
    quality: str = "quality"
    picture: str = "url"
    enhancements: tuple[str, ...] = ()

    @classmethod
    def of(cls, request: ProcessRequest) -> "Names":
        """The names that a request uses."""
        alias = "quality" if request.output_quality is None else "output_quality"
        wanted = tuple(enhancements.names(request))
        return cls(request.has_picture, alias, request.picture_field, wanted)

    def field(self, path: str) -> str:
        """Name the field of the JSON that a path of the proto request comes from; the path itself if there is none."""
        path = path.removeprefix("request.")
        if re.match(r"loras\b", path):
            return f"imagegen.{path}"
        if found := _ENHANCEMENT.fullmatch(path):
            return self._enhancement(found[1], found[2])
        field = _FIELDS.get(_key(path), path)
        return {"quality": self.quality, _URL: self.picture}.get(field, field)

    def sentence(self, violations: Iterable[pb.Violation]) -> str:
        """Put violations into one message; documented sentences come first."""
        said = dict.fromkeys(self._words(each) for each in violations)
        return "; ".join(words for words, _ in sorted(said, key=lambda each: not each[1]))

    def _enhancement(self, number: str | None, part: str | None) -> str:
        """A field of the enhancement of that number, in the block of its name."""
        if part not in _PARAMETERS or number is None or int(number) >= len(self.enhancements):
            return "enhancements"
        return f"{self.enhancements[int(number)]}_parameters.{_PARAMETERS[part]}"

    def _words(self, violation: pb.Violation) -> tuple[str, bool]:
        """One violation as the client reads it, and whether a documented sentence begins it."""
        path = violation.field.removeprefix("request.")
        described = f"{self.field(path)} {violation.description}"
        if violation.reason == pb.VIOLATION_REASON_TOO_MANY_PIXELS:
            return (_above(violation.limits), True) if self.from_picture else (described, False)
        sentence = sentences.of(violation.reason, is_target=path == _TARGET)
        return (f"{sentence} {described}", True) if sentence else (described, False)


def _key(path: str) -> str:
    """A path as _FIELDS has it: without numbers of repeated fields."""
    head, dot, rest = _NUMBER.sub("", path).partition(".")
    return f"*.{rest}" if dot and head in _TASKS else path


def _above(limits: Mapping[str, float]) -> str:
    """The documented sentence about a size that is too large: with the side, or the side of the largest square."""
    squares = [math.isqrt(int(limits["max_pixels"]))] if "max_pixels" in limits else []
    sides = [int(limits["maximum"])] if "maximum" in limits else []
    limit = min(sides + squares)
    return sentences.TOO_LARGE.format(max_width=limit, max_height=limit)
