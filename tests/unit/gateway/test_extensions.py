"""The block imagegen: what gRPC has and the documented API has not."""

from typing import Any

import pytest

from gateway.errors import BadRequestError
from gateway.translate import extensions
from imagegen.v1 import generation_pb2 as pb
from tests.unit.gateway.asking import from_text


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"steps": "12"}, {"steps": 12}),
        ({"sampler": "DPMPP_2M_Karras"}, {"sampler": pb.SAMPLER_DPMPP_2M_KARRAS}),
        ({"guidance_scale": 0}, {"guidance_scale": 0.0}),
        ({"prompt_weights": False, "clip_skip": 1}, {"prompt_weights": False, "clip_skip": 1}),
        ({"skip_tolerance": "0.05"}, {"skip_tolerance": 0.05}),
        ({"priority": "low"}, {"priority": pb.PRIORITY_LOW}),
        ({"preview_interval": 3, "steps": None}, {"preview_interval": 3}),
        ({}, {}),
    ],
)
def test_a_block(block: dict[str, Any], expected: dict[str, Any]) -> None:
    names = (*extensions.PLAIN, "sampler", "priority")
    found = {field.name: value for field, value in from_text(imagegen=block).ListFields()}
    assert {name: found[name] for name in names if name in found} == expected


def test_guidance_is_a_block_of_its_own() -> None:
    asked = {"start": 0.1, "end": "0.6", "rescale": 0.5, "method": "APG", "momentum": -0.2}
    message = from_text(imagegen={"guidance": asked})
    assert message.guidance == pb.Guidance(
        start=0.1, end=0.6, rescale=0.5, method=pb.GUIDANCE_METHOD_APG, momentum=-0.2
    )
    assert not from_text(imagegen={"guidance_scale": 3}).HasField("guidance")
    with pytest.raises(BadRequestError, match=r"imagegen\.guidance\.method must be one of cfg, apg, cfg_zero_star"):
        from_text(imagegen={"guidance": {"method": "magic"}})


def test_every_sampler_and_priority_has_a_name() -> None:
    assert set(extensions.SAMPLERS.values()) == set(pb.Sampler.values()) - {0}
    assert set(extensions.PRIORITIES) == {"high", "normal", "low"}


@pytest.mark.parametrize(("field", "listed"), [("sampler", "dpmpp_2m, "), ("priority", "high, normal, low")])
def test_other_names_are_refused(field: str, listed: str) -> None:
    with pytest.raises(BadRequestError, match=f"imagegen.{field} must be one of .*{listed}"):
        from_text(imagegen={field: "magic"})
