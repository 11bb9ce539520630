"""JSON to proto and back: nothing that a client says is lost, changed or mixed up on the way.

The way back is written here, by the documents and apart from the gateway: it reads a proto as a client would have
written it.
"""

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings

from gateway.translate import inverse
from imagegen.v1 import generation_pb2 as pb
from tests.unit.gateway.asking import proto

Document = dict[str, Any]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)
URLS = st.sampled_from(["https://a.example/b.png", "http://[2001:db8::1]/", "storage://mine/p/q.png"])
COLORS = st.integers(0, 2**32 - 1).map("#{:08x}".format)
OPAQUE = st.integers(0, 2**24 - 1).map("#{:06x}ff".format)
"""For a background that is painted: to begin with no colour is to begin with none, and is not said."""
SHARES = st.integers(0, 100).map(lambda number: number / 100)
SIDES = st.integers(0, 2**32 - 1) | st.integers(1, 3200).map("{}%".format)
PADDINGS = st.integers(1, 2048) | st.integers(1, 45).map("{}%".format)
FORMATS = {"jpeg": pb.IMAGE_FORMAT_JPEG, "png": pb.IMAGE_FORMAT_PNG, "webp": pb.IMAGE_FORMAT_WEBP}
FITS = {"crop": pb.FIT_CROP, "bounds": pb.FIT_BOUNDS, "cover": pb.FIT_COVER}
GRAVITIES = {
    "content": pb.CROP_GRAVITY_CONTENT,
    "item": pb.CROP_GRAVITY_ITEM,
    "center": pb.CROP_GRAVITY_CENTER,
}
REMOVALS = {"auto": pb.REMOVAL_AUTO, "human": pb.REMOVAL_HUMAN, "item": pb.REMOVAL_ITEM}
TYPES = {
    "denoise": ["v1", "v2"],
    "deblur": ["v1", "v2"],
    "light": ["contrast", "hdr_light", "hdr_light_advanced"],
    "color": ["contrast", "hdr_light", "hdr_light_advanced"],
    "face_enhance": ["beautify-real", "beautify"],
    "clean": [],
    "white_balance": [],
    "exposure_correction": [],
}


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Document]:
    """Any of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


@st.composite
def enhancements(draw: st.DrawFn) -> Document:
    names = draw(st.lists(st.sampled_from(sorted(TYPES)), unique=True, max_size=4))
    found: Document = {"enhancements": names} if names else {}
    for name in names:
        block = {"level": SHARES} | ({"type": st.sampled_from(TYPES[name])} if TYPES[name] else {})
        block |= {"smoothing_level": SHARES} if name == "face_enhance" else {}
        if parameters := draw(some(**block)):
            found[f"{name}_parameters"] = parameters
    return found


CAPTIONS = st.fixed_dictionaries(
    {"url": URLS},
    optional={
        "position": st.sampled_from([across + down for across in "LMR" for down in "TMB"]),
        "target_width_percentage": st.integers(1, 100),
        "padding": PADDINGS,
        "opacity": st.integers(0, 100),
    },
)
OUTPUT = {
    "output_format": st.sampled_from(sorted(FORMATS)),
    "quality": st.integers(0, 2**32 - 1),
    "max_file_size": st.integers(1, 2**64 - 1),
    "target": st.just("storage://mine/out.png"),
}
PAINTING = {
    "description": TEXTS,
    "negative_prompt": TEXTS,
    "model_type": st.from_regex(r"[a-z0-9_-]{1,20}", fullmatch=True),
    "sample_num": st.integers(0, 2**64 - 1),
}


@st.composite
def requests(draw: st.DrawFn) -> Document:  # noqa: C901 - a case for each adapter
    """Requests in the spelling that the way back has."""
    adapter = draw(
        st.sampled_from(
            ["generate_background", "face", "control", "control2", "img2img", "inpainting", "upscale", None, "text"]
        )
    )
    top = dict(OUTPUT, caption=CAPTIONS)
    document: Document = {}
    if adapter != "text":
        document["url"] = draw(URLS)
        top |= {"width": SIDES, "height": SIDES, "min_length": st.integers(1, 4096)}
        document |= draw(enhancements())
        document |= draw(st.sampled_from(["padding", "fit", ""]).flatmap(_layout))
    else:
        top |= {"width": st.integers(0, 2**32 - 1), "height": st.integers(0, 2**32 - 1)}
    document |= draw(some(**top))
    if "max_file_size" in document:
        document["output_format"] = draw(st.sampled_from(["jpeg", "webp"]))
    background = draw(_background(adapter))
    if adapter is not None:
        fields = dict(PAINTING)
        needed = {"description": fields.pop("description")}
        if adapter not in {"text", "upscale"}:
            fields["controlnet_conditioning_scale"] = SHARES
        if adapter == "generate_background":
            fields |= {"item_area_percentage": st.integers(1, 99).map(lambda each: each / 100), "color": OPAQUE}
        if adapter == "img2img":
            fields["strength"] = SHARES
        if adapter == "face":
            fields["face_id"] = st.just(True)
        if adapter == "inpainting":
            needed["ip_image2"] = URLS
        generate = draw(st.fixed_dictionaries(needed, optional=fields))
        if adapter not in {"text", "generate_background"}:
            generate["adapter_type"] = adapter
        background["generate"] = generate
    if adapter == "upscale" and draw(st.booleans()):
        document["upscale_strength"] = draw(st.integers(0, 2**32 - 1))
    return document | ({"background": background} if background else {})


def _layout(name: str) -> st.SearchStrategy[Document]:
    if name == "padding":
        return st.fixed_dictionaries({"padding": PADDINGS})
    fits = st.sampled_from(sorted(FITS)) | st.sampled_from(sorted(GRAVITIES)).map(lambda kept: {"crop": kept})
    return st.fixed_dictionaries({"fit": fits}) if name else st.just({})


def _background(adapter: str | None) -> st.SearchStrategy[Document]:
    fields: dict[str, st.SearchStrategy[Any]] = {"color": COLORS}
    if adapter != "generate_background":
        fields["remove"] = st.sampled_from(sorted(REMOVALS))
    return some(**fields)


# --- the way back


def back(message: pb.GenerateRequest) -> Document:
    """What a client would have written."""
    task = message.WhichOneof("task") or ""
    part = getattr(message, task)
    found: Document = {} if task == "text_to_image" else {"url": part.image.url}
    found |= _sizes(message.size) | _fit(message.layout)
    output = message.output
    if output.HasField("format"):
        found["output_format"] = _name(FORMATS, output.format)
    found |= _same(output, "quality", "max_file_size", "target")
    if message.enhancements:
        found["enhancements"] = [_kind(each) for each in message.enhancements]
        for each in message.enhancements:
            if block := _parameters(each):
                found[f"{_kind(each)}_parameters"] = block
    if message.HasField("caption"):
        found["caption"] = _caption(message.caption)
    background: Document = {}
    if message.background.HasField("remove"):
        background["remove"] = _name(REMOVALS, message.background.remove)
    if message.background.HasField("color"):
        background["color"] = f"#{message.background.color.rgba:08x}"
    if task != "edit":
        background["generate"] = _generate(message, task, part)
    if task == "upscale" and part.HasField("fidelity"):
        found["upscale_strength"] = part.fidelity
    return found | ({"background": background} if background else {})


def _generate(message: pb.GenerateRequest, task: str, part: Any) -> Document:
    found: Document = {"description": message.prompt} | _same(message, "negative_prompt")
    if message.HasField("family"):
        found["model_type"] = message.family
    if message.HasField("seed"):
        found["sample_num"] = message.seed
    adapters = {"image_to_image": "img2img", "inpaint": "inpainting", "face": "face", "upscale": "upscale"}
    if task == "control":
        found["adapter_type"] = "control2" if part.edges_only else "control"
    elif task in adapters:
        found["adapter_type"] = adapters[task]
    if task not in {"text_to_image", "upscale"} and part.HasField("edges"):
        found |= {"controlnet_conditioning_scale": part.edges.scale} if part.edges.HasField("scale") else {}
    if task == "image_to_image":
        found |= _same(part, "strength")
    if task == "face" and part.HasField("face_only"):
        found["face_id"] = part.face_only
    if task == "inpaint":
        found["ip_image2"] = part.mask.url
    if task == "generate_background":
        found |= {"item_area_percentage": part.item_area} if part.HasField("item_area") else {}
        found |= {"color": f"#{part.color.rgba:08x}"} if part.HasField("color") else {}
    return found


def _sizes(size: pb.Size) -> Document:
    found = _same(size, "width", "height", "min_length")
    for side in ("width", "height"):
        if size.HasField(f"{side}_percent"):  # type: ignore[arg-type]  # one of its fields
            found[side] = f"{getattr(size, f'{side}_percent')}%"
    return found


def _fit(layout: pb.Layout) -> Document:
    if layout.HasField("padding_pixels"):
        return {"padding": layout.padding_pixels}
    if layout.HasField("padding_share"):
        return {"padding": f"{round(layout.padding_share * 100)}%"}
    if layout.HasField("gravity"):
        return {"fit": {"crop": _name(GRAVITIES, layout.gravity)}}
    return {"fit": _name(FITS, layout.fit)} if layout.HasField("fit") else {}


def _caption(caption: pb.Caption) -> Document:
    found: Document = {"url": caption.image.url}
    if caption.HasField("horizontal"):
        across = pb.HorizontalPlace.Name(caption.horizontal).removeprefix("HORIZONTAL_PLACE_")
        down = pb.VerticalPlace.Name(caption.vertical).removeprefix("VERTICAL_PLACE_")
        found["position"] = "".join("M" if each == "CENTER" else each[0] for each in (across, down))
    if caption.HasField("width_share"):
        found["target_width_percentage"] = round(caption.width_share * 100)
    if caption.HasField("opacity"):
        found["opacity"] = round(caption.opacity * 100)
    if caption.HasField("padding_pixels"):
        found["padding"] = caption.padding_pixels
    elif caption.HasField("padding_share"):
        found["padding"] = f"{round(caption.padding_share * 100)}%"
    return found


def _kind(enhancement: pb.Enhancement) -> str:
    return pb.EnhancementKind.Name(enhancement.kind).removeprefix("ENHANCEMENT_KIND_").lower()


def _parameters(enhancement: pb.Enhancement) -> Document:
    found = _same(enhancement, "level")
    if enhancement.HasField("method"):
        word = pb.EnhancementMethod.Name(enhancement.method).removeprefix("ENHANCEMENT_METHOD_").lower()
        found["type"] = word.replace("beautify_real", "beautify-real")
    if enhancement.HasField("smoothing"):
        found["smoothing_level"] = enhancement.smoothing
    return found


def _same(message: Any, *names: str) -> Document:
    return {name: getattr(message, name) for name in names if message.HasField(name)}


def _name(table: dict[str, Any], number: int) -> str:
    return next(name for name, value in table.items() if value == number)


@settings(max_examples=500)
@given(requests())
def test_what_a_client_says_comes_back(document: Document) -> None:
    assert back(proto(document)) == document


@settings(max_examples=500)
@given(requests())
def test_what_a_job_was_asked_for_asks_for_the_same(document: Document) -> None:
    message = proto(document)
    assert proto(inverse.from_proto(message)) == message


@given(requests(), st.randoms(use_true_random=False))
def test_other_spellings_say_the_same(document: Document, random: Any) -> None:
    """Numbers as text, names in capitals, nothing where nothing is said, and fields that nobody knows."""
    assert proto(_respelt(document, random.choice)) == proto(document)


def _respelt(value: Any, choose: Callable[[list[bool]], bool], name: str = "") -> Any:
    if isinstance(value, dict):
        same = {key: _respelt(each, choose, key) for key, each in value.items()}
        return {"unheard_of": [1, {}], "min_length": None, "fit": "", **same} if name == "" else {**same, "odd": 1}
    if choose([True, False]):
        return value
    if name in {"output_format", "type", "remove", "adapter_type", "position"}:
        return f" {value.upper()} " if name != "output_format" else value.upper()
    if name == "enhancements":
        return [*(each.upper() for each in value), *value]
    if isinstance(value, int) and not isinstance(value, bool) and name != "level":
        return str(value)
    return value
