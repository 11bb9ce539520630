"""The documented request JSON as pydantic models: what a client may send.

Rules that hold everywhere: no field is required; unknown fields are ignored; null, "", [] and {} count as absent (only
an empty description stays one, and is refused later as an empty prompt).
"""

from collections.abc import Sequence
from types import MappingProxyType

from pydantic import ConfigDict, PrivateAttr, ValidationError
from pydantic.config import JsonDict

from gateway.contract.blocks import (
    Background,
    Block,
    Caption,
    Extensions,
    FaceParameters,
    FileSize,
    Generate,
    JsonObject,
    LevelParameters,
    MethodParameters,
    NsfwParameters,
    Side,
    UInt32,
    Webhooks,
    Words,
)
from gateway.errors import BadRequestError

_WOMAN = (
    "woman in a futuristic suit holding a gun in her hand, looking at the camera, cyberpunk art, neo-figurative, anime"
)
EXAMPLES: list[JsonDict] = [
    {"width": 2048, "height": 1024, "background": {"generate": {"description": _WOMAN}}},
    {"width": 2048, "height": 1024, "background": {"generate": {"description": _WOMAN, "model_type": "fantasy"}}},
    {
        "url": "https://deep-image.ai/api-example.png",
        "width": 1024,
        "height": 1024,
        "background": {"generate": {"description": "item on the beach", "adapter_type": "generate_background"}},
    },
    {
        "url": "https://deep-image.ai/api-example3.jpg",
        "width": 1024,
        "height": 1024,
        "background": {"generate": {"description": "model on the beach", "adapter_type": "face"}},
    },
    {
        "url": "https://deep-image.ai/api-example3.jpg",
        "background": {"generate": {"description": "model in the room", "adapter_type": "control"}},
    },
    {"url": "https://deep-image.ai/api-example.png", "width": 3000, "generative_upscale": True},
]
"""The requests of the documentation's page on image generation, word for word."""


class ProcessRequest(Block):
    """Body of POST /rest_api/process_result and /rest_api/process."""

    model_config = ConfigDict(json_schema_extra={"examples": [*EXAMPLES]})
    _file: tuple[str, bytes] | None = PrivateAttr(default=None)
    _starts_from_context: bool = PrivateAttr(default=False)

    url: str | None = None
    """The picture to work on: an http or https URL, "base64,<data>" or a data URI in base64. Left out: a picture is
    generated from text alone. Or storage://NAME/PATH, in a storage that the account has."""
    width: Side | None = None
    """Width, pixels, 64 to 16,704, or a share of the picture's own, "200%". Default: what keeps the picture's ratio to
    the height, or its own width; from text, the height, or the family's default."""
    height: Side | None = None
    """Height, as width."""
    background: Background | None = None
    output_format: str | None = None
    """jpeg, jpg, png or webp. Default: png."""
    quality: UInt32 | None = None
    """Quality of jpeg and webp, 0 to 100. Default: 85. PNG ignores it."""
    output_quality: UInt32 | None = None
    """The same as quality. It wins where both are set, since some clients fill in quality by themselves."""
    max_file_size: FileSize | None = None
    """Largest allowed file, bytes or text such as "500kb" (1 kb is 1024 bytes); jpeg and webp only."""
    metadata: str | None = None
    """What the file says about its request in XMP: none (default), or prompt: prompt, seed and settings."""

    target: str | None = None
    """storage://NAME/PATH: a copy of the result is written there, into a storage that the account has."""
    webhooks: Webhooks | None = None
    min_length: UInt32 | None = None
    """Least length of the picture's shorter side, pixels, 64 to 16,704: it is enlarged where it would be less. With
    background.remove it is also that of the object that is cut out."""
    padding: Side | None = None
    """Room around the picture, or around the item, on each side: pixels, 0 to 2048, or a share of the shorter side up
    to "45%". With fit canvas."""
    fit: str | JsonObject | None = None
    """How the picture is fitted into width x height: canvas (default), crop, bounds, cover, {"crop": "content"},
    {"crop": "item"}, {"crop": "center"}, or {"canvas": "outpainting"}, which paints what the canvas adds."""
    print_size: str | None = None
    """Paper whose size the result has at dpi: a0 to a10, b0 to b10, c0 to c10, letter, legal, tabloid and more. Not
    together with width or height."""
    dpi: UInt32 | None = None
    """Dots per inch of print_size, 1 to 2400. Default: 300."""
    print_reorientation: bool | None = None
    """Turns the paper as the picture is oriented. Default: true."""
    caption: Caption | None = None
    enhancements: Words | None = None
    """What is enhanced: denoise, deblur, clean, face_enhance, light, color, white_balance, exposure_correction."""
    clean_parameters: LevelParameters | None = None
    """Acts only if enhancements lists clean."""
    exposure_correction_parameters: LevelParameters | None = None
    """Acts only if enhancements lists exposure_correction."""
    denoise_parameters: MethodParameters | None = None
    """Acts only if enhancements lists denoise."""
    deblur_parameters: MethodParameters | None = None
    """Acts only if enhancements lists deblur."""
    light_parameters: MethodParameters | None = None
    """Acts only if enhancements lists light."""
    color_parameters: MethodParameters | None = None
    """Acts only if enhancements lists color."""
    white_balance_parameters: LevelParameters | None = None
    """Acts only if enhancements lists white_balance."""
    face_enhance_parameters: FaceParameters | None = None
    """Acts only if enhancements lists face_enhance."""
    generative_upscale: bool | None = None
    """Enlarges by generation, up to 2048 x 2048, and plainly beyond. A prompt may come with adapter_type upscale."""
    upscale_strength: UInt32 | None = None
    """With generative_upscale or adapter upscale: 1 (changes most) to 9 (nearest to plain enlarging), default 5."""
    upscale_parameters: JsonObject | None = None
    """Way of enlargement without generation: {"type": "v1"}, the default, or {"type": "text_x4"}, which keeps the
    strokes of text sharp."""
    preset: str | None = None
    """Name of a bundle of parameters, over which the request's own are laid: real_estate, real_estate_upscaled,
    ecommerce, ecommerce_upscaled, or another that this server has."""
    safe: bool | None = None
    """Stops pictures that show pornography, plain edits among them. Default: what the account has."""
    nsfw_parameters: NsfwParameters | None = None
    """Acts only with safe."""
    imagegen: Extensions | None = None

    @property
    def has_picture(self) -> bool:
        """Whether it works on a picture, which came by url or as a file."""
        return self.url is not None or self._file is not None

    @property
    def is_clear(self) -> bool:
        """Whether its result has transparent parts, as far as the request shows."""
        background = self.background
        color = (background.color or "transparent").strip().lower() if background else ""
        return background is not None and background.remove is not None and color == "transparent"

    @property
    def file(self) -> bytes | None:
        """The picture that came as a file."""
        return None if self._file is None else self._file[1]

    @property
    def starts_from_context(self) -> bool:
        """Whether its picture was the first of its context_images."""
        return self._starts_from_context

    @property
    def picture_field(self) -> str:
        """What the client calls its picture."""
        if self._starts_from_context:
            return "background.generate.context_images[0]"
        return "url" if self._file is None else self._file[0]

    def starting_from_context(self) -> "ProcessRequest":
        """The same, its first context image as the picture to start from."""
        background = self.background or Background()
        generate = background.generate or Generate()
        first, *others = generate.context_images or []
        generate = generate.model_copy(update={"context_images": others or None})
        background = background.model_copy(update={"generate": generate})
        copy = self.model_copy(update={"url": first, "background": background})
        copy._starts_from_context = True  # noqa: SLF001 - of its own class
        return copy

    def with_file(self, name: str, data: bytes) -> "ProcessRequest":
        """The same, with a picture that came as a file, the part `name` of the body.

        Raises:
            BadRequestError: it has a url too.
        """
        if self.url is not None:
            raise BadRequestError(f"url does not go with {name}: send one picture")
        copy = self.model_copy()
        copy._file = (name, data)  # noqa: SLF001 - of its own class
        return copy


# What a field takes, by the kind of pydantic's error.
_ACCEPTED = MappingProxyType(
    {
        "string_type": "must be text",
        "bool_type": "must be true or false",
        "bool_parsing": "must be true or false",
        "list_type": "must be a list",
        "dict_type": "must be a JSON object",
    }
)


def parse(document: object) -> ProcessRequest:
    """Read a JSON document (dicts, lists, text, numbers, None) as a request.

    Raises:
        BadRequestError: something has the wrong type; the message names every such field by its path.
    """
    try:
        return ProcessRequest.model_validate(document)
    except ValidationError as error:
        reasons: dict[str, str] = {}
        for each in error.errors(include_url=False, include_context=False, include_input=False):
            # A union reports each of its branches; the first one speaks for the field.
            said = _ACCEPTED.get(each["type"]) or each["msg"].replace("Input should be", "must be", 1)
            reasons.setdefault(_path(each["loc"], document), said)
        raise BadRequestError("; ".join(f"{path} {reason}" for path, reason in reasons.items())) from None


def _path(location: Sequence[int | str], document: object) -> str:
    """The path of an error as the client wrote it: pydantic adds names of its own types, which the document lacks."""
    names: list[str] = []
    for step in location:
        try:
            document = document[step]  # type: ignore[index]  # what cannot be indexed is caught below
        except (TypeError, LookupError):
            break
        names.append(str(step))
    return ".".join(names) or "The body"
