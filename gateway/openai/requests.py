"""What a client sends: JSON for both paths, or a form with files for edits, as one model."""

import re
from typing import Annotated, Any, Literal, NoReturn

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gateway.openai.errors import invalid
from gateway.openai.forms import Form

MAX_PICTURES = 10
"""In one answer."""
MAX_SOURCES = 16
"""Pictures that an edit may start from, as OpenAI has it."""

_SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")
# What the clients offer and this service does not do. Without an effect where it is at its default.
_NOT_SERVED = ("frame_count", "frame_duration_ms", "svg", "markup", "prompt_rewriter")
_NOT_A_FILE = 'must be sent as a file (multipart/form-data) or as {"image_url": "https://…"}'


def _size(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be text")  # noqa: TRY004 - pydantic reports a ValueError
    text = value.strip().lower()
    if text != "auto" and _SIZE.fullmatch(text) is None:
        raise ValueError('must be "auto" or WIDTHxHEIGHT in pixels, such as "1024x1024"')
    return text


def _reference(value: object) -> object:
    """The address in a reference to a picture; text as it is."""
    if isinstance(value, dict):
        if value.get("file_id") is not None:
            raise ValueError("file_id is not served: send the picture itself, or its image_url")
        value = value.get("image_url")
    if not isinstance(value, str):
        raise ValueError(_NOT_A_FILE)  # noqa: TRY004 - pydantic reports a ValueError
    return value


Address = Annotated[str, BeforeValidator(_reference, json_schema_input_type=dict[str, str] | str)]


class ImagesRequest(BaseModel):
    """Body of POST /v1/images/generations. Its further fields are those of docs/openai.md, section Beyond OpenAI."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True, protected_namespaces=())

    prompt: str
    """What the picture shows."""
    model: str | None = None
    """A model family, as GET /v1/models lists them. Default: the first of them."""
    n: int = Field(1, ge=1, le=MAX_PICTURES)
    """Pictures, 1 to 10: each is a job of its own with a seed of its own."""
    size: Annotated[str, BeforeValidator(_size, json_schema_input_type=str)] = "auto"
    """WIDTHxHEIGHT in pixels, each 64 to 16,704, or auto: the family's own size; of an edit, its picture's."""
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"] = "auto"
    """Accepted, without an effect: steps says how much work is done."""
    response_format: Literal["b64_json", "url"] = "b64_json"
    """How pictures come back: in the answer, or as a link that is valid for a time (IMAGEGEN_RESULT_SECONDS)."""
    output_format: Literal["png", "jpeg", "webp"] = "png"
    """File format."""
    output_compression: int | None = Field(None, ge=0, le=100)
    """Quality of jpeg and webp, 0 to 100. Default: 85."""
    background: Literal["auto", "opaque", "transparent"] | dict[str, Any] = "auto"
    """transparent: the main object is cut out; png and webp only. An object: as the documented API's background."""
    stream: bool = False
    """Events while the picture is generated, and the picture in the last one."""
    partial_images: int = Field(0, ge=0, le=3)
    """Previews in the stream, 0 to 3."""
    user: str | None = None
    """Accepted, without an effect."""
    safety_identifier: str | None = None
    """As user, which it replaces; it is answered."""
    style: Literal["vivid", "natural"] | None = None
    """Accepted, without an effect."""
    moderation: Literal["auto", "low"] | None = None
    """Accepted, without an effect."""
    complexity: Literal["low", "medium", "high"] | None = None
    """Accepted, without an effect."""

    @property
    def extra(self) -> dict[str, Any]:
        """Fields that OpenAI does not have."""
        return self.model_extra or {}

    @property
    def sides(self) -> tuple[int, int] | None:
        """Width and height, pixels; None for auto."""
        found = _SIZE.fullmatch(self.size)
        return None if found is None else (int(found[1]), int(found[2]))

    @property
    def transparent(self) -> bool:
        """Whether the main object is to be cut out."""
        return self.background == "transparent"


class EditRequest(ImagesRequest):
    """Body of POST /v1/images/edits as JSON. In a form, image (or image[], up to 16) and mask are files."""

    images: list[Address] = Field(
        default_factory=list, max_length=MAX_SOURCES, validation_alias=AliasChoices("images", "image")
    )
    """Pictures to start from: {"image_url": …} or text, an https URL or a data URI. The first one is edited."""
    mask: Address | None = None
    """What to change: its transparent part. As images."""
    input_fidelity: Literal["high", "low"] | None = None
    """Accepted, without an effect: strength says how much is changed."""


def read(document: object, kind: type[ImagesRequest], form: Form | None = None) -> ImagesRequest:
    """Read a JSON document as a request.

    Args:
        document: dicts, lists, text, numbers, None; null counts as absent.
        kind: of request.
        form: with files, that the document came in.

    Raises:
        OpenAIError: something has the wrong type or value; its param is the field.
    """
    if not isinstance(document, dict):
        raise invalid("The body must be a JSON object", None)
    given = {name: value for name, value in document.items() if value is not None}
    for name in _NOT_SERVED:
        if name in given or (form is not None and name in form.files):
            raise invalid(f"{name} is not served here", name, "unsupported_parameter")
    single = given.get("image")
    if kind is EditRequest and single is not None and not isinstance(single, list):
        given["image"] = [single]
    try:
        request = kind.model_validate(given)
    except ValidationError as error:
        _refuse(error)
    if not request.prompt.strip():
        raise invalid("prompt must not be empty: it says what the picture shows", "prompt")
    _check_together(request)
    return request


def _check_together(request: ImagesRequest) -> None:
    """Refuse what does not go together."""
    if request.transparent and request.output_format == "jpeg":
        raise invalid("background transparent needs output_format png or webp: jpeg has no transparency", "background")
    if request.output_format == "png" and request.output_compression not in {None, 100}:
        raise invalid(
            "output_compression must be 100 with output_format png, which loses nothing", "output_compression"
        )
    if request.stream and request.response_format == "url":
        raise invalid("response_format must be b64_json with stream", "response_format")
    if request.partial_images and not request.stream:
        raise invalid("partial_images needs stream true", "partial_images")


def _refuse(error: ValidationError) -> NoReturn:
    """Name the first field that is wrong."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = str(first["loc"][0]) if first["loc"] else None
    if first["type"] == "missing":
        raise invalid(f"{field} is required", field, "missing_required_parameter") from None
    reason = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
    raise invalid(f"{field or 'The body'} {reason}", field) from None
