"""Which task a request asks for, and the task's own fields. docs/rest.md has the table that these functions follow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway.contract import colors, words
from gateway.contract.blocks import Generate
from gateway.contract.request import ProcessRequest
from gateway.errors import BadRequestError, picture_required
from gateway.translate import layout, pictures
from imagegen.v1 import generation_pb2 as pb

GENERATE = "background.generate"
CONTEXT = f"{GENERATE}.context_images"

# Adapters, as the documents name them.
BACKGROUND, FACE, CONTROL, CONTROL2 = "generate_background", "face", "control", "control2"
INPAINTING, IMG2IMG, UPSCALE = "inpainting", "img2img", "upscale"
ADAPTERS = (BACKGROUND, FACE, CONTROL, CONTROL2, UPSCALE, INPAINTING, IMG2IMG)
# Tasks that are chosen without an adapter.
TEXT, OUTPAINTING, EDIT = "text", "outpainting", "edit"
# A task that adapter_type face becomes where ip_image2 brings the face.
FACE_SWAP = "face_swap"
MAX_CONTEXT = 4
"""Pictures that img2img takes, the one that it starts from among them."""

# What is generated where the client does not say, for those adapters that cannot do without words.
_PROMPTS: Mapping[str, str] = MappingProxyType({BACKGROUND: "plain studio background", FACE: "portrait of a person"})


def choose(request: ProcessRequest) -> str:
    """Name the task of a request: one of ADAPTERS, FACE_SWAP, TEXT, OUTPAINTING or EDIT.

    Raises:
        BadRequestError: there is neither a picture nor a prompt, or no such adapter.
    """
    generate = request.background.generate if request.background else None
    adapter = _adapter(generate)
    if not request.has_picture:
        if generate is None or generate.description is None or adapter != BACKGROUND:
            raise picture_required()
        return TEXT
    if layout.wants_outpainting(request):
        return OUTPAINTING
    if generate is None:
        return UPSCALE if request.generative_upscale else EDIT
    if adapter == FACE and generate.ip_image2 is not None:
        return FACE_SWAP
    return adapter


def started(request: ProcessRequest) -> ProcessRequest:
    """With adapter img2img and without a url, the first of its context_images is the picture to start from.

    Raises:
        BadRequestError: there are more pictures than it takes.
    """
    generate = request.background.generate if request.background else None
    if generate is None or _adapter(generate) != IMG2IMG or not generate.context_images:
        return request
    count = len(generate.context_images) + request.has_picture
    if count > MAX_CONTEXT:
        raise BadRequestError(f"{CONTEXT} may have 1 to {MAX_CONTEXT} pictures, url counted; it has {count}")
    return request if request.has_picture else request.starting_from_context()


def default_prompt(chosen: str) -> str | None:
    """The prompt of a task whose description was left out; None for none."""
    return _PROMPTS.get(chosen)


def _adapter(generate: Generate | None) -> str:
    """The adapter that is asked for, or the documented default."""
    if generate is None or generate.adapter_type is None:
        return BACKGROUND
    name = words.find(ADAPTERS, generate.adapter_type)
    if name is None:
        raise BadRequestError(f"{GENERATE}.adapter_type must be one of {', '.join(ADAPTERS)}")
    return name


_ENLARGEMENTS: Mapping[str, pb.Enlargement.ValueType] = MappingProxyType(
    {"v1": pb.ENLARGEMENT_UNSPECIFIED, "text_x4": pb.ENLARGEMENT_TEXT}
)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a task starts from.

    Attributes:
        request: the whole of it.
        generate: its block background.generate, empty where there is none.
        max_bytes: largest picture that may come inside the request.
    """

    request: ProcessRequest
    generate: Generate
    max_bytes: int

    def set_image(self, image: pb.ImageSource) -> None:
        """Set the picture that the task starts from."""
        if self.request.file is not None:
            image.data = self.request.file
        else:
            image.CopyFrom(pictures.source(self.request.url or "", self.request.picture_field, self.max_bytes))

    def set_edges(self, edges: pb.Edges) -> None:
        """Set how much of the edges is kept, where the client says so; else the task decides."""
        if self.generate.controlnet_conditioning_scale is not None:
            edges.scale = self.generate.controlnet_conditioning_scale


def set_task(message: pb.GenerateRequest, request: ProcessRequest, chosen: str, max_bytes: int) -> None:
    """Set the chosen task with its pictures.

    Raises:
        BadRequestError: a picture, a mask or a colour is missing or wrong.
    """
    generate = (request.background.generate if request.background else None) or Generate()
    _SETTERS[chosen](message, _Asked(request, generate, max_bytes))


def _set_text(message: pb.GenerateRequest, _: _Asked) -> None:
    message.text_to_image.SetInParent()


def _set_edit(message: pb.GenerateRequest, asked: _Asked) -> None:
    asked.set_image(message.edit.image)
    way = words.find(_ENLARGEMENTS, str((asked.request.upscale_parameters or {}).get("type") or "v1"))
    if way is None:
        raise BadRequestError(f"upscale_parameters.type must be one of {', '.join(_ENLARGEMENTS)}")
    if enlargement := _ENLARGEMENTS[way]:
        message.edit.enlargement = enlargement


def _set_upscale(message: pb.GenerateRequest, asked: _Asked) -> None:
    asked.set_image(message.upscale.image)
    if asked.request.upscale_strength is not None:
        message.upscale.fidelity = asked.request.upscale_strength


def _set_outpaint(message: pb.GenerateRequest, asked: _Asked) -> None:
    asked.set_image(message.outpaint.image)
    asked.set_edges(message.outpaint.edges)


def _set_background(message: pb.GenerateRequest, asked: _Asked) -> None:
    task, generate = message.generate_background, asked.generate
    asked.set_image(task.image)
    if generate.item_area_percentage not in {None, 0, 1}:  # a share of nothing counts as left out
        task.item_area = generate.item_area_percentage
    if generate.color is not None:
        color = colors.parse(generate.color, f"{GENERATE}.color")
        if not colors.is_clear(color):  # to begin with no colour is to begin with noise alone
            task.color.CopyFrom(color)
    asked.set_edges(task.edges)


def _set_face(message: pb.GenerateRequest, asked: _Asked) -> None:
    asked.set_image(message.face.image)
    if asked.generate.face_id:
        message.face.face_only = True
    asked.set_edges(message.face.edges)


def _set_face_swap(message: pb.GenerateRequest, asked: _Asked) -> None:
    task = message.face_swap
    asked.set_image(task.image)
    field = f"{GENERATE}.ip_image2"
    task.face.CopyFrom(pictures.source(asked.generate.ip_image2 or "", field, asked.max_bytes))
    if asked.generate.strength is not None:
        task.strength = asked.generate.strength


def _set_control(message: pb.GenerateRequest, asked: _Asked) -> None:
    asked.set_image(message.control.image)
    asked.set_edges(message.control.edges)


def _set_control2(message: pb.GenerateRequest, asked: _Asked) -> None:
    _set_control(message, asked)
    message.control.edges_only = True


def _set_inpaint(message: pb.GenerateRequest, asked: _Asked) -> None:
    field, mask = f"{GENERATE}.ip_image2", asked.generate.ip_image2
    if mask is None:
        raise BadRequestError(f"{field} is required: the mask, in which white changes")
    asked.set_image(message.inpaint.image)
    message.inpaint.mask.CopyFrom(pictures.source(mask, field, asked.max_bytes))
    asked.set_edges(message.inpaint.edges)


def _set_img2img(message: pb.GenerateRequest, asked: _Asked) -> None:
    asked.set_image(message.image_to_image.image)
    if asked.generate.strength is not None:
        message.image_to_image.strength = asked.generate.strength
    for number, picture in enumerate(asked.generate.context_images or ()):
        field = f"{CONTEXT}[{number + asked.request.starts_from_context}]"
        message.image_to_image.references.append(pictures.source(picture, field, asked.max_bytes))
    asked.set_edges(message.image_to_image.edges)


_SETTERS: Mapping[str, Callable[[pb.GenerateRequest, _Asked], None]] = MappingProxyType(
    {
        TEXT: _set_text,
        EDIT: _set_edit,
        OUTPAINTING: _set_outpaint,
        BACKGROUND: _set_background,
        FACE: _set_face,
        FACE_SWAP: _set_face_swap,
        CONTROL: _set_control,
        CONTROL2: _set_control2,
        UPSCALE: _set_upscale,
        INPAINTING: _set_inpaint,
        IMG2IMG: _set_img2img,
    }
)
