"""The orchestrator's errors in the client's words."""

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract import ProcessRequest
from gateway.names import Names
from imagegen.v1 import generation_pb2 as pb

PICTURE = Names(from_picture=True)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("prompt", "background.generate.description"),
        ("request.prompt", "background.generate.description"),
        ("negative_prompt", "background.generate.negative_prompt"),
        ("family", "background.generate.model_type"),
        ("seed", "background.generate.sample_num"),
        ("edit.image", "url"),
        ("control.image.data", "url"),
        ("request.face.image.url", "url"),
        ("inpaint.mask", "background.generate.ip_image2"),
        ("inpaint.mask.url", "background.generate.ip_image2"),
        ("control.edges.scale", "background.generate.controlnet_conditioning_scale"),
        ("image_to_image.strength", "background.generate.strength"),
        ("generate_background.item_area", "background.generate.item_area_percentage"),
        ("generate_background.color", "background.generate.color"),
        ("face.face_only", "background.generate.face_id"),
        ("upscale.fidelity", "upscale_strength"),
        ("size", "width, height:"),
        ("size.width", "width"),
        ("size.height", "height"),
        ("size.width_percent", "width"),
        ("size.height_percent", "height"),
        ("size.min_length", "min_length"),
        ("layout.fit", "fit"),
        ("layout.gravity", "fit"),
        ("layout.padding_pixels", "padding"),
        ("layout.padding_share", "padding"),
        ("background.remove", "background.remove"),
        ("background.color", "background.color"),
        ("background.replace.url", "background.replace"),
        ("output.format", "output_format"),
        ("output.quality", "quality"),
        ("output.max_file_size", "max_file_size"),
        ("output.target", "target"),
        ("size.reorient", "print_reorientation"),
        ("output.dpi", "dpi"),
        ("caption.image.data", "caption.url"),
        ("caption.padding_share", "caption.padding"),
        ("caption.width_share", "caption.target_width_percentage"),
        ("enhancements[0].kind", "enhancements"),
        ("enhancements[0].level", "enhancements"),  # nobody knows which
        ("preview_interval", "imagegen.preview_interval"),
        ("webhook.url", "webhooks.complete"),
        ("request.request_id", "Idempotency-Key"),
        ("steps", "steps"),
        ("nothing.image", "nothing.image"),
    ],
)
def test_a_path_of_the_proto_is_the_clients_field(path: str, name: str) -> None:
    assert Names().field(path) == name


def paths(message: Descriptor, prefix: str = "") -> Iterator[str]:
    """Paths of every field that REST may set."""
    for field in message.fields:
        yield f"{prefix}{field.name}"
        if field.message_type is not None:
            yield from paths(field.message_type, f"{prefix}{field.name}.")


def test_no_path_that_rest_sets_is_told_as_it_is() -> None:
    """A field that comes into the schema must be named here, or stand among those that no JSON sets."""
    tasks = {field.name for field in pb.GenerateRequest.DESCRIPTOR.oneofs_by_name["task"].fields}
    unset = {
        *tasks,
        *("sampler", "steps", "guidance_scale", "priority", "detach_on_disconnect"),
        *("output", "output.delivery", "layout", "background"),
        *("face.likeness", "control.control_kind"),
        *(f"{task}.edges{threshold}" for task in tasks for threshold in ("", ".low_threshold", ".high_threshold")),
    }
    same = {path for path in paths(pb.GenerateRequest.DESCRIPTOR) if Names().field(path) == path}
    colours = {path for path in same if path.endswith((".rgba", ".auto"))}
    same -= colours | unset
    assert same == {*(f"background.{name}" for name in ("remove", "color", "replace")), "enhancements"} | {
        *("caption", "caption.opacity")
    }


def test_names_of_a_request() -> None:
    assert Names.of(ProcessRequest()) == Names(from_picture=False, quality="quality")
    found = Names.of(ProcessRequest(url="https://a.example/", output_quality=101))
    assert found == Names(from_picture=True, quality="output_quality")
    assert found.field("output.quality") == "output_quality"


def test_enhancements_are_known_by_their_names_and_a_file_by_its_part() -> None:
    request = ProcessRequest(enhancements=["light", "face_enhance", "light"]).with_file("fileName", b"x")
    found = Names.of(request)
    assert found.from_picture
    assert found.field("request.enhancements[0].level") == "light_parameters.level"
    assert found.field("enhancements[0].method") == "light_parameters.type"
    assert found.field("enhancements[1].smoothing") == "face_enhance_parameters.smoothing_level"
    assert found.field("enhancements[1].kind") == "enhancements"
    assert found.field("enhancements[2].level") == "enhancements"
    assert found.field("edit.image.data") == "fileName"
    said = "enhancements[1].smoothing: must be from 0 to 1, not 2; edit.image: Unidentified image: no picture"
    assert found.job_message(said) == (
        "Unidentified image (fileName): no picture; face_enhance_parameters.smoothing_level must be from 0 to 1, not 2"
    )


def test_an_unreadable_picture_begins_with_the_documented_words() -> None:
    violations = [
        ("seed", "is too large"),
        ("edit.image", "Unidentified image; send JPEG or PNG"),
    ]
    assert PICTURE.sentence(violations) == (
        "Unidentified image (url); send JPEG or PNG; background.generate.sample_num is too large"
    )


TOO_LONG = "must be from 64 to 4096 pixels, not 5000"
FOUND = "makes a picture of 5000 x 10 pixels; it cannot be above 4096 pixels on a side and 16777216 in all"
ABOVE = "Image cannot be upscaled above 4096 x 4096 pixels limit."


@pytest.mark.parametrize(
    ("violations", "said"),
    [
        ([("size.width", TOO_LONG)], ABOVE),
        ([("size.width", TOO_LONG), ("size.height", TOO_LONG)], ABOVE),
        ([("size.width_percent", TOO_LONG)], ABOVE),
        ([("size", "width times height exceeds the limit of 4194304 pixels")], ABOVE.replace("4096", "2048")),
        ([("size.height_percent", FOUND)], ABOVE),
        ([("layout.fit", FOUND)], ABOVE),
        ([("layout.fit", "must be another")], "fit must be another"),
        ([("size.width", "must be from 64 to 4096 pixels, not 63")], "width must be from 64 to 4096 pixels, not 63"),
        ([("size.width_percent", "must be from 1 to 3200 %, not 4000")], "width must be from 1 to 3200 %, not 4000"),
    ],
)
def test_a_size_beyond_the_limit_is_the_documented_sentence(violations: list[tuple[str, str]], said: str) -> None:
    assert PICTURE.sentence(violations) == said


def test_without_a_picture_nothing_is_upscaled() -> None:
    assert Names().sentence([("size.width", TOO_LONG)]) == f"width {TOO_LONG}"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "control.image: Unidentified image: the PNG file is broken",
            "Unidentified image (url): the PNG file is broken",
        ),
        ("edit.image: Unidentified image; send JPEG or PNG", "Unidentified image (url); send JPEG or PNG"),
        ("size.width: is wrong; seed: is too; large", "width is wrong; background.generate.sample_num is too; large"),
        ("background.replace: is empty: 0 bytes", "background.replace is empty: 0 bytes"),
        (f"size.height: {TOO_LONG}", ABOVE),
        ("face.image: no face was found", "url: no face was found"),
        ("inpaint.mask: the mask selects nothing", "background.generate.ip_image2: the mask selects nothing"),
        ("no face was found", "no face was found"),
        ("the mask selects nothing: none is white", "the mask selects nothing: none is white"),
        ("unheard_of: of", "unheard_of: of"),
        ("words first; seed: is too large", "words first; seed: is too large"),
        ("", ""),
    ],
)
def test_the_message_of_a_failed_job(message: str, said: str) -> None:
    assert PICTURE.job_message(message) == said


@given(st.text(max_size=80))
def test_any_message_of_a_job_can_be_told(message: str) -> None:
    assert isinstance(PICTURE.job_message(message), str)
