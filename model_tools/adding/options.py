"""The command line of `python -m model_tools add`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model_tools.adding.aspect_sizes import parse_sizes
from model_tools.adding.names import NAME
from model_tools.checkpoints.adapters import ControlSource
from model_tools.checkpoints.lora import Lora
from model_tools.checkpoints.presets import FEW_STEPS
from orchestrator.params import MAX_GUIDANCE, MAX_STEPS

if TYPE_CHECKING:
    from model_tools.export.recipes import Engine, Precision

PRECISIONS = ("fp32", "fp16", "bf16", "fp8", "int8")
ENGINES = ("openvino", "onnx", "tensorrt")


@dataclass(frozen=True)
class Options:
    """What the user asked for. The fields bear the options' names; see `add --help`."""

    name: str
    checkpoint: str
    controlnet: tuple[ControlSource, ...]
    ip_adapter: Path | None
    image_encoder: Path | None
    inpaint: Path | None
    vae: Path | None
    tiny_vae: Path | None
    lora: tuple[Lora, ...]
    precision: Precision
    engine: Engine
    sizes: tuple[int, int] | None
    few_step: str | None
    steps: int | None
    guidance: float | None
    license: str | None
    allow_non_commercial: bool
    allow_pickle: bool
    config: Path | None
    tokenizer: Path | None
    prediction_type: str | None
    prompt_template: str
    repository: Path
    families: Path
    replace: bool


def parse(words: list[str]) -> Options:
    """Read the command line; leaves with code 2 and a line where it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m model_tools add",
        description="Turn a checkpoint of Stable Diffusion, SDXL or a diffusion transformer into a family.",
    )
    parser.add_argument("name", type=_name, help="of the family")
    parser.add_argument("--checkpoint", required=True, help="folder in diffusers' layout, .safetensors file, or hub id")
    _add_adapters(parser)
    _add_form(parser)
    _add_permissions(parser)
    given = vars(parser.parse_args(words))
    return Options(**{**given, "controlnet": tuple(given["controlnet"]), "lora": tuple(given["lora"])})


def _add_adapters(parser: argparse.ArgumentParser) -> None:
    paths = parser.add_argument_group("what is added to it")
    paths.add_argument(
        "--controlnet", action="append", default=[], type=ControlSource.parse, metavar="[KIND=]DIR_OR_FILE",
        help="what its pictures show (canny), and where it is; may be repeated",
    )  # fmt: skip
    paths.add_argument("--ip-adapter", type=Path, metavar="FILE", help="plain or Plus")
    paths.add_argument("--image-encoder", type=Path, metavar="DIR", help="its picture tower; image_encoder/ next to it")
    paths.add_argument("--inpaint", type=Path, metavar="DIR_OR_FILE", help="checkpoint whose UNet has 9 channels")
    paths.add_argument("--vae", type=Path, metavar="DIR_OR_FILE", help="in place of the checkpoint's")
    paths.add_argument("--tiny-vae", type=Path, metavar="DIR", help="AutoencoderTiny (TAESD) that decodes in its place")
    paths.add_argument(
        "--lora", action="append", default=[], type=Lora.parse, metavar="FILE[:WEIGHT]", help="may be repeated"
    )
    paths.add_argument("--config", type=Path, metavar="DIR", help="configurations and tokenizers of a single file")
    paths.add_argument("--tokenizer", type=Path, metavar="DIR", help="CLIP's tokenizer, for a single file")
    paths.add_argument("--prediction-type", choices=("epsilon", "v_prediction"), help="in place of the scheduler's")


def _add_form(parser: argparse.ArgumentParser) -> None:
    form = parser.add_argument_group("what becomes of it")
    form.add_argument("--precision", choices=PRECISIONS, default="fp16")
    form.add_argument("--engine", choices=ENGINES, default="openvino")
    form.add_argument("--sizes", type=_sizes, metavar="LOW..HIGH", help="sides, pixels; half to twice the native side")
    form.add_argument("--few-step", choices=tuple(FEW_STEPS), help="what it was distilled to")
    form.add_argument("--steps", type=_steps, help="of a picture, where a request does not say")
    form.add_argument("--guidance", type=_guidance, help="scale, likewise; 1 for none")
    form.add_argument("--prompt-template", type=_template, default="{prompt}", help='holds "{prompt}" once')
    form.add_argument("--repository", type=Path, default=Path("model_repository"))
    form.add_argument("--families", type=Path, default=Path("families/families.toml"))


def _add_permissions(parser: argparse.ArgumentParser) -> None:
    allowed = parser.add_argument_group("what is allowed")
    allowed.add_argument("--license", metavar="ID", help="SPDX or hub id, in place of the model card's")
    allowed.add_argument("--allow-non-commercial", action="store_true")
    allowed.add_argument("--allow-pickle", action="store_true", help="read .bin and .ckpt: their tensors, nothing else")
    allowed.add_argument("--replace", action="store_true", help="a family of that name")


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r}: lower-case letters, digits, - and _, at most 63")
    return text


def _steps(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_STEPS:
        raise argparse.ArgumentTypeError(f"{text!r}: from 1 to {MAX_STEPS}")
    return int(text)


def _guidance(text: str) -> float:
    try:
        scale = float(text)
    except ValueError:
        scale = -1.0
    if not 0 <= scale <= MAX_GUIDANCE:
        raise argparse.ArgumentTypeError(f"{text!r}: from 0 to {MAX_GUIDANCE:g}")
    return scale


def _sizes(text: str) -> tuple[int, int]:
    try:
        return parse_sizes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"LOW..HIGH in pixels, as 512..1024: {error}") from error


def _template(text: str) -> str:
    if text.count("{prompt}") != 1:
        raise argparse.ArgumentTypeError('holds "{prompt}" exactly once')
    return text
