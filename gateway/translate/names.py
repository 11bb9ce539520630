"""Errors of the orchestrator in the words of the documented JSON: its names of the fields, its sentences."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from gateway import sentences
from gateway.contract.request import ProcessRequest
from gateway.translate import enhancements
from gateway.transport.idempotency import HEADER
from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2

_GENERATE = "background.generate"
_PROMPT, _MORE_PROMPT, _CONTEXT = (
    f"{_GENERATE}.{name}" for name in ("description", "additional_prompt", "context_images")
)
_URL, _MASK, _REPLACE = "url", f"{_GENERATE}.ip_image2", "background.replace"
_THRESHOLD, _STAND_IN = "nsfw_parameters.threshold", "nsfw_parameters.nsfw_image_url"
_SIDES = "width, height:"
_COLOR = f"{_GENERATE}.color"
_WEBHOOK, _CAPTION = "webhooks.complete", "caption.url"
_TARGET = "output.target"
REFERENCE, MAX_REFERENCES = "references[{}]", 3
"""In sent_as, the pictures that follow the one that a task starts from: the JSON has no one name for them."""
TEXT_TO_IMAGE = "text_to_image"
"""Task of the gRPC schema that starts from no picture."""

# Paths of GenerateRequest, and the fields of the JSON that they come from. "*" means any task.
_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "prompt": _PROMPT,
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
        "*.references": _CONTEXT,
        "*.references.data": _CONTEXT,
        "*.references.url": _CONTEXT,
        "*.enlargement": "upscale_parameters.type",
        "*.face_only": f"{_GENERATE}.face_id",
        "*.edges_only": f"{_GENERATE}.adapter_type",
        "*.fidelity": "upscale_strength",
        "size": _SIDES,
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
        "skip_tolerance": "imagegen.skip_tolerance",
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
        "safety.threshold": _THRESHOLD,
        "safety.replacement": _STAND_IN,
        "safety.replacement.data": _STAND_IN,
        "safety.replacement.url": _STAND_IN,
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
_REFERENCE = re.compile(r"\w+\.references\[(\d{1,3})\](?:\.\w+)?")
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
        sent_as: fields of the documented JSON that it sent under another name, in another field or as a file.
        prompt: the fields that its prompt was joined from, with their lengths in characters.
        enhancements: what it asks for, in its order.
    """

    from_picture: bool = False
    sent_as: Mapping[str, str] = field(default_factory=dict)
    prompt: tuple[tuple[str, int], ...] = ()
    enhancements: tuple[str, ...] = ()

    @classmethod
    def of(cls, request: ProcessRequest, sent_as: Mapping[str, str] | None = None) -> "Names":
        """The names that a request uses; `sent_as` has those that the request itself does not show."""
        own: dict[str, str] = {}
        if request.picture_field != _URL:
            own[_URL] = request.picture_field
        if request.output_quality is not None:
            own["quality"] = "output_quality"
        if request.print_size is not None:
            own |= dict.fromkeys(("width", "height", _SIDES), "print_size")
        safety = request.nsfw_parameters
        if safety is not None:
            if safety.threshold is None and safety.thresold is not None:
                own[_THRESHOLD] = "nsfw_parameters.thresold"
            if safety.nsfw_image_url is None and safety.image_url is not None:
                own[_STAND_IN] = "nsfw_parameters.image_url"
        if request.starts_from_context:
            own |= {REFERENCE.format(n): f"{_CONTEXT}[{n + 1}]" for n in range(MAX_REFERENCES)}
        generate = request.background.generate if request.background else None
        texts = (generate.description, generate.additional_prompt) if generate else (None, None)
        prompt = tuple((name, len(text)) for name, text in zip((_PROMPT, _MORE_PROMPT), texts, strict=True) if text)
        return cls(request.has_picture, {**own, **(sent_as or {})}, prompt, tuple(enhancements.names(request)))

    @classmethod
    def of_job(cls, job: jobs_pb2.Job) -> "Names":
        """The names that were kept with a job."""
        return cls(job.task != TEXT_TO_IMAGE, dict(job.notes.field_names))

    def field(self, path: str, limits: Mapping[str, float] | None = None) -> str:
        """Name the field of the JSON that a path of the proto request comes from; the path itself if there is none.

        Args:
            path: of the proto request.
            limits: that it exceeds, so that of joined texts the one is named that is too long.
        """
        path = path.removeprefix("request.")
        if path == "prompt":
            return self._prompt((limits or {}).get("maximum", math.inf))
        if re.match(r"loras\b", path):
            return self.as_sent(f"imagegen.{path}")
        if found := _ENHANCEMENT.fullmatch(path):
            return self._enhancement(found[1], found[2])
        if found := _REFERENCE.fullmatch(path):
            return self.sent_as.get(REFERENCE.format(found[1])) or self.as_sent(f"{_CONTEXT}[{found[1]}]")
        return self.as_sent(_FIELDS.get(_key(path), path))

    def as_sent(self, field: str) -> str:
        """A field of the documented JSON by the name that the client has for it, or for the block around it."""
        head, rest = field, ""
        while head:
            if head in self.sent_as:
                return self.sent_as[head] + rest
            cut = max(head.rfind("."), head.rfind("["))
            if cut < 0:
                return field
            head, rest = head[:cut], field[cut:]
        return field

    def reworded(self, message: str) -> str:
        """A message about fields of the documented JSON, by the client's names for them."""
        known = sorted(self.sent_as, key=len, reverse=True)
        if not known:
            return message
        names = re.compile(rf"(?<![\w.\[])(?:{'|'.join(map(re.escape, known))})(?!\w)")
        return names.sub(lambda found: self.sent_as[found[0]], message)

    def sentence(self, violations: Iterable[pb.Violation]) -> str:
        """Put violations into one message; documented sentences come first."""
        said = dict.fromkeys(self._words(each) for each in violations)
        return "; ".join(words for words, _ in sorted(said, key=lambda each: not each[1]))

    def _prompt(self, most: float) -> str:
        """The text that is longer than `most`; else all that the prompt was joined from."""
        names = [self.as_sent(name) for name, _ in self.prompt] or [self.as_sent(_PROMPT)]
        too_long = [self.as_sent(name) for name, length in self.prompt if length > most]
        return too_long[0] if too_long else " with ".join(names)

    def _enhancement(self, number: str | None, part: str | None) -> str:
        """A field of the enhancement of that number, in the block of its name."""
        if part not in _PARAMETERS or number is None or int(number) >= len(self.enhancements):
            return "enhancements"
        return f"{self.enhancements[int(number)]}_parameters.{_PARAMETERS[part]}"

    def _words(self, violation: pb.Violation) -> tuple[str, bool]:
        """One violation as the client reads it, and whether a documented sentence begins it."""
        path = violation.field.removeprefix("request.")
        described = f"{self.field(path, violation.limits)} {violation.description}"
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
