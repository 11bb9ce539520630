"""The documented request JSON as pydantic models: what a client may send, whether or not this build serves it yet.

Rules that hold everywhere: no field is required; unknown fields are ignored; null, "", [] and {} count as absent (only
an empty description stays one, and is refused later as an empty prompt). What is set and not served is refused by
served.py.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError, model_validator
from pydantic.config import JsonDict

from gateway import scalars
from gateway.errors import BadRequestError

Side = Annotated[int | str, BeforeValidator(scalars.side, json_schema_input_type=int | str)]
Whole32 = Annotated[int, BeforeValidator(scalars.whole(scalars.UINT32), json_schema_input_type=int | str)]
Whole64 = Annotated[int, BeforeValidator(scalars.whole(scalars.UINT64), json_schema_input_type=int | str)]
FileSize = Annotated[int, BeforeValidator(scalars.file_size, json_schema_input_type=int | str)]
Number = Annotated[float, BeforeValidator(scalars.number, json_schema_input_type=float | str)]
Texts = Annotated[list[str], Field(max_length=16)]  # more than any client has; bounds the errors of one request
Color = str | tuple[Number, Number, Number]
JsonObject = dict[str, object]

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

# An empty prompt is a mistake to name, not a request without a prompt.
_MAY_BE_EMPTY = frozenset({"description"})


class Part(BaseModel):
    """A JSON object of the request."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=(), use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            raise scalars.refusal("must be a JSON object")
        return {key: item for key, item in value.items() if key in _MAY_BE_EMPTY or item not in (None, "", [], {})}


class Generate(Part):
    """What shall be made."""

    description: str | None = None
    """The prompt. The family adds its own words, by default ", high quality, highly detailed, 8K"."""
    additional_prompt: str | None = None
    """More of the prompt, put after the description and a comma."""
    negative_prompt: str | None = None
    """What the picture shall not show."""
    model_type: str | None = None
    """Model family: realistic (default), fantasy, or another that this server has."""
    sample_num: Whole64 | None = None
    """Seed, 0 to 2^63 - 1. The same request with the same seed gives the same picture. Default: drawn, and answered."""
    adapter_type: str | None = None
    """Use of the picture: generate_background (default), face, control, control2, upscale, inpainting or img2img."""
    face_id: bool | None = None
    """With adapter_type face: only the details of the face are used, not hair and surroundings. Default: false."""
    controlnet_conditioning_scale: Number | None = None
    """How much the edges of the picture are kept, 0 to 1. Default: 0.5 with control and control2; the other adapters
    look at edges only if it is given. Not with upscale."""
    ip_image2: str | None = None
    """With adapter_type inpainting: the mask, a picture as url is. White changes. Faces are not served yet."""
    context_images: Texts | None = None
    """URLs of further pictures. Not served yet."""
    strength: Number | None = None
    """With adapter_type img2img: how much is changed, above 0 to 1. Default: 0.6. Face swaps are not served yet."""
    avatar_generation_type: str | None = None
    """Kind of a face swap. Not served yet."""
    item_area_percentage: Number | None = None
    """With adapter_type generate_background: share of the picture that a box around the item may take, above 0 to 1.
    Default: 1."""
    color: Color | None = None
    """With adapter_type generate_background: what the background starts from. As background.color, or [r, g, b]."""


class Background(Part):
    """What happens to the background; `generate` makes a picture."""

    generate: Generate | None = None
    remove: str | None = None
    """Cuts out the main object (auto), persons (human) or things (item)."""
    color: str | None = None
    """Colour behind what is transparent, and around what does not fill its canvas: auto (as the picture's border),
    transparent, #rrggbb, #rrggbbaa, rgb(), rgba(), hsl(), hsv(), or a name of HTML.
    Default: transparent; in jpeg white."""
    replace: str | None = None
    """Another background, a picture as url is. The main object is cut out if remove does not say which."""


class Webhooks(Part):
    """Who is told."""

    complete: str | None = None
    """URL that is told when the job has ended, by a signed POST: docs/webhooks.md."""


class LevelParameters(Part):
    """How much of an enhancement."""

    level: Number | None = None
    """0 (nothing) to 1, the default; of face_enhance 0.5."""


class WayParameters(LevelParameters):
    """Which way of an enhancement, and how much of it."""

    type: str | None = None
    """denoise and deblur: v1 (default) or v2, which is stronger. light and color: contrast (default), hdr_light or
    hdr_light_advanced. face_enhance: beautify-real (default) or beautify, with smoother skin."""


class FaceParameters(WayParameters):
    """How faces are made better."""

    smoothing_level: Number | None = None
    """How smooth skin becomes, 0 to 1. Default: 0, of beautify 0.5."""


class Caption(Part):
    """A picture laid over the result."""

    url: str | None = None
    """The picture, as url is. Required."""
    position: str | None = None
    """Two letters in either order: L, M or R of the width, T, M or B of the height. Default: RB."""
    target_width_percentage: Number | None = None
    """Its width, percent of the result's, above 0 to 100. Default: 25."""
    padding: Side | None = None
    """Room to the borders: pixels, 0 to 2048, or percent of the result's width up to "45%". Default: 5%."""
    opacity: Number | None = None
    """How much of it is seen, 0 to 100. Default: 100."""


class Extensions(Part):
    """What the documented API does not have."""

    preview_interval: Whole32 | None = None
    """The events of the job show the picture after each n-th step, 0 (never, the default) to 150."""


class ProcessRequest(Part):
    """Body of POST /rest_api/process_result and /rest_api/process."""

    model_config = ConfigDict(json_schema_extra={"examples": [*EXAMPLES]})
    _file: tuple[str, bytes] | None = PrivateAttr(default=None)

    url: str | None = None
    """The picture to work on: an http or https URL, "base64,<data>" or a data URI in base64. Left out: a picture is
    made from text alone. Or storage://NAME/PATH, in a storage that the account has."""
    width: Side | None = None
    """Width, pixels, 64 to 4096, or a share of the picture's own, "200%". Default: what keeps the picture's ratio to
    the height, or its own width; from text, the height, or the family's default."""
    height: Side | None = None
    """Height, as width."""
    background: Background | None = None
    output_format: str | None = None
    """jpeg, jpg, png or webp. Default: png."""
    quality: Whole32 | None = None
    """Quality of jpeg and webp, 0 to 100. Default: 85. PNG ignores it."""
    output_quality: Whole32 | None = None
    """The same as quality. It wins where both are set, since some clients fill in quality by themselves."""
    max_file_size: FileSize | None = None
    """Largest allowed file, bytes or text such as "500kb" (1 kb is 1024 bytes); jpeg and webp only."""

    target: str | None = None
    """storage://NAME/PATH: a copy of the result is written there, into a storage that the account has."""
    webhooks: Webhooks | None = None
    min_length: Whole32 | None = None
    """Least length of the picture's shorter side, pixels, 64 to 4096: it is enlarged where it would be less."""
    padding: Side | None = None
    """Room around the picture, or around the item, on each side: pixels, 0 to 2048, or a share of the shorter side up
    to "45%". With fit canvas."""
    fit: str | JsonObject | None = None
    """How the picture is fitted into width x height: canvas (default), crop, bounds, cover, {"crop": "content"},
    {"crop": "item"}, {"crop": "center"}, or {"canvas": "outpainting"}, which paints what the canvas adds."""
    print_size: str | None = None
    """Paper whose size the result has at dpi: a0 to a10, b0 to b10, c0 to c10, letter, legal, tabloid and more. Not
    beside width or height."""
    dpi: Whole32 | None = None
    """Dots per inch of print_size, 1 to 2400. Default: 300."""
    print_reorientation: bool | None = None
    """Turns the paper the way the picture lies. Default: true."""
    caption: Caption | None = None
    enhancements: Texts | None = None
    """What is made better: denoise, deblur, clean, face_enhance, light, color, white_balance, exposure_correction."""
    clean_parameters: LevelParameters | None = None
    """Acts only if enhancements lists clean."""
    exposure_correction_parameters: LevelParameters | None = None
    """Acts only if enhancements lists exposure_correction."""
    denoise_parameters: WayParameters | None = None
    """Acts only if enhancements lists denoise."""
    deblur_parameters: WayParameters | None = None
    """Acts only if enhancements lists deblur."""
    light_parameters: WayParameters | None = None
    """Acts only if enhancements lists light."""
    color_parameters: WayParameters | None = None
    """Acts only if enhancements lists color."""
    white_balance_parameters: LevelParameters | None = None
    """Acts only if enhancements lists white_balance."""
    face_enhance_parameters: FaceParameters | None = None
    """Acts only if enhancements lists face_enhance."""
    generative_upscale: bool | None = None
    """Enlarges by generation, up to 2048 x 2048, and plainly beyond. A prompt may come with adapter_type upscale."""
    upscale_strength: Whole32 | None = None
    """With generative_upscale or adapter upscale: 1 (changes most) to 9 (nearest to plain enlarging), default 5."""
    upscale_parameters: JsonObject | None = None
    """Way of plain enlargement: {"type": "v1"}, the default. Others are not served yet."""
    preset: str | None = None
    """Name of a bundle of parameters, over which the request's own are laid: real_estate, real_estate_upscaled,
    ecommerce, ecommerce_upscaled, or another that this server has."""
    safe: bool | None = None
    """Looks for nudity. true is not served yet."""
    nsfw_parameters: JsonObject | None = None
    """Acts only with safe."""
    imagegen: Extensions | None = None

    @property
    def has_picture(self) -> bool:
        """Whether it works on a picture, which came by url or as a file."""
        return self.url is not None or self._file is not None

    @property
    def file(self) -> bytes | None:
        """The picture that came as a file."""
        return None if self._file is None else self._file[1]

    @property
    def picture_field(self) -> str:
        """What the client calls its picture."""
        return "url" if self._file is None else self._file[0]

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
            reasons.setdefault(_path(each["loc"], document), each["msg"].replace("Input should be", "must be", 1))
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
