"""Ranges of requests: each boundary from both sides, everything that is wrong said at once and by name."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import InvalidRequestError
from orchestrator.params import (
    MAX_TEXT,
    Delivery,
    ImageFormat,
    JobOptions,
    Limits,
    OutputParams,
    Priority,
    RequestParams,
    SamplerName,
    SizeParams,
    TextToImage,
)

LIMITS = Limits(max_pixels=1 << 29)


def make(**fields: Any) -> RequestParams:
    size = SizeParams(**{name: fields.pop(name) for name in ("width", "height") if name in fields})
    common: dict[str, Any] = {"task": TextToImage(), "prompt": "a red house", "limits": LIMITS, "size": size}
    return RequestParams(**common | fields)


def violations(**fields: Any) -> list[str]:
    """Paths of what is wrong with a request, in order; empty if nothing is."""
    try:
        make(**fields)
    except InvalidRequestError as error:
        return [violation.field for violation in error.violations]
    return []


@pytest.mark.parametrize(
    ("field", "path", "low", "high"),
    [
        ("width", "size.width", 64, 16_704),
        ("height", "size.height", 64, 16_704),
        ("seed", "seed", 0, 2**63 - 1),
        ("steps", "steps", 1, 150),
        ("guidance_scale", "guidance_scale", 0, 50),
        ("skip_tolerance", "skip_tolerance", 0, 1),
        ("preview_interval", "preview_interval", 0, 150),
    ],
)
def test_a_range_holds_its_ends_and_nothing_beyond(field: str, path: str, low: int, high: int) -> None:
    assert violations(**{field: low}) == []
    assert violations(**{field: high}) == []
    assert violations(**{field: low - 1}) == [path]
    assert violations(**{field: high + 1}) == [path]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, math.nextafter(50, 51), -5e-324])
def test_guidance_is_finite_and_in_range(value: float) -> None:
    assert violations(guidance_scale=value) == ["guidance_scale"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, math.nextafter(1, 2), -5e-324])
def test_a_tolerance_is_finite_and_in_range(value: float) -> None:
    assert violations(skip_tolerance=value) == ["skip_tolerance"]


def test_a_value_just_out_of_range_is_not_rounded_into_it_by_the_message() -> None:
    with pytest.raises(InvalidRequestError, match=r"from 0 to 50, not 50\.00000000000001"):
        make(guidance_scale=math.nextafter(50, 51))


@pytest.mark.parametrize(("quality", "ok"), [(-1, False), (0, True), (100, True), (101, False)])
def test_quality(quality: int, ok: bool) -> None:
    assert violations(output=OutputParams(quality=quality)) == ([] if ok else ["output.quality"])


@pytest.mark.parametrize(
    ("size", "ok"), [(0, False), (1023, False), (1024, True), (2**31 - 1, True), (2**31, False), (2**64 - 1, False)]
)
@pytest.mark.parametrize("image_format", [ImageFormat.JPEG, ImageFormat.WEBP])
def test_max_file_size(image_format: ImageFormat, size: int, ok: bool) -> None:
    output = OutputParams(format=image_format, max_file_size=size)
    assert violations(output=output) == ([] if ok else ["output.max_file_size"])


def test_max_file_size_is_not_for_png() -> None:
    assert violations(output=OutputParams(format=ImageFormat.PNG, max_file_size=5000)) == ["output.max_file_size"]


@pytest.mark.parametrize("prompt", ["", " ", "\t\n\u3000\u00a0"])
def test_an_empty_prompt_is_refused(prompt: str) -> None:
    assert violations(prompt=prompt) == ["prompt"]


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_texts_end_at_a_hundred_thousand_characters(field: str) -> None:
    """Characters, not bytes."""
    assert violations(**{field: "語" * MAX_TEXT}) == []
    assert violations(**{field: "語" * (MAX_TEXT + 1)}) == [field]


def test_a_long_text_is_not_repeated_in_its_error() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        make(prompt="x" * 1_000_000)
    assert len(str(caught.value)) < 200


def test_a_negative_prompt_may_be_empty() -> None:
    assert violations(negative_prompt="") == []


@pytest.mark.parametrize(
    ("size", "ok"),
    [
        ({"width": 200, "height": 100}, True),
        ({"width": 201, "height": 100}, False),
        ({"width": 141}, True),  # a side alone makes a square
        ({"width": 142}, False),
        ({"height": 142}, False),
        ({}, True),
    ],
)
def test_the_pixel_limit(size: dict[str, int], ok: bool) -> None:
    assert violations(limits=Limits(max_pixels=20_000), **size) == ([] if ok else ["size"])


def test_the_pixel_limit_comes_with_other_violations() -> None:
    assert violations(limits=Limits(max_pixels=20_000), width=4096, height=4096, steps=0) == ["size", "steps"]


def test_everything_wrong_is_said_at_once() -> None:
    output = OutputParams(quality=101, max_file_size=5)
    assert violations(
        prompt=" ",
        negative_prompt="n" * (MAX_TEXT + 1),
        width=0,
        height=10**9,
        seed=2**63,
        steps=0,
        guidance_scale=math.nan,
        preview_interval=151,
        output=output,
    ) == [
        "prompt",
        "negative_prompt",
        "size.width",
        "size.height",
        "seed",
        "steps",
        "guidance_scale",
        "preview_interval",
        "output.quality",
        "output.max_file_size",
        "output.max_file_size",
    ]


def test_the_message_holds_every_field() -> None:
    with pytest.raises(
        InvalidRequestError, match=r"^size\.width: must be from 64 to 16704 pixels, not 63; steps: .*150"
    ):
        make(width=63, steps=10_000)


@given(
    width=st.none() | st.integers(-10, 5000),
    height=st.none() | st.integers(-10, 5000),
    steps=st.none() | st.integers(-1, 200),
    guidance_scale=st.none() | st.floats(),
    seed=st.none() | st.integers(-1, 2**64),
)
def test_what_is_accepted_is_in_range(
    width: int | None, height: int | None, steps: int | None, guidance_scale: float | None, seed: int | None
) -> None:
    """And what is refused is refused by the field that is wrong."""
    wrong = {
        path
        for path, value, low, high in [
            ("size.width", width, 64, 16_704),
            ("size.height", height, 64, 16_704),
            ("steps", steps, 1, 150),
            ("guidance_scale", guidance_scale, 0, 50),
            ("seed", seed, 0, 2**63 - 1),
        ]
        if value is not None and not low <= value <= high
    }
    found = set(violations(width=width, height=height, steps=steps, guidance_scale=guidance_scale, seed=seed))
    assert found == wrong


@pytest.mark.parametrize("request_id", ["a", "x" * 128, "AZaz09._:-", "0d9c3f9e-77c4-4b7e-a1a0-8f4e0c6f2a11"])
def test_request_ids(request_id: str) -> None:
    assert JobOptions(request_id=request_id).request_id == request_id


@pytest.mark.parametrize("request_id", ["", "x" * 129, "a b", "a\n", "ä", "a/b", "a\x00"])
def test_wrong_request_ids(request_id: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        JobOptions(request_id=request_id)
    assert [violation.field for violation in caught.value.violations] == ["request_id"]


def test_names_are_those_of_the_interfaces() -> None:
    """families.toml, logs and metrics carry them: changing one is a breaking change."""
    first = ["ddim", "euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_karras", "lcm"]
    assert [*SamplerName] == [*first, "heun", "unipc", "dpmpp_sde", "dpmpp_2m_sde", "ddpm", "tcd"]
    assert [*Priority] == ["high", "normal", "low"]
    assert [*Delivery] == ["inline", "uri"]
    assert [f.media_type for f in ImageFormat] == ["image/jpeg", "image/png", "image/webp"]


def test_defaults_are_those_of_the_schema() -> None:
    request = make()
    assert request.output == OutputParams(
        format=ImageFormat.PNG, quality=85, max_file_size=None, delivery=Delivery.INLINE
    )
    assert (request.negative_prompt, request.preview_interval) == ("", 0)
    options = JobOptions(request_id="a")
    assert (options.priority, options.detach_on_disconnect) == (Priority.NORMAL, False)
