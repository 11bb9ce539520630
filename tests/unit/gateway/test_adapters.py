"""Every adapter's proto; the fields that it takes; those that it refuses by name."""

from typing import Any

import pytest

from gateway.errors import BadRequestError
from imagegen.v1 import generation_pb2 as pb
from tests.unit.gateway.asking import IMAGE, MASK, URL, edited, from_picture, from_text, proto, warnings

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


@pytest.mark.parametrize("adapter", [*ADAPTERS, "text"])
def test_what_every_adapter_takes(adapter: str) -> None:
    generate = {
        "additional_prompt": "in snow",
        "negative_prompt": "people",
        "model_type": "fantasy",
        "sample_num": "12",
    }
    output = {"output_format": "JPG", "quality": 85, "output_quality": 60, "max_file_size": "1mb"}
    size = {"width": "640", "height": 480.0}
    if adapter == "text":
        found = from_text(generate={**generate, "adapter_type": "generate_background"}, **size, **output)
    else:
        found = from_picture(adapter, generate=generate, **size, **output)
    expected = pb.GenerateRequest(
        prompt="a fox, in snow",
        negative_prompt="people",
        family="fantasy",
        seed=12,
        size=pb.Size(width=640, height=480),
        output=pb.Output(format=pb.IMAGE_FORMAT_JPEG, quality=60, max_file_size=2**20),
        request_id="id",
    )
    expected.MergeFrom(TASKS.get(adapter, pb.GenerateRequest(text_to_image=pb.TextToImage())))
    assert found == expected


@pytest.mark.parametrize(
    ("adapter", "generate", "expected"),
    [
        ("generate_background", {"item_area_percentage": 0.65}, pb.GenerateBackground(item_area=0.65)),
        ("generate_background", {"item_area_percentage": 1}, pb.GenerateBackground()),
        ("generate_background", {"item_area_percentage": 0}, pb.GenerateBackground()),
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
def test_generative_upscale_with_another_adapter_changes_nothing(adapter: str) -> None:
    assert from_picture(adapter, generative_upscale=True, upscale_strength=7) == from_picture(adapter)
    generate = {"description": "a fox", "adapter_type": adapter, "ip_image2": MASK}
    document = {"url": URL, "generative_upscale": True, "background": {"generate": generate}}
    assert any(each.startswith("generative_upscale is not used: ") for each in warnings(document))


def test_the_strength_of_upscaling_acts_only_on_upscaling() -> None:
    assert edited(upscale_strength=7) == edited()
    assert from_picture("upscale", upscale_strength="1").upscale.fidelity == 1


@pytest.mark.parametrize("way", ["text_x4", " TEXT_X4 "])
def test_text_is_enlarged_in_a_way_of_its_own(way: str) -> None:
    found = edited(width="400%", upscale_parameters={"type": way})
    assert found.edit == pb.Edit(image=IMAGE, enlargement=pb.ENLARGEMENT_TEXT)
    assert from_picture("upscale", upscale_parameters={"type": way}) == from_picture("upscale")


def test_an_unknown_way_of_enlarging_is_refused_with_those_there_are() -> None:
    with pytest.raises(BadRequestError, match=r"^upscale_parameters\.type must be one of v1, text_x4$"):
        edited(upscale_parameters={"type": "v2"})


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
def test_outpainting_wins_over_another_adapter_and_upscaling(adapter: str) -> None:
    found = from_picture(adapter, fit={"canvas": "outpainting"}, generative_upscale=True)
    assert found == with_prompt(pb.GenerateRequest(outpaint=pb.Outpaint(image=IMAGE)))


# --- without painting


def test_a_picture_alone_is_written_again() -> None:
    assert edited() == with_prompt(pb.GenerateRequest(edit=pb.Edit(image=IMAGE)), prompt=None)


# --- what is missing


@pytest.mark.parametrize("description", [None, "", "  "])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_description_is_optional_with_a_picture(adapter: str, description: str | None) -> None:
    prompts = {"generate_background": "plain studio background", "face": "portrait of a person"}
    found = from_picture(adapter, generate={"description": description})
    assert found == with_prompt(TASKS[adapter], prompt=prompts.get(adapter))


def test_without_a_picture_an_empty_description_is_named() -> None:
    assert from_text(generate={"description": ""}).prompt == ""  # which the orchestrator refuses by name


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
    "ip_image2": (URL, {"inpainting", "face"}),
    "strength": (0.1, {"img2img"}),
    "item_area_percentage": (0.7, {"generate_background"}),
    "color": ("red", {"generate_background"}),
    "controlnet_conditioning_scale": (0.75, set(ADAPTERS) - {"upscale"}),
    "avatar_generation_type": ("regular", {"face"}),
    "context_images": ([URL], {"img2img"}),
}


@pytest.mark.parametrize("field", FOREIGN)
@pytest.mark.parametrize("adapter", [None, *ADAPTERS])
def test_a_field_changes_nothing_with_an_adapter_that_does_not_use_it(field: str, adapter: str | None) -> None:
    value, adapters = FOREIGN[field]
    generate = {"description": "a fox", "adapter_type": adapter, "ip_image2": MASK if adapter == "inpainting" else None}
    document = {"url": URL, "background": {"generate": {**generate, field: value}}}
    if (adapter or "generate_background") in adapters:
        assert warnings(document) == ()
        return
    assert proto(document) == from_picture(adapter)
    (warning,) = warnings(document)
    assert warning.startswith(f"background.generate.{field} is not used: ")


@pytest.mark.parametrize("field", FOREIGN)
def test_a_field_of_pictures_changes_nothing_without_one(field: str) -> None:
    assert from_text(generate={field: FOREIGN[field][0]}) == from_text()


@pytest.mark.parametrize("field", ["item_area_percentage", "color"])
def test_outpainting_does_not_use_the_fields_of_the_default_adapter(field: str) -> None:
    fit = {"canvas": "outpainting"}
    assert from_picture(generate={field: FOREIGN[field][0]}, fit=fit) == from_picture(fit=fit)


# --- face swap, context images


@pytest.mark.parametrize("kind", [None, "creative_img2img", "Creative_Img2Img", "regular", "another"])
@pytest.mark.parametrize("description", [None, "an old man"])
def test_a_face_swap_as_its_page_has_it(kind: str | None, description: str | None) -> None:
    generate = {"strength": 0.1, "adapter_type": "face", "avatar_generation_type": kind, "ip_image2": MASK}
    found = edited(background={"generate": {**generate, "description": description}})
    expected = pb.FaceSwap(image=IMAGE, face=pb.ImageSource(url=MASK), strength=0.1)
    assert found == with_prompt(pb.GenerateRequest(face_swap=expected), prompt=description)


def test_a_face_without_another_is_an_avatar_whatever_its_kind() -> None:
    for kind in ("regular", "creative_img2img", "another"):
        assert from_picture("face", generate={"avatar_generation_type": kind}) == from_picture("face")


def context(*pictures: str, **top: Any) -> dict[str, Any]:
    generate = {"description": "a fox", "adapter_type": "img2img", "context_images": list(pictures)}
    return {**top, "background": {"generate": generate}}


def test_context_images_take_the_place_of_a_url() -> None:
    found = proto(context(URL, MASK, "base64,QUJD", width=1344, height=768))
    references = [pb.ImageSource(url=MASK), pb.ImageSource(data=b"ABC")]
    expected = pb.GenerateRequest(image_to_image=pb.ImageToImage(image=IMAGE, references=references))
    expected.size.width, expected.size.height = 1344, 768
    assert found == with_prompt(expected)
    assert proto(context(URL, width="50%")).size.width_percent == 50  # of the picture that it starts from
    assert proto(context(URL)) == proto(context(url=URL)) == from_picture("img2img")


def test_context_images_go_with_a_url() -> None:
    found = proto(context(MASK, url=URL)).image_to_image
    assert found == pb.ImageToImage(image=IMAGE, references=[pb.ImageSource(url=MASK)])


@pytest.mark.parametrize("document", [context(*[URL] * 5), context(*[URL] * 4, url=URL)])
def test_one_to_four_pictures_are_taken(document: dict[str, Any]) -> None:
    said = r"^background\.generate\.context_images may have 1 to 4 pictures, url counted; it has 5$"
    with pytest.raises(BadRequestError, match=said):
        proto(document)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (context("ftp://a.example"), "context_images[0]"),
        (context(URL, "ftp://a.example"), "context_images[1]"),
        (context("ftp://a.example", url=URL), "context_images[0]"),
    ],
)
def test_a_wrong_context_image_is_named_by_its_number(document: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        proto(document)
    assert str(caught.value).startswith(f"background.generate.{field} must be ")
