"""The orchestrator's errors in the client's words."""

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract import request as contract
from gateway.contract.request import ProcessRequest
from gateway.translate.names import Names
from imagegen.v1 import generation_pb2 as pb
from orchestrator.api.status import to_violation
from orchestrator.errors import Reason, Violation

PICTURE = Names(from_picture=True)


def wrong(
    field: str, description: str, reason: Reason = Reason.UNSPECIFIED, limits: dict[str, float] | None = None
) -> pb.Violation:
    """A violation as the orchestrator sends it."""
    return to_violation(Violation(field, description, reason, limits or {}))


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
        ("face_swap.face", "background.generate.ip_image2"),
        ("image_to_image.references[1].url", "background.generate.context_images[1]"),
        ("edit.enlargement", "upscale_parameters.type"),
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
        ("steps", "imagegen.steps"),
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


def test_every_path_that_rest_sets_is_translated() -> None:
    """A field that comes into the schema must be named here, or stand among those that no JSON sets."""
    tasks = {field.name for field in pb.GenerateRequest.DESCRIPTOR.oneofs_by_name["task"].fields}
    unset = {
        *tasks,
        "detach_on_disconnect",
        *("output", "output.delivery", "layout", "background", "safety", "safety.enabled", "safety.inputs"),
        *("face.likeness", "face_swap.likeness", "image_to_image.likeness"),
        *("control.control_kind", "inpaint.mask_by_opacity", "inpaint.likeness"),
        *(f"{task}.edges{threshold}" for task in tasks for threshold in ("", ".low_threshold", ".high_threshold")),
    }
    same = {path for path in paths(pb.GenerateRequest.DESCRIPTOR) if Names().field(path) == path}
    colours = {path for path in same if path.endswith((".rgba", ".auto"))}
    digests = {path for path in same if path.endswith(".sha256")}  # of answers alone
    same -= colours | digests | unset
    assert same == {*(f"background.{name}" for name in ("remove", "color", "replace")), "enhancements"} | {
        *("caption", "caption.opacity")
    }


def test_names_of_a_request() -> None:
    assert Names.of(ProcessRequest()) == Names()
    found = Names.of(ProcessRequest(url="https://a.example/", output_quality=101))
    assert found == Names(from_picture=True, sent_as={"quality": "output_quality"})
    assert found.field("output.quality") == "output_quality"


DESCRIPTION, MORE = "background.generate.description", "background.generate.additional_prompt"


@pytest.mark.parametrize(
    ("texts", "name"),
    [
        ({"description": "a" * 11}, DESCRIPTION),
        ({"additional_prompt": "a" * 11}, MORE),
        ({"description": "a", "additional_prompt": "b" * 11}, MORE),
        ({"description": "a" * 11, "additional_prompt": "b"}, DESCRIPTION),
        ({"description": "a" * 6, "additional_prompt": "b" * 6}, f"{DESCRIPTION} with {MORE}"),
        ({"description": ""}, DESCRIPTION),
        ({}, DESCRIPTION),
    ],
)
def test_the_text_is_named_that_makes_a_prompt_too_long(texts: dict[str, str], name: str) -> None:
    found = Names.of(contract.parse({"background": {"generate": texts}}))
    assert found.field("request.prompt", {"maximum": 10}) == name


def test_a_fault_that_is_not_of_length_is_of_the_whole_prompt() -> None:
    texts = {"description": "(a", "additional_prompt": "b)"}
    found = Names.of(contract.parse({"background": {"generate": texts}}))
    assert found.field("prompt") == f"{DESCRIPTION} with {MORE}"


@pytest.mark.parametrize(
    ("document", "path", "name"),
    [
        ({"print_size": "a4"}, "size.width", "print_size"),
        ({"print_size": "a4"}, "size", "print_size"),
        ({"nsfw_parameters": {"thresold": 2}}, "safety.threshold", "nsfw_parameters.thresold"),
        ({"nsfw_parameters": {"thresold": 2, "threshold": 2}}, "safety.threshold", "nsfw_parameters.threshold"),
        ({"nsfw_parameters": {"image_url": "x"}}, "safety.replacement.url", "nsfw_parameters.image_url"),
        ({"nsfw_parameters": {"nsfw_image_url": "x"}}, "safety.replacement", "nsfw_parameters.nsfw_image_url"),
    ],
)
def test_a_field_that_sets_another_is_named_itself(document: dict[str, Any], path: str, name: str) -> None:
    assert Names.of(contract.parse(document)).field(path) == name


def test_context_images_are_counted_as_the_client_counts_them() -> None:
    document = {"background": {"generate": {"adapter_type": "img2img", "context_images": ["a", "b", "c"]}}}
    without_url = Names.of(contract.parse(document).starting_from_context())
    assert without_url.field("image_to_image.image.url") == "background.generate.context_images[0]"
    assert without_url.field("image_to_image.references[0].url") == "background.generate.context_images[1]"
    with_url = Names.of(contract.parse(document | {"url": "d"}))
    assert with_url.field("image_to_image.image.url") == "url"
    assert with_url.field("image_to_image.references[0].url") == "background.generate.context_images[0]"


def test_a_block_that_moved_takes_its_fields_along() -> None:
    names = Names(sent_as={"background.remove": "remove_background.type", "imagegen.loras": "model"})
    assert names.field("loras[1].name") == "model[1].name"
    assert names.reworded("background.remove must be x; background.remover and a.background.remove") == (
        "remove_background.type must be x; background.remover and a.background.remove"
    )


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
    said = found.sentence(
        [
            wrong("enhancements[1].smoothing", "must be from 0 to 1, not 2"),
            wrong("edit.image", "is not a picture", Reason.UNIDENTIFIED_IMAGE),
        ]
    )
    assert said == (
        "Unidentified image. fileName is not a picture; "
        "face_enhance_parameters.smoothing_level must be from 0 to 1, not 2"
    )


@pytest.mark.parametrize(
    ("reason", "field", "said"),
    [
        (Reason.UNIDENTIFIED_IMAGE, "edit.image", "Unidentified image. url is wrong"),
        (Reason.STORAGE_UNKNOWN, "edit.image.url", "Invalid source storage. url is wrong"),
        (Reason.STORAGE_UNKNOWN, "request.output.target", "Invalid target storage. target is wrong"),
        (Reason.STORAGE_CREDENTIALS, "edit.image", "The source storage credentials are incorrect. url is wrong"),
        (Reason.STORAGE_CREDENTIALS, "output.target", "The target storage credentials are incorrect. target is wrong"),
        (
            Reason.STORAGE_PERMISSION,
            "inpaint.mask",
            "Make sure your source url/storage has sufficient permissions. background.generate.ip_image2 is wrong",
        ),
        (
            Reason.STORAGE_PERMISSION,
            "output.target",
            "Make sure your target url/storage has sufficient permissions. target is wrong",
        ),
        (
            Reason.STORAGE_MISSING,
            "caption.image",
            "Make sure your source url/storage is correct. caption.url is wrong",
        ),
        (Reason.STORAGE_MISSING, "output.target", "Make sure your target url/storage is correct. target is wrong"),
        (Reason.STORAGE_TOKEN, "edit.image", "The source storage token has been expired or revoked. url is wrong"),
        (
            Reason.STORAGE_TOKEN,
            "output.target",
            "The target storage token has been expired or revoked. target is wrong",
        ),
        (Reason.STORAGE_FOLDER, "edit.image.url", "Found folder instead of file. url is wrong"),
        (Reason.STORAGE_PATH_REQUIRED, "edit.image.url", "File key not specified. url is wrong"),
        (Reason.STORAGE_NOT_IMAGE, "edit.image", "The file is not an image. url is wrong"),
        (Reason.REQUIRED, "prompt", "background.generate.description is wrong"),
        (Reason.BELOW_MINIMUM, "seed", "background.generate.sample_num is wrong"),
        (Reason.ABOVE_MAXIMUM, "output.quality", "quality is wrong"),
        (Reason.NOT_IN_PICTURE, "face.image", "url is wrong"),
        (Reason.UNSPECIFIED, "background.replace", "background.replace is wrong"),
    ],
)
def test_the_documented_sentence_comes_first_word_for_word(reason: Reason, field: str, said: str) -> None:
    assert PICTURE.sentence([wrong(field, "is wrong", reason)]) == said


def test_documented_sentences_come_before_others() -> None:
    violations = [wrong("seed", "is too large"), wrong("edit.image", "is not one", Reason.UNIDENTIFIED_IMAGE)]
    assert PICTURE.sentence(violations) == (
        "Unidentified image. url is not one; background.generate.sample_num is too large"
    )


@pytest.mark.parametrize("field", ["size", "size.width", "size.height_percent", "size.min_length", "layout.fit"])
@pytest.mark.parametrize(
    ("limits", "side"),
    [
        ({"maximum": 4096.0}, 4096),
        ({"max_pixels": 4194304.0}, 2048),
        ({"maximum": 4096.0, "max_pixels": 4194304.0}, 2048),
        ({"maximum": 1000.0, "max_pixels": 4194304.0}, 1000),
    ],
)
def test_a_size_beyond_the_limit_is_the_documented_sentence(field: str, limits: dict[str, float], side: int) -> None:
    violation = wrong(field, "is large", Reason.TOO_MANY_PIXELS, limits)
    assert PICTURE.sentence([violation]) == f"Image cannot be upscaled above {side} x {side} pixels limit."


def test_without_a_picture_nothing_is_upscaled() -> None:
    violation = wrong("size.width", "must be less", Reason.TOO_MANY_PIXELS, {"maximum": 1.0})
    assert Names().sentence([violation]) == "width must be less"


@given(st.text(max_size=80), st.text(max_size=80), st.sampled_from(list(Reason)))
def test_every_violation_can_be_translated(field: str, description: str, reason: Reason) -> None:
    limits = {"maximum": 1.0} if reason is Reason.TOO_MANY_PIXELS else {}
    assert isinstance(PICTURE.sentence([wrong(field, description, reason, limits)]), str)
