"""Pictures sent as files, and presets, over real HTTP."""

import json
from typing import Any

import pytest

from gateway.translate.presets import SHIPPED
from imagegen.v1 import generation_pb2 as pb
from tests.contract.rest_stack import MAX_BODY_BYTES, NOW, RESULT, Stack, post

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE = b"\x89PNG not really one"
PATHS = pytest.mark.parametrize("path", [RESULT, NOW])


def form(name: str = "image", **parameters: Any) -> dict[str, Any]:
    return {"files": {name: ("a.png", PICTURE, "image/png")}, "data": {"parameters": json.dumps(parameters)}}


@PATHS
@pytest.mark.parametrize("name", ["image", "fileName"])
async def test_a_file_is_the_picture(stack: Stack, path: str, name: str) -> None:
    answer = await stack.client.post(path, **form(name, width="200%", quality=85, dpi=300, print_reorientation=True))
    assert answer.status_code == 200, answer.text
    (sent,) = stack.script.requests
    assert sent.edit.image == pb.ImageSource(data=PICTURE)
    assert sent.size == pb.Size(width_percent=200)


async def test_fields_count_without_parameters_and_parameters_win(stack: Stack) -> None:
    parts: dict[str, Any] = {"upload": ("a.png", PICTURE), "width": (None, "200%"), "height": (None, "64")}
    assert (await stack.client.post(NOW, files=parts)).status_code == 200
    parameters = (None, json.dumps({"height": 100}))
    assert (await stack.client.post(NOW, files={**parts, "parameters": parameters})).status_code == 200
    first, second = stack.script.requests
    assert first.edit.image.data == PICTURE
    assert first.size == pb.Size(width_percent=200, height=64)
    assert second.size == pb.Size(width_percent=200, height=100)


@pytest.mark.parametrize(
    "names", [("{}", "{}"), ("{}[]", "{}[]"), ("{}[0]", "{}[1]"), ("{}.0", "{}.1")], ids=lambda names: names[0]
)
async def test_a_list_in_every_form_that_forms_have(stack: Stack, names: tuple[str, str]) -> None:
    words = [(name.format("enhancements"), (None, word)) for name, word in zip(names, ("light", "clean"), strict=True)]
    assert (await stack.client.post(NOW, files=[("image", ("a.png", PICTURE)), *words])).status_code == 200
    context = "background[generate][context_images]"
    pictures = [(name.format(context), (None, f"https://a.example/{n}")) for n, name in enumerate(names)]
    generate: list[tuple[str, Any]] = [("background[generate][adapter_type]", (None, "img2img"))]
    answer = await stack.client.post(NOW, files=[*pictures, *generate])
    assert answer.status_code == 200, answer.text
    first, second = stack.script.requests
    assert [each.kind for each in first.enhancements] == [pb.ENHANCEMENT_KIND_LIGHT, pb.ENHANCEMENT_KIND_CLEAN]
    assert second.image_to_image.image.url == "https://a.example/0"
    assert [each.url for each in second.image_to_image.references] == ["https://a.example/1"]


async def test_one_item_of_a_list(stack: Stack) -> None:
    for name in ("enhancements[]", "enhancements[0]"):
        parts: list[tuple[str, Any]] = [("image", ("a.png", PICTURE)), (name, (None, "light"))]
        assert (await stack.client.post(NOW, files=parts)).status_code == 200
        assert [each.kind for each in stack.script.requests[-1].enhancements] == [pb.ENHANCEMENT_KIND_LIGHT]


MASK = b"\x89PNG another one"


@pytest.mark.parametrize("name", ["background[generate][ip_image2]", "background.generate.ip_image2"])
@pytest.mark.parametrize("by_parameters", [True, False])
async def test_a_file_is_the_picture_of_the_field_that_it_names(
    stack: Stack, name: str, *, by_parameters: bool
) -> None:
    generate = {"adapter_type": "inpainting"}
    parts: list[tuple[str, Any]] = [("image", ("a.png", PICTURE)), (name, ("m.png", MASK))]
    if by_parameters:
        parts.append(("parameters", (None, json.dumps({"background": {"generate": generate}}))))
    else:
        parts.append(("background[generate][adapter_type]", (None, "inpainting")))
    answer = await stack.client.post(NOW, files=parts)
    assert answer.status_code == 200, answer.text
    assert stack.script.requests[-1].inpaint.image.data == PICTURE
    assert stack.script.requests[-1].inpaint.mask.data == MASK


async def test_every_field_of_a_picture_takes_a_file(stack: Stack) -> None:
    parts = [
        ("image", ("a.png", PICTURE)),
        *((name, ("b.png", MASK)) for name in ("background[replace]", "caption.url")),
    ]
    assert (await stack.client.post(NOW, files=parts)).status_code == 200
    sent = stack.script.requests[-1]
    assert (sent.edit.image.data, sent.background.replace.data, sent.caption.image.data) == (PICTURE, MASK, MASK)
    parts = [(f"background[generate][context_images][{n}]", (f"{n}.png", bytes([n]))) for n in range(3)]
    answer = await stack.client.post(NOW, files=[*parts, ("background.generate.adapter_type", (None, "img2img"))])
    assert answer.status_code == 200, answer.text
    task = stack.script.requests[-1].image_to_image
    assert (task.image.data, [each.data for each in task.references]) == (b"\x00", [b"\x01", b"\x02"])


async def test_what_says_nothing_counts_as_left_out(stack: Stack) -> None:
    url = (None, "https://a.example/b.png")
    for parts in ({"image": (None, ""), "url": url}, {"parameters": (None, "null"), "url": url}):
        answer = await stack.client.post(NOW, files=parts)
        assert answer.status_code == 200, answer.text
        assert stack.script.requests[-1].edit.image.url == url[1]


async def test_a_file_serves_an_adapter(stack: Stack) -> None:
    generate = {"description": "item on the beach", "adapter_type": "generate_background"}
    await stack.client.post(NOW, **form(background={"generate": generate}))
    assert stack.script.requests[0].generate_background.image.data == PICTURE


async def test_a_form_without_a_file_is_its_parameters(stack: Stack) -> None:
    answer = await stack.client.post(NOW, files={"parameters": (None, json.dumps({"url": "https://a.example/b.png"}))})
    assert answer.status_code == 200
    assert stack.script.requests[0].edit.image.url == "https://a.example/b.png"


async def test_a_file_without_parameters_is_edited_by_none(stack: Stack) -> None:
    assert (await stack.client.post(NOW, files={"image": ("a.png", PICTURE)})).status_code == 200
    assert stack.script.requests[0].WhichOneof("task") == "edit"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (form(url="https://a.example/b.png"), "url does not go with image: send one picture"),
        (form(width="wide"), 'width must be a whole number of pixels, not "wide"'),
        ({"files": {"parameters": (None, "{")}}, "parameters is not JSON: "),
        ({"files": {"parameters": (None, "[1]")}}, "The body must be a JSON object"),
        ({"files": {"image": ("a.png", b"")}}, "image is empty"),
        ({"files": {"image": ("a.png", PICTURE), "caption.url": ("b.png", b"")}}, "caption.url is empty"),
        ({"files": {"image": ("a.png", PICTURE), "mask": ("b.png", PICTURE)}}, "mask does not go with image"),
        ({"files": {"parameters": (None, "{}")}}, "File or image url is required"),
        (
            form(name="fileName", enhancements=["light"], light_parameters={"level": 2}),
            "light_parameters.level must be",
        ),
    ],
)
async def test_what_is_wrong_is_named(stack: Stack, body: dict[str, Any], message: str) -> None:
    answer = await stack.client.post(RESULT, **body)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(message)


async def test_a_large_form_is_refused_before_it_is_read(stack: Stack) -> None:
    answer = await stack.client.post(RESULT, files={"image": ("a.png", b"x" * (MAX_BODY_BYTES + 1))})
    assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_the_same_form_with_the_same_key_is_the_same_job(stack: Stack) -> None:
    """Boundaries differ from call to call; what the orchestrator compares does not."""
    for _ in range(2):
        await stack.client.post(NOW, **form(width=100), headers={"Idempotency-Key": "mine"})
    first, second = stack.script.requests
    assert first == second
    assert first.request_id == "mine"


async def test_the_webhook_has_the_parameters(stack: Stack) -> None:
    hook = {"complete": "https://hooks.example/"}
    await stack.client.post(NOW, **form(webhooks=hook, width=100))
    (webhook,) = stack.script.webhooks
    assert webhook is not None
    assert json.loads(webhook.data) == {"webhooks": hook, "width": 100}


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.json")))
async def test_a_preset_is_put_under_the_request(stack: Stack, name: str) -> None:
    answer = await post(stack, NOW, preset=name, background=None, url="https://a.example/b.png", width=600, height=None)
    assert answer.status_code == 200, answer.text
    (sent,) = stack.script.requests
    assert sent.enhancements or sent.background.HasField("remove")
    assert sent.size == pb.Size(width=600)
