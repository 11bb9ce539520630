"""Diffusion transformers through `model_tools add`, a real Triton and our whole stack, against diffusers' pipelines.

As test_proof.py has it of UNets.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

from model_tools.goldens import random_checkpoints, random_transformers
from tests.checkpoints import adding, diffusers_transformers
from tests.checkpoints.cases import FLOW_CASES, FLUX2, KLEIN, Asked
from tests.golden.measure import MIN_PSNR, psnr

if TYPE_CHECKING:
    from collections.abc import Callable

# diffusers hands numpy 2 arrays of a kind that numpy means to refuse one day.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

MIN_PSNR_BF16 = 35.0
UNCOMPOSED = ("text_to_image", "image_to_image")


@dataclass(frozen=True)
class Family:
    """What is added, and what is asked of it.

    Attributes:
        base: one of random_transformers.CHECKPOINTS.
        cases: that both sides can do.
        precision: of `add`.
        tiny_vae: one of random_checkpoints.CHECKPOINTS.
    """

    base: str
    cases: tuple[Asked, ...] = FLOW_CASES
    precision: str = "fp32"
    tiny_vae: str = ""


FAMILIES = {
    "z-image": Family("z_image"),
    "z-image-bf16": Family("z_image", precision="bf16"),
    "flux": Family("flux"),
    "qwen-image": Family("qwen_image"),
    "sd3": Family("sd3"),
    "flux-tiny": Family("flux", FLOW_CASES[:1], tiny_vae="tiny_vae_16"),
    "flux2-klein": Family("flux2_klein", KLEIN),
    "flux2-klein-base": Family("flux2_klein_base", FLUX2),
}
ASKED = [(name, case) for name, family in FAMILIES.items() for case in family.cases]


@pytest.fixture(scope="session")
def wanted(request: pytest.FixtureRequest) -> dict[str, Family]:
    """The families that the chosen tests name: one test alone need not wait for all of them."""
    asked = adding.named(request, Path(__file__))
    return {name: family for name, family in FAMILIES.items() if asked is None or name in asked}


@pytest.fixture(scope="session")
def transformers(tmp_path_factory: pytest.TempPathFactory, wanted: dict[str, Family]) -> Path:
    """The folder of the small random checkpoints of those families."""
    folder = tmp_path_factory.mktemp("transformers")
    for name in {family.base for family in wanted.values()}:
        random_transformers.make(folder, name)
    for name in {family.tiny_vae for family in wanted.values() if family.tiny_vae}:
        random_checkpoints.make(folder, name)
    return folder


@pytest.fixture(scope="session")
def drawn(transformers: Path, tmp_path_factory: pytest.TempPathFactory, wanted: dict[str, Family]) -> dict[str, Any]:
    """All pictures of our stack, and what they were made of: arrays by FAMILY/CASE/WHAT."""
    out = tmp_path_factory.mktemp("added")
    (out / "models").mkdir()
    for name, family in wanted.items():
        tiny = ("--tiny-vae", str(transformers / family.tiny_vae)) if family.tiny_vae else ()
        options = ("--precision", family.precision, "--sizes", "64..256", *tiny)
        adding.add(name, transformers / family.base, out, *options)
    return adding.draw(out, {name: [case.name for case in family.cases] for name, family in wanted.items()})


@pytest.mark.timeout(1800)  # the first of them waits for all checkpoints to be added
@pytest.mark.parametrize(("name", "case"), ASKED, ids=[f"{name}-{case.name}" for name, case in ASKED])
def test_the_whole_stack_equals_diffusers(
    name: str, case: Asked, transformers: Path, drawn: dict[str, Any], record_property: Callable[[str, object], None]
) -> None:
    key = f"{name}/{case.name}/"
    arrays = {path.removeprefix(key): array for path, array in drawn.items() if path.startswith(key)}
    family = FAMILIES[name]
    tiny = transformers / family.tiny_vae if family.tiny_vae else None
    expected = diffusers_transformers.picture(transformers / family.base, case, arrays, tiny)
    ratio = psnr(arrays["painted"], expected)
    record_property("psnr_db", ratio)
    print(f"{name} {case.name}: {ratio:.1f} dB")  # noqa: T201 - the measure
    assert ratio >= (MIN_PSNR_BF16 if FAMILIES[name].precision == "bf16" else MIN_PSNR)
    if case.task in UNCOMPOSED and arrays["picture"].shape == arrays["painted"].shape:  # and so not resized
        assert np.array_equal(arrays["picture"], arrays["painted"])


@pytest.mark.timeout(1800)
def test_every_condition_shows(drawn: dict[str, Any]) -> None:
    """The bar means something: pictures of other conditions are below it.

    In fp32, and not of a missing negative prompt: with random weights a start picture changes little (35.4 dB for
    Z-Image), a negative prompt next to nothing (50.1 dB for Qwen-Image).
    """
    for name in (name for name, family in FAMILIES.items() if family.precision == "fp32"):
        family = FAMILIES[name]
        pictures = {
            case.name: drawn[f"{name}/{case.name}/painted"] for case in family.cases if "unsaid" not in case.name
        }
        for pair in combinations(pictures, 2):
            assert psnr(*(pictures[case] for case in pair)) < MIN_PSNR - 5, (name, *pair)
