"""Checkpoints through `model_tools add`, a real Triton and our whole stack, against diffusers' own pipelines.

Both sides read the same folders. Ours runs in the service's environment (draw.py), diffusers in this one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

from model_tools.goldens import random_checkpoints
from tests.checkpoints import adding, diffusers_pipelines
from tests.checkpoints.cases import CASES, CONSISTENCY, Asked
from tests.golden.measure import MIN_PSNR, psnr

if TYPE_CHECKING:
    from collections.abc import Callable

# diffusers hands numpy 2 arrays of a kind that numpy means to refuse one day.
# peft warns of the second LoRA of a request.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Already found a `peft_config` attribute:UserWarning"),
]

ROOT = Path(__file__).parents[2]
FORMULAS = ROOT / "tests/integration/model_repository"
TOOLS = (
    'face_detector = "formula_face_detector"\nface_landmarks = "formula_face_landmarks"\nmatting = "formula_matting"\n'
)
MIN_PSNR_BF16 = 35.0
UNCOMPOSED = ("text_to_image", "image_to_image", "drawing")
"""Tasks whose picture is the pipeline's, pixel for pixel, where the size is one that the networks run at."""


@dataclass(frozen=True)
class Family:
    """What is added, and what is asked of it.

    Attributes:
        base: a folder of random_checkpoints.CHECKPOINTS.
        more: options of `add`, in which "{folder}" is the checkpoints' folder.
        cases: that it can do.
        precision: of `add`.
        loras: folder of LoRAs that are added to it, each by its file's name.
    """

    base: str
    more: tuple[str, ...] = ()
    cases: tuple[Asked, ...] = CASES
    precision: str = "fp32"
    loras: str = ""

    def source(self, folder: Path) -> diffusers_pipelines.Source:
        """The same, as diffusers is given it."""
        given = dict(zip(self.more[::2], self.more[1::2], strict=True))
        paths = {
            option: Path(value.rpartition("=")[2].format(folder=folder))
            for option, value in given.items()
            if option != "--few-step"
        }
        return diffusers_pipelines.Source(
            folder / self.base,
            paths.get("--inpaint"),
            paths.get("--controlnet"),
            paths.get("--ip-adapter"),
            paths.get("--image-encoder"),
            {path.stem: path for path in sorted((folder / self.loras).glob("*.safetensors"))} if self.loras else {},
            paths.get("--tiny-vae"),
        )


SD = (
    *("--controlnet", "{folder}/sd_controlnet", "--inpaint", "{folder}/sd_inpainting"),
    *("--ip-adapter", "{folder}/sd_ip_adapter/ip_adapter.safetensors"),
    *("--image-encoder", "{folder}/sd_ip_adapter/image_encoder"),
)
SDXL = (
    *("--controlnet", "{folder}/sdxl_controlnet"),
    *("--ip-adapter", "{folder}/sdxl_ip_adapter/ip_adapter.safetensors"),
    *("--image-encoder", "{folder}/sdxl_ip_adapter/image_encoder"),
)
PLUS = (
    *("--ip-adapter", "{folder}/sd_ip_adapter_plus/ip_adapter.safetensors"),
    *("--image-encoder", "{folder}/sd_ip_adapter_plus/image_encoder"),
)
PLAIN = tuple(case for case in CASES if not case.loras and not case.by_hand)
FAMILIES = {
    "sd": Family("sd", SD, loras="sd_loras"),
    "sd-bf16": Family("sd", SD, PLAIN, precision="bf16"),
    "sd-plus": Family("sd", PLUS, tuple(case for case in CASES if case.name in {"face-euler", "text_to_image-euler"})),
    "inpainting": Family("sd_inpainting", (), tuple(case for case in PLAIN if case.task == "inpaint")),
    "sdxl": Family("sdxl", SDXL, loras="sdxl_loras"),
    "sdxl-bf16": Family("sdxl", SDXL, PLAIN, precision="bf16"),
    "lcm": Family("sd_lcm", (), CONSISTENCY),
    "tiny": Family("sd", ("--tiny-vae", "{folder}/sd_tiny_vae"), (CASES[0], CASES[2])),
}
ASKED = [(name, case) for name, family in FAMILIES.items() for case in family.cases]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all small random checkpoints."""
    folder = tmp_path_factory.mktemp("checkpoints")
    assert random_checkpoints.main([str(folder)]) == 0
    return folder


def run(command: list[str]) -> None:
    """Run a command in the repository's root; what it said is shown where it fails."""
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)  # noqa: S603  # of this file
    assert done.returncode == 0, done.stdout + done.stderr


def add(name: str, family: Family, checkpoints: Path, out: Path) -> None:
    """Add a family, by the command that users type."""
    command = [sys.executable, "-m", "model_tools", "add", name, "--checkpoint", str(checkpoints / family.base)]
    command += [word.format(folder=checkpoints) for word in family.more]
    command += ["--precision", family.precision, "--engine", "openvino", "--sizes", "64..192"]
    command += ["--repository", str(out / "models"), "--families", str(out / f"{name}.toml")]
    run([*command, "--prompt-template", "{prompt}"])
    for lora, file in family.source(checkpoints).loras.items():
        command = [sys.executable, "-m", "model_tools", "add-lora", name, lora, str(file)]
        run([*command, "--repository", str(out / "models"), "--families", str(out / f"{name}.toml")])


@pytest.fixture(scope="session")
def drawn(
    checkpoints: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> dict[str, Any]:
    """All pictures of our stack, and what they were made of: arrays by FAMILY/CASE/WHAT.

    Of the families that the chosen tests name: one test alone need not wait for all of them.
    """
    asked = adding.named(request, Path(__file__))
    wanted = {name: family for name, family in FAMILIES.items() if asked is None or name in asked}
    out = tmp_path_factory.mktemp("added")
    (out / "models").mkdir()
    with ThreadPoolExecutor(2) as pool:  # exports are of one thread each
        for done in [pool.submit(add, name, family, checkpoints, out) for name, family in wanted.items()]:
            done.result()
    families, tables = out / "families.toml", [(out / f"{name}.toml").read_text("utf-8") for name in wanted]
    families.write_text("\n".join([*tables, "[tools]", TOOLS]), "utf-8")
    sizes = tomllib.loads(families.read_text("utf-8"))["networks"][next(iter(wanted))]["buckets"]
    order = {
        "repositories": [str(out / "models"), str(FORMULAS)],
        "families_toml": str(families),
        "size": next(size for size in sizes if size[0] != size[1]),
        "families": {name: [case.name for case in family.cases] for name, family in wanted.items()},
    }
    (out / "order.json").write_text(json.dumps(order), "utf-8")
    command = [str(ROOT / ".venv/bin/python"), "-m", "tests.checkpoints.draw"]
    run([*command, str(out / "order.json"), str(out / "drawn.npz")])
    return dict(np.load(out / "drawn.npz"))


@pytest.mark.timeout(900)  # the first of them waits for all checkpoints to be added
@pytest.mark.parametrize(("name", "case"), ASKED, ids=[f"{name}-{case.name}" for name, case in ASKED])
def test_the_whole_stack_equals_diffusers(
    name: str, case: Asked, checkpoints: Path, drawn: dict[str, Any], record_property: Callable[[str, object], None]
) -> None:
    key = f"{name}/{case.name}/"
    arrays = {path.removeprefix(key): array for path, array in drawn.items() if path.startswith(key)}
    expected = diffusers_pipelines.picture(FAMILIES[name].source(checkpoints), case, arrays)
    ratio = psnr(arrays["painted"], expected)
    record_property("psnr_db", ratio)
    print(f"{name} {case.name}: {ratio:.1f} dB")  # noqa: T201 - the measure
    assert ratio >= (MIN_PSNR_BF16 if FAMILIES[name].precision == "bf16" else MIN_PSNR)
    if case.task in UNCOMPOSED:
        assert np.array_equal(arrays["picture"], arrays["painted"])


@pytest.mark.timeout(900)
def test_every_condition_shows(drawn: dict[str, Any]) -> None:
    """The bar means something: pictures of other conditions are far below it.

    Two samplers on their way to the same text's picture come nearer, and so do pictures with a start and outlines when
    only LoRAs differ, or the tiny decoder's random weights draw all: bf16's bar does not separate them, fp32's does.
    """
    for name, family in FAMILIES.items():
        pictures = {case.name: drawn[f"{name}/{case.name}/painted"] for case in family.cases}
        for pair in combinations(pictures, 2):
            is_near = name == "tiny" or len({case.partition("-")[0] for case in pair}) == 1
            bound = (MIN_PSNR if is_near else MIN_PSNR_BF16) - 5
            assert psnr(*(pictures[case] for case in pair)) < bound, (name, *pair)
