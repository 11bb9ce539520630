"""Every adapter's proto; the fields that it takes; those that it refuses by name."""

from typing import Any

import pytest

from gateway.errors import BadRequestError
from imagegen.v1 import generation_pb2 as pb
from tests.unit.gateway.asking import IMAGE, MASK, URL, edited, from_picture, from_text, proto

ADAPTERS = ("generate_background", "face", "control", "control2", "upscale", "inpainting", "img2img")
HALF = pb.Edges(scale=0.5)

TASKS = {
    "generate_background": pb.GenerateRequest(generate_background=pb.GenerateBackground(image=IMAGE)),
    "face": pb.GenerateRequest(face=pb.Face(image=IMAGE)),
    "control": pb.GenerateRequest(control=pb.Control(image=IMAGE)),
    "control2": pb.GenerateRequest(control=pb.Control(image=IMAGE, edges_only=True)),
    "upscale": pb.GenerateRequest(upscale=pb.Upscale(image=IMAGE)),
    "inpainting": pb.GenerateRequest(inpaint=pb.Inpaint(image=IMAGE, mask=pb.ImageSource(url=MASK))),
    "img2img": pb.GenerateRequest(image_to_image=pb.ImageToImage(image=IMAGE)),
}


def with_prompt(task: pb.GenerateRequest, prompt: str | None = "a fox") -> pb.GenerateRequest:
    """A request with a task, as all tests here ask for it."""
    whole = pb.GenerateRequest(request_id="id", prompt=prompt)
    whole.MergeFrom(task)
    return whole


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_each_adapter_becomes_its_task_and_leaves_defaults_open(adapter: str) -> None:
    assert from_picture(adapter) == with_prompt(TASKS[adapter])


@pytest.mark.parametrize("adapter", [None, "", " Generate_Background "])
def test_a_picture_and_a_description_alone_ask_for_a_background(adapter: str | None) -> None:
    assert from_picture(adapter) == with_prompt(TASKS["generate_background"])


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_what_every_adapter_takes(adapter: str) -> None:
    generate = {
        "additional_prompt": "in snow",
        "negative_prompt": "people",
        "model_type": "fantasy",
        "sample_num": 12,
    }
    found = from_picture(adapter, generate=generate, width=640, output_format="webp", quality=50)
    expected = pb.GenerateRequest(
        prompt="a fox, in snow",
        negative_prompt="people",
        family="fantasy",
        seed=12,
        size=pb.Size(width=640),
        output=pb.Output(format=pb.IMAGE_FORMAT_WEBP, quality=50),
        request_id="id",
    )
    expected.MergeFrom(TASKS[adapter])
    assert found == expected


@pytest.mark.parametrize(
    ("adapter", "generate", "expected"),
    [
        ("generate_background", {"item_area_percentage": 0.65}, pb.GenerateBackground(item_area=0.65)),
        ("generate_background", {"item_area_percentage": 1}, pb.GenerateBackground()),
        ("generate_background", {"color": "#ff8000"}, pb.GenerateBackground(color=pb.Color(rgba=0xFF8000FF))),
        ("generate_background", {"color": [217, 179, 190]}, pb.GenerateBackground(color=pb.Color(rgba=0xD9B3BEFF))),
        ("generate_background", {"color": "auto"}, pb.GenerateBackground(color=pb.Color(auto=True))),
        ("generate_background", {"color": "transparent"}, pb.GenerateBackground()),
        ("generate_background", {"controlnet_conditioning_scale": 0.5}, pb.GenerateBackground(edges=HALF)),
        ("face", {"face_id": True}, pb.Face(face_only=True)),
        ("face", {"face_id": False}, pb.Face()),
        ("face", {"controlnet_conditioning_scale": "0.5"}, pb.Face(edges=HALF)),
        ("control", {"controlnet_conditioning_scale": 0}, pb.Control(edges=pb.Edges(scale=0))),
        ("control2", {"controlnet_conditioning_scale": 0.75}, pb.Control(edges=pb.Edges(scale=0.75))),
        ("inpainting", {"controlnet_conditioning_scale": 0.5}, pb.Inpaint(edges=HALF)),
        ("inpainting", {"ip_image2": "base64,QUJD"}, pb.Inpaint(mask=pb.ImageSource(data=b"ABC"))),
        ("img2img", {"strength": 0.3}, pb.ImageToImage(strength=0.3)),
        ("img2img", {"controlnet_conditioning_scale": 0.5}, pb.ImageToImage(edges=HALF)),
        ("upscale", {"controlnet_conditioning_scale": 0.5}, pb.Upscale()),
    ],
)
def test_a_field_of_an_adapter(adapter: str, generate: dict[str, Any], expected: Any) -> None:
    found = from_picture(adapter, generate=generate)
    name = found.WhichOneof("task")
    assert name is not None
    task = type(expected)()
    task.CopyFrom(getattr(TASKS[adapter], name))
    if isinstance(expected, pb.Inpaint) and expected.HasField("mask"):
        task.ClearField("mask")
    task.MergeFrom(expected)
    assert getattr(found, name) == task


def test_an_inline_picture_goes_on_as_bytes() -> None:
    assert from_picture("face", url="data:image/png;base64,QUJD").face.image == pb.ImageSource(data=b"ABC")


# --- upscaling


@pytest.mark.parametrize("generate", [None, {}, {"adapter_type": "upscale"}])
def test_generative_upscale_needs_no_prompt(generate: dict[str, Any] | None) -> None:
    found = edited(width=3000, generative_upscale=True, background={"generate": generate})
    assert found == with_prompt(
        pb.GenerateRequest(upscale=pb.Upscale(image=IMAGE), size=pb.Size(width=3000)), prompt=None
    )


def test_generative_upscale_takes_its_prompt_with_the_adapter() -> None:
    found = from_picture("upscale", generative_upscale="true", width="200%", height="200%", upscale_strength=7)
    assert found == with_prompt(
        pb.GenerateRequest(
            upscale=pb.Upscale(image=IMAGE, fidelity=7), size=pb.Size(width_percent=200, height_percent=200)
        )
    )


@pytest.mark.parametrize("adapter", sorted({*ADAPTERS, ""} - {"upscale"}))
def test_generative_upscale_and_another_adapter_are_two_requests(adapter: str) -> None:
    with pytest.raises(BadRequestError, match=r"^background\.generate\.adapter_type must be upscale with generative"):
        from_picture(adapter, generative_upscale=True)


def test_the_strength_of_upscaling_acts_only_on_upscaling() -> None:
    assert edited(upscale_strength=7) == edited()
    assert from_picture("upscale", upscale_strength="1").upscale.fidelity == 1


# --- outpainting


@pytest.mark.parametrize("generate", [None, {"adapter_type": "upscale"}, {"adapter_type": "generate_background"}])
def test_outpainting_needs_no_prompt(generate: dict[str, Any] | None) -> None:
    found = edited(width=1024, height=768, fit={"canvas": "outpainting"}, background={"generate": generate})
    assert found == with_prompt(
        pb.GenerateRequest(outpaint=pb.Outpaint(image=IMAGE), size=pb.Size(width=1024, height=768)), prompt=None
    )


@pytest.mark.parametrize("adapter", [None, "generate_background", "upscale"])
def test_outpainting_with_a_prompt(adapter: str | None) -> None:
    generate = {"controlnet_conditioning_scale": 0.25, "item_area_percentage": 1}
    found = from_picture(adapter, fit={"canvas": "outpainting"}, generate=generate)
    assert found == with_prompt(pb.GenerateRequest(outpaint=pb.Outpaint(image=IMAGE, edges=pb.Edges(scale=0.25))))


@pytest.mark.parametrize("adapter", ["face", "control", "control2", "inpainting", "img2img"])
def test_outpainting_and_another_adapter_are_two_requests(adapter: str) -> None:
    with pytest.raises(BadRequestError, match=r"^background\.generate\.adapter_type must be upscale with fit"):
        from_picture(adapter, fit={"canvas": "outpainting"})


def test_outpainting_and_upscaling_are_two_requests() -> None:
    with pytest.raises(BadRequestError, match=r"^generative_upscale does not go with fit"):
        edited(fit={"canvas": "outpainting"}, generative_upscale=True)


# --- without painting


def test_a_picture_alone_is_written_again() -> None:
    assert edited() == with_prompt(pb.GenerateRequest(edit=pb.Edit(image=IMAGE)), prompt=None)


# --- what is missing


@pytest.mark.parametrize("adapter", sorted({*ADAPTERS} - {"upscale"}))
def test_an_adapter_without_a_description(adapter: str) -> None:
    block = {"adapter_type": adapter, "negative_prompt": "people"}
    with pytest.raises(BadRequestError, match=r"^background\.generate\.description is required"):
        edited(background={"generate": block})


def test_inpainting_without_a_mask() -> None:
    with pytest.raises(BadRequestError, match=r"^background\.generate\.ip_image2 is required"):
        from_picture("inpainting", generate={"ip_image2": None})


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"width": 100},
        {"background": {"remove": "auto"}},
        {"background": {"generate": {"model_type": "fantasy"}}},
        {"generative_upscale": True},
        {"generative_upscale": True, "background": {"generate": {"description": "a"}}},
        *({"background": {"generate": {"description": "a", "adapter_type": name}}} for name in ADAPTERS[1:]),
    ],
)
def test_what_needs_a_picture_and_has_none(document: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError) as caught:
        proto(document)
    assert caught.value.body == {"message": "File or image url is required"}


# --- what an adapter does not know


FOREIGN = {
    "face_id": (True, {"face"}),
    "ip_image2": (URL, {"inpainting"}),
    "strength": (0.1, {"img2img"}),
    "item_area_percentage": (0.7, {"generate_background"}),
    "color": ("red", {"generate_background"}),
    "controlnet_conditioning_scale": (0.75, set(ADAPTERS) - {"upscale"}),
}


@pytest.mark.parametrize("field", FOREIGN)
@pytest.mark.parametrize("adapter", [None, *ADAPTERS])
def test_a_field_works_with_its_adapters_and_is_refused_by_name_with_others(field: str, adapter: str | None) -> None:
    value, adapters = FOREIGN[field]
    if adapter in adapters or (adapter is None and "generate_background" in adapters):
        assert from_picture(adapter, generate={field: value}).WhichOneof("task")
        return
    with pytest.raises(BadRequestError, match=rf"^background\.generate\.{field} "):
        from_picture(adapter, generate={field: value})


@pytest.mark.parametrize("field", FOREIGN)
def test_a_field_of_pictures_is_refused_by_name_without_one(field: str) -> None:
    with pytest.raises(BadRequestError, match=rf"^background\.generate\.{field} (works only with|needs) a picture"):
        from_text(generate={field: FOREIGN[field][0]})


@pytest.mark.parametrize("field", ["item_area_percentage", "color"])
def test_outpainting_does_not_know_the_fields_of_the_default_adapter(field: str) -> None:
    with pytest.raises(BadRequestError, match=rf"^background\.generate\.{field} works only with"):
        from_picture(generate={field: FOREIGN[field][0]}, fit={"canvas": "outpainting"})
