"""Errors of the orchestrator in the words of the documented JSON: its names of the fields, its sentences."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway import enhancements
from gateway.contract import ProcessRequest
from gateway.idempotency import HEADER
from imagegen.v1 import generation_pb2 as pb

_GENERATE = "background.generate"
_URL, _MASK, _REPLACE = "url", f"{_GENERATE}.ip_image2", "background.replace"
_COLOR = f"{_GENERATE}.color"
_WEBHOOK, _CAPTION = "webhooks.complete", "caption.url"

# Paths of GenerateRequest, and the fields of the JSON that they come from. "*" stands for any task.
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
        "output.format": "output_format",
        "output.quality": "quality",
        "output.max_file_size": "max_file_size",
        "output.metadata": "metadata",
        "output.target": "target",
        "output.dpi": "dpi",
        "webhook.url": _WEBHOOK,
        "webhook.data": _WEBHOOK,
        "request_id": HEADER,
    }
)
# Repeated, and so with a number in the path.
_ENHANCEMENT = re.compile(r"enhancements(?:\[(\d{1,3})\])?(?:\.([a-z]+))?")
_PARAMETERS: Mapping[str | None, str] = MappingProxyType(
    {"method": "type", "level": "level", "smoothing": "smoothing_level"}
)
_TASKS = frozenset(field.name for field in pb.GenerateRequest.DESCRIPTOR.oneofs_by_name["task"].fields)

# A failed job tells its violations as one text: "field: description; field: description".
_VIOLATION = re.compile(r"(?:^|; )([a-z_]+(?:\[\d{1,3}\])?(?:\.[a-z_]+){0,3}): ")

# How descriptions begin that are sentences; the others go on where the field's name ends: "must be", "has", "is".
_SENTENCES = ("no ", "the ", "there ")

# The sentences that the documents have; the first is how orchestrator/imaging begins its own about such files.
_UNIDENTIFIED = "Unidentified image"
# What the orchestrator says of sizes: of one side, of an area, and of a size that it found from the picture.
_TOO_LONG = re.compile(r"must be from \d+ to (\d+) pixels, not (\d+)")
_TOO_LARGE = re.compile(r"exceeds the limit of (\d+) pixels")
_ABOVE = re.compile(r"cannot be above (\d+) pixels on a side and (\d+) in all")


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
        if found := _ENHANCEMENT.fullmatch(path):
            return self._enhancement(found[1], found[2])
        field = _FIELDS.get(_key(path), path)
        return {"quality": self.quality, _URL: self.picture}.get(field, field)

    def sentence(self, violations: Iterable[tuple[str, str]]) -> str:
        """Put violations, each a path and a description, into one message; documented sentences stand first."""
        said = dict.fromkeys(self._words(path, description) for path, description in violations)
        return "; ".join(sorted(said, key=lambda words: not words.startswith((_UNIDENTIFIED, "Image cannot"))))

    def job_message(self, message: str) -> str:
        """The same for the message of a failed job, which may as well be a sentence without a field."""
        found = [match for match in _VIOLATION.finditer(message) if _is_known(match[1])]
        if not found or found[0].start() != 0:
            return message
        ends = [match.start() for match in found[1:]] + [len(message)]
        return self.sentence((match[1], message[match.end() : end]) for match, end in zip(found, ends, strict=True))

    def _enhancement(self, number: str | None, part: str | None) -> str:
        """A field of the enhancement of that number, in the block that bears its name."""
        if part not in _PARAMETERS or number is None or int(number) >= len(self.enhancements):
            return "enhancements"
        return f"{self.enhancements[int(number)]}_parameters.{_PARAMETERS[part]}"

    def _words(self, path: str, description: str) -> str:
        """One violation as the client reads it."""
        field = self.field(path)
        if description.startswith(_UNIDENTIFIED):
            return f"{_UNIDENTIFIED} ({field}){description.removeprefix(_UNIDENTIFIED)}"
        about_size = path.removeprefix("request.").startswith(("size", "layout.fit"))
        limit = _limit(description) if self.from_picture and about_size else None
        if limit is not None:
            return f"Image cannot be upscaled above {limit} x {limit} pixels limit."
        return f"{field}{': ' if description.startswith(_SENTENCES) else ' '}{description}"


def _is_known(path: str) -> bool:
    return _key(path) in _FIELDS or _ENHANCEMENT.fullmatch(path) is not None


def _key(path: str) -> str:
    """A path as _FIELDS has it."""
    head, dot, rest = path.partition(".")
    return f"*.{rest}" if dot and head in _TASKS else path


def _limit(description: str) -> int | None:
    """The side that a size exceeds, or the side of the largest square; None where it exceeds none."""
    if found := _TOO_LONG.search(description):
        return int(found[1]) if int(found[2]) > int(found[1]) else None
    if found := _ABOVE.search(description):
        return min(int(found[1]), math.isqrt(int(found[2])))
    found = _TOO_LARGE.search(description)
    return math.isqrt(int(found[1])) if found else None
