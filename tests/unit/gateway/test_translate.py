"""JSON to proto, without a network: any JSON, every field of the contract, what is not served."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.contract import blocks
from gateway.contract import request as contract
from gateway.contract.request import ProcessRequest
from gateway.errors import ApiError, BadRequestError
from gateway.translate.tasks import ADAPTERS
from gateway.transport import body
from imagegen.v1 import generation_pb2 as pb
from tests.unit.gateway.asking import MASK, URL, edited, from_picture, from_text, proto

Result = TypeVar("Result")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


# What the fields hold in life: most requests of anything else are refused for their types.
WORDS = st.sampled_from(
    [
        *ADAPTERS,
        *("canvas", "crop", "bounds", "cover", "outpainting", "item", "content", "auto", "human", "transparent", "png"),
        *("200%", "5%", "1920", "#ff8000", "rgb(1,2,3)", "base64,QUJD", "base64,QQ", URL, "storage://a/b", "realistic"),
        *(0, 1, 0.5, 100, True, False),
    ]
)
VALUES = WORDS | st.builds(lambda key, value: {key: value}, st.sampled_from(["crop", "canvas", "type"]), WORDS) | JSON


def fields_of(model: type[blocks.Block]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects whose names are those of the contract and whose values are of life or anything."""
    return st.dictionaries(st.sampled_from(sorted(model.model_fields)), VALUES, max_size=6)


REQUESTS = st.builds(
    lambda url, top, background, inner: {
        **({"url": url} if url else {}),
        **top,
        "background": {**background, "generate": {"description": "a fox", **inner}},
    },
    st.sampled_from([None, URL]),
    fields_of(ProcessRequest),
    fields_of(blocks.Background),
    fields_of(blocks.Generate),
)


def outcome(call: Callable[[], Result]) -> Result | ApiError:
    """What a call gives, or the answer that it ends with. Anything else that it raises fails the test."""
    try:
        return call()
    except ApiError as error:
        return error


@given(JSON | fields_of(ProcessRequest) | REQUESTS)
@example({"width": 10**5000})
@example({"url": "base64," + "A" * 4_000_000})
@example({"background": {"generate": {"description": "x", "context_images": [1] * 10_000}}})
def test_any_json_gives_a_proto_or_a_bad_request(document: object) -> None:
    found = outcome(lambda: proto(document))
    if isinstance(found, ApiError):
        assert isinstance(found, BadRequestError)
        assert len(found.body["message"]) < 5000
        json.dumps(found.body, ensure_ascii=False).encode()  # as the answer is written
    else:
        assert pb.GenerateRequest.FromString(found.SerializeToString()) == found
        assert found.WhichOneof("task")


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


def test_a_byte_order_mark_is_accepted() -> None:
    assert body.parse_json(b'\xef\xbb\xbf{"a": "\xc3\xa9"}') == {"a": "é"}


def test_what_is_left_open_stays_unset() -> None:
    assert from_text() == pb.GenerateRequest(text_to_image=pb.TextToImage(), prompt="a fox", request_id="id")


def test_seed_zero_is_a_seed() -> None:
    assert from_text(generate={"sample_num": 0}).HasField("seed")


@pytest.mark.parametrize("empty", [None, "", [], {}])
@pytest.mark.parametrize("name", sorted(set(ProcessRequest.model_fields) - {"background", "url"}))
def test_an_empty_field_is_an_absent_one(name: str, empty: object) -> None:
    assert from_text(**{name: empty}) == from_text()
    assert edited(**{name: empty}) == edited()


@pytest.mark.parametrize("empty", [None, "", [], {}])
def test_an_empty_url_is_none(empty: object) -> None:
    assert from_text(url=empty) == from_text()


@pytest.mark.parametrize("name", sorted(set(blocks.Generate.model_fields) - {"description", "adapter_type"}))
def test_an_empty_field_of_generate_is_an_absent_one(name: str) -> None:
    empties: list[object] = [None, "", [], {}]
    for empty in empties:
        assert from_picture("face", generate={name: empty}) == from_picture("face")


HARMLESS: list[dict[str, Any]] = [
    {"quality": None, "dpi": 300, "print_reorientation": True, "fit": "canvas"},
    {"dpi": "300", "generative_upscale": "false", "min_length": 0, "padding": "0"},
    {"webhooks": {"complete": None}, "caption": {"url": ""}, "enhancements": []},
    {"denoise_parameters": {"type": "v2"}, "nsfw_parameters": {"thresold": 0.5}},
    {"upscale_parameters": {"type": "v1"}},
    {"upscale_parameters": {"type": ""}},
    {"unheard_of": {"a": 1}, "background": {"unheard_of": 1}},
    {"generate": {"item_area_percentage": 1, "face_id": False, "unheard_of": 1}},
]


@pytest.mark.parametrize("harmless", HARMLESS)
def test_defaults_and_what_is_off_change_nothing(harmless: dict[str, Any]) -> None:
    assert from_text(**harmless) == from_text()
    for adapter in ADAPTERS:
        assert from_picture(adapter, **harmless) == from_picture(adapter)


def test_capitals_do_not_matter() -> None:
    assert from_text(generate={"model_type": " REALISTIC "}) == from_text(generate={"model_type": "realistic"})
    assert from_text(output_format=" WebP ") == from_text(output_format="webp")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"enhancements": ["White Balance", "face-enhance"]}, {"enhancements": ["white_balance", "face_enhance"]}),
        ({"enhancements": "white balance; Exposure-Correction"}, {"enhancements": "white_balance exposure_correction"}),
        ({"enhancements": ["light", None, ""]}, {"enhancements": ["light"]}),
        (
            {"enhancements": ["light"], "light_parameters": {"type": "HDR-light advanced"}},
            {"enhancements": ["light"], "light_parameters": {"type": "hdr_light_advanced"}},
        ),
        ({"upscale_parameters": {"type": "Text-x4"}}, {"upscale_parameters": {"type": "text_x4"}}),
        ({"print_size": "11 x 17"}, {"print_size": "11x17"}),
        ({"print_size": "Arch B"}, {"print_size": "archb"}),
        ({"print_size": "A3-Super"}, {"print_size": "a3super"}),
        ({"output_format": ".JPG"}, {"output_format": "jpg"}),
        ({"background": {"remove": "true"}}, {"background": {"remove": "auto"}}),
        ({"background": {"remove": "None"}}, {}),
        ({"width": 99, "fit": {"crop": " Item"}}, {"width": 99, "fit": {"crop": "item"}}),
        (
            {"background": {"generate": {"description": "a", "adapter_type": "Generate-Background"}}},
            {"background": {"generate": {"description": "a", "adapter_type": "generate_background"}}},
        ),
        (
            {"background": {"generate": {"adapter_type": "img2img", "context_images": MASK}}},
            {"background": {"generate": {"adapter_type": "img2img", "context_images": [MASK, None]}}},
        ),
        ({"imagegen": {"sampler": "Euler Ancestral"}}, {"imagegen": {"sampler": "euler_ancestral"}}),
        ({"imagegen": {"priority": " HIGH"}}, {"imagegen": {"priority": "high"}}),
    ],
)
def test_what_joins_words_does_not_matter(said: dict[str, Any], meant: dict[str, Any]) -> None:
    assert edited(**said) == edited(**meant)


@pytest.mark.parametrize("word", ["pngé", "p̈ng", "png!", "png\x00", "webp2"])
def test_other_characters_do(word: str) -> None:
    with pytest.raises(BadRequestError, match=r"^output_format must be one of"):
        edited(output_format=word)


def test_a_largest_size_takes_a_format_that_it_works_with() -> None:
    assert edited(max_file_size="1mb").output.format == pb.IMAGE_FORMAT_JPEG
    assert edited(max_file_size="1mb", background={"remove": "auto"}).output.format == pb.IMAGE_FORMAT_WEBP
    assert edited(max_file_size="1mb", background={"remove": "auto", "color": "red"}).output.format == (
        pb.IMAGE_FORMAT_JPEG
    )
    assert edited(max_file_size="1mb", output_format="png") == edited(output_format="png")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"url": 5}, "url"),
        ({"generate": {"color": [1, 2, "x"]}}, "background.generate.color"),
        ({"generate": {"color": [1, 2]}}, "background.generate.color"),
        ({"generate": {"color": [1, 2, 300]}}, "background.generate.color"),
        ({"generate": {"description": 5}}, "background.generate.description"),
        ({"generate": {"context_images": [5]}}, "background.generate.context_images.0"),
        ({"generate": {"adapter_type": "control3"}}, "background.generate.adapter_type"),
        ({"generate": {"face_id": "perhaps"}}, "background.generate.face_id"),
        ({"generate": {"strength": "much"}}, "background.generate.strength"),
        ({"generative_upscale": "perhaps"}, "generative_upscale"),
        ({"output_format": "gif"}, "output_format"),
    ],
)
def test_what_is_wrong_is_named(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequestError, match=f"^{field} must "):
        from_picture(**asked)


def test_all_wrong_fields_are_named_at_once() -> None:
    with pytest.raises(BadRequestError, match=r'^width must .*"abc"; quality must .* not -1$'):
        contract.parse({"width": "abc", "quality": -1})
