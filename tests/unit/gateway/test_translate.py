"""JSON to proto to JSON, without a network."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway import body, contract, translate
from gateway.contract import ProcessRequest
from gateway.errors import ApiError, BadRequestError
from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2

Result = TypeVar("Result")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def fields_of(model: type[ProcessRequest] | type[contract.Generate]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects whose names are those of the contract and whose values are anything."""
    return st.dictionaries(st.sampled_from(sorted(model.model_fields)), JSON, max_size=8)


REQUESTS = st.builds(
    lambda top, inner: {**top, "background": {"generate": {"description": "a fox", **inner}}},
    fields_of(ProcessRequest),
    fields_of(contract.Generate),
)


def proto(**top: Any) -> pb.GenerateRequest:
    """The proto of a request for a fox."""
    generate = {"description": "a fox", **top.pop("generate", {})}
    return translate.to_proto(contract.parse({"background": {"generate": generate}, **top}), "id")


def outcome(call: Callable[[], Result]) -> Result | ApiError:
    """What a call gives, or the answer that it ends with. Anything else that it raises fails the test."""
    try:
        return call()
    except ApiError as error:
        return error


@given(JSON | fields_of(ProcessRequest) | REQUESTS)
@example({"width": 10**5000})
@example({"background": {"generate": {"description": "x", "context_images": [1] * 10_000}}})
def test_any_json_gives_a_proto_or_a_bad_request(document: object) -> None:
    found = outcome(lambda: translate.to_proto(contract.parse(document), "id"))
    if isinstance(found, ApiError):
        assert found.status == 400
        assert len(found.body["message"]) < 5000
        json.dumps(found.body, ensure_ascii=False).encode()  # as the answer is written
    else:
        assert pb.GenerateRequest.FromString(found.SerializeToString()) == found


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_give_json_or_a_bad_request(content: bytes) -> None:
    found = outcome(lambda: body.parse_json(content))
    if isinstance(found, ApiError):
        assert (found.status, found.body["code"]) == (400, "BAD_REQUEST")
    else:
        assert found == json.loads(content)


def test_a_body_of_very_many_values_is_not_parsed() -> None:
    with pytest.raises(BadRequestError, match="more than 250000 JSON values"):
        body.parse_json(b"[" + b"[]," * 200_000 + b"[]]")


def test_a_byte_order_mark_is_no_harm() -> None:
    assert body.parse_json(b'\xef\xbb\xbf{"a": "\xc3\xa9"}') == {"a": "é"}


def test_what_is_left_open_stays_unset() -> None:
    assert proto() == pb.GenerateRequest(text_to_image=pb.TextToImage(), prompt="a fox", request_id="id")


def test_every_field() -> None:
    generate = {
        "additional_prompt": "in snow",
        "negative_prompt": "people",
        "model_type": "fantasy",
        "sample_num": "12",
        "adapter_type": "generate_background",
    }
    found = proto(
        generate=generate,
        width="640",
        height=480.0,
        output_format="JPG",
        quality=85,
        output_quality=60,
        max_file_size="1mb",
    )
    assert found == pb.GenerateRequest(
        text_to_image=pb.TextToImage(),
        prompt="a fox, in snow",
        negative_prompt="people",
        family="fantasy",
        seed=12,
        size=pb.Size(width=640, height=480),
        output=pb.Output(format=pb.IMAGE_FORMAT_JPEG, quality=60, max_file_size=2**20),
        request_id="id",
    )


def test_seed_zero_is_a_seed() -> None:
    assert proto(generate={"sample_num": 0}).HasField("seed")


@pytest.mark.parametrize("empty", [None, "", [], {}])
@pytest.mark.parametrize("name", sorted(set(ProcessRequest.model_fields) - {"background"}))
def test_an_empty_field_is_an_absent_one(name: str, empty: object) -> None:
    assert proto(**{name: empty}) == proto()


@pytest.mark.parametrize(
    "harmless",
    [
        {"quality": None, "dpi": 300, "print_reorientation": True, "fit": "canvas"},
        {"dpi": "300", "safe": False, "generative_upscale": "false", "min_length": 0, "padding": "0"},
        {"webhooks": {"complete": None}, "caption": {"url": ""}, "enhancements": []},
        {"denoise_parameters": {"type": "v2"}, "nsfw_parameters": {"thresold": 0.5}, "upscale_strength": 5},
        {"generate": {"item_area_percentage": 1, "controlnet_conditioning_scale": "0.5", "face_id": False}},
        {"unheard_of": {"a": 1}, "generate": {"unheard_of": 1}},
    ],
)
def test_defaults_and_what_is_off_change_nothing(harmless: dict[str, Any]) -> None:
    found = proto(**harmless)
    assert found == proto()


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"target": "storage://s/p"}, "target"),
        ({"padding": "5%"}, "padding"),
        ({"min_length": 5}, "min_length"),
        ({"fit": "crop"}, "fit"),
        ({"fit": 7}, "fit"),
        ({"print_size": "A4"}, "print_size"),
        ({"dpi": 72}, "dpi"),
        ({"print_reorientation": False}, "print_reorientation"),
        ({"caption": {"url": "https://a.example"}}, "caption"),
        ({"generative_upscale": True}, "generative_upscale"),
        ({"background": {"remove": "auto", "generate": {"description": "a"}}}, "background.remove"),
        ({"background": {"color": "#ffffff", "generate": {"description": "a"}}}, "background.color"),
        ({"background": {"replace": "https://a.example", "generate": {"description": "a"}}}, "background.replace"),
        ({"generate": {"face_id": True}}, "background.generate.face_id"),
        ({"generate": {"controlnet_conditioning_scale": 0}}, "background.generate.controlnet_conditioning_scale"),
        ({"generate": {"context_images": ["https://a.example"]}}, "background.generate.context_images"),
        ({"generate": {"strength": 0.1}}, "background.generate.strength"),
        ({"generate": {"avatar_generation_type": "creative_img2img"}}, "background.generate.avatar_generation_type"),
        ({"generate": {"color": [1, 2, 3]}}, "background.generate.color"),
        ({"generate": {"color": [1, 2, "x"]}}, "background.generate.color"),
        ({"generate": {"description": 5}}, "background.generate.description"),
        ({"generate": {"context_images": [5]}}, "background.generate.context_images.0"),
    ],
)
def test_what_is_not_served_or_wrong_is_named(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequestError, match=f"^{field} (is not served by this build|must be )"):
        proto(**asked)


def test_all_wrong_fields_are_named_at_once() -> None:
    with pytest.raises(BadRequestError, match=r'^width must .*"abc"; quality must .* not -1$'):
        contract.parse({"width": "abc", "quality": -1})


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("prompt", "background.generate.description"),
        ("request.prompt", "background.generate.description"),
        ("negative_prompt", "background.generate.negative_prompt"),
        ("family", "background.generate.model_type"),
        ("seed", "background.generate.sample_num"),
        ("size", "width, height:"),
        ("size.width", "width"),
        ("size.height", "height"),
        ("output.format", "output_format"),
        ("output.quality", "quality"),
        ("output.max_file_size", "max_file_size"),
        ("request_id", "X-Request-ID"),
        ("steps", "steps"),
    ],
)
def test_json_path(path: str, name: str) -> None:
    assert translate.json_path(path, ProcessRequest()) == name


def test_json_path_of_an_alias() -> None:
    assert translate.json_path("output.quality", ProcessRequest(output_quality=101)) == "output_quality"


def test_an_enum_value_of_a_newer_schema_is_shown_as_its_number() -> None:
    artifact = pb.Artifact.FromString(bytes([pb.Artifact.SAMPLER_FIELD_NUMBER << 3, 99]))
    job = jobs_pb2.Job(job_id="j", state=jobs_pb2.JOB_STATE_SUCCEEDED, artifact=artifact)
    assert translate.answer(job).sampler == "99"


@pytest.mark.parametrize("state", sorted(jobs_pb2.JobState.values()))
def test_every_state_of_a_job_has_an_answer(state: int) -> None:
    job = jobs_pb2.Job(job_id="j")
    job.MergeFromString(b"\x10" + bytes([state]))
    for answer in (translate.answer, translate.answer_to_waiting):
        found = outcome(lambda: answer(job))  # noqa: B023  # called at once
        assert found.status in {404, 500} if isinstance(found, ApiError) else found.job == "j"
