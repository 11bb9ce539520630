"""`python -m model_tools add NAME --checkpoint …`: a checkpoint becomes model folders and a family, or nothing.

All is read and compared first. Then each network is exported, and verified against torch, in a folder next to the
repository; what is finished there survives a kill. At the end the folders are moved in, families.toml last.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import tomllib
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING

import diffusers
import transformers

from engines.network import find_graph
from model_tools.adding import options, table
from model_tools.adding.aspect_sizes import aspect_sizes
from model_tools.adding.hub import find_checkpoint
from model_tools.adding.kinds import open_checkpoint
from model_tools.adding.names import names_in
from model_tools.adding.preview import fit_preview
from model_tools.adding.progress import Progress, peak_memory
from model_tools.adding.staging import AddError, Staging
from model_tools.checkpoints.errors import CheckpointError
from model_tools.checkpoints.inputs import Inputs
from model_tools.export import recipes, tensorrt, write
from model_tools.export.graphs import ExportError
from orchestrator.errors import FamilyConfigError
from orchestrator.models.families import Families
from orchestrator.models.specs import FAMILY_ROLES
from orchestrator.params import MAX_SIDE

if TYPE_CHECKING:
    from pathlib import Path

    from model_tools.adding.options import Options
    from model_tools.checkpoints.presets import Preset
    from model_tools.export import parts

VERSIONS = ("torch", "diffusers", "transformers", "onnx", "onnxscript", "openvino")
"""Packages whose versions a half-made family depends on."""
WRONG = (CheckpointError, ExportError, AddError, FamilyConfigError, tomllib.TOMLDecodeError, OSError, MemoryError)


def main(words: list[str]) -> int:
    """Add a family.

    Returns:
        0; 1 after an error, with one line that says it and nothing left behind; 130 if it was stopped, to go on later.
    """
    chosen = options.parse(words)
    _quiet()
    try:
        Addition(chosen).run()
    except WRONG as error:
        print(f"add: {str(error).strip() or type(error).__name__}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("add: stopped; the same command goes on from what is finished", file=sys.stderr)
        return 130
    return 0


class Addition:
    """One run of the command."""

    def __init__(self, chosen: Options) -> None:
        """Read everything but the weights.

        Raises:
            CheckpointError, AddError: as main says it.
        """
        self.options = chosen
        self._require_free()
        if chosen.precision == "fp8" and chosen.engine != "tensorrt":
            raise AddError("fp8 is for --engine tensorrt alone")
        self.kind = open_checkpoint(_inputs(chosen))
        self.checkpoint = self.kind.checkpoint
        self.preset = self._preset()
        self.schedule = self.kind.schedule(self.preset)
        self.sizes = self._aspect_sizes()

    def run(self) -> None:
        """Check the weights, export, verify, move in."""
        loads = self.checkpoint.loads()
        roles = [role for role in FAMILY_ROLES if self.checkpoint.has(role)]
        progress = Progress(len(loads) + len(roles) + 3)
        try:
            for name, load in loads.items():
                progress.step(f"check {name}")
                load()
                write.free_memory()
            progress.step("digests")
            staging = self._stage()
            try:
                self._make(staging, progress)
            except KeyboardInterrupt:
                staging.leave()
                raise
            except BaseException:
                staging.remove()
                raise
            staging.remove()
        finally:
            progress.close()
        print(f"{self.options.name}: added to {self.options.families}; peak memory {peak_memory():.1f} GB")

    def _make(self, staging: Staging, progress: Progress) -> None:
        """All that the family consists of, and its place at last."""
        tokens = self.kind.tokens(staging.tokenizers / self.options.name)
        planned = self.kind.parts(self.sizes[0])
        networks = self.kind.keys(self.options.name, [part.role for part in planned], self.sizes, tokens)
        trial = staging.path / "families.toml"
        table.write_families(trial, self._tables(networks, None))
        for part in planned:
            progress.step(f"export {part.role}")
            self._export(part, staging, progress)
        progress.step("preview")
        tables = self._tables(networks, fit_preview(self.kind.encoder(), self.checkpoint.factor))
        progress.step("move in")
        staging.move_in(self._stale(), lambda: self._publish(tables))

    def _export(self, part: parts.Part, staging: Staging, progress: Progress) -> None:
        """A part's model folder, if it is not finished already."""
        chosen, model = self.options, f"{self.options.name}_{part.role}"
        note = staging.done.get(model)
        if note is None:
            sides = [side for size in self.sizes for side in size]
            made = write.write_part(
                part,
                staging.models / model,
                precision=chosen.precision,
                engine=chosen.engine,
                calibration=self._calibration(staging),
                profile=tensorrt.Profile((min(sides), self.sizes[0][0], max(sides))),
            )
            note = {"sha256": made.sha256, "bytes": made.bytes, "error": made.check.against_torch}
            staging.finish(model, note)
        bound = recipes.choose(part, chosen.engine, chosen.precision).bound
        progress.say(
            f"{model}: differs from torch by {note['error']:.1e} (bound {bound:.0e}), {note['bytes'] / 1e6:.1f} MB,"
            f" sha256 {note['sha256']}"
        )

    def _calibration(self, staging: Staging) -> write.Calibration | None:
        """For int8 and fp8: denoising runs with the text encoders that are finished."""
        name = self.options.name
        if self.options.precision not in ("int8", "fp8"):
            return None
        from model_tools.export.calibration import Recorder  # noqa: PLC0415  # brings the service's samplers along

        family = Families.load(staging.path / "families.toml").get(name)
        encoders = [f"{name}_{role}" for role in ("text_encoder", "text_encoder_2") if self.checkpoint.has(role)]
        if not all(model in staging.done for model in encoders):
            return None
        graphs = tuple(find_graph(staging.models / model / "1") for model in encoders)
        return Recorder(family, staging.tokenizers, graphs)

    def _stage(self) -> Staging:
        chosen = self.options
        return Staging(chosen.repository, chosen.families, chosen.name, self._key())

    def _key(self) -> str:
        """Digest of all that the model folders depend on."""
        checkpoint, chosen = self.checkpoint, self.options
        described = {
            "files": [[str(path), _digest(path)] for path in checkpoint.files()],
            "configs": self.kind.configs(),
            "added": [str(each) for each in (*chosen.controlnet, *chosen.lora, chosen.tiny_vae)],
            "form": [chosen.precision, chosen.engine, self.sizes],
            "versions": {package: version(package) for package in VERSIONS},
        }
        return hashlib.sha256(json.dumps(described, default=str, sort_keys=True).encode()).hexdigest()

    def _preset(self) -> Preset:
        chosen = self.options
        found = self.kind.preset(chosen.few_step)
        steps = found.steps if chosen.steps is None else chosen.steps
        return replace(found, steps=steps, guidance=found.guidance if chosen.guidance is None else chosen.guidance)

    def _bounds(self) -> tuple[int, int]:
        native = self.checkpoint.native
        return self.options.sizes or (max(64, native // 2), min(MAX_SIDE, 2 * native))

    def _aspect_sizes(self) -> list[tuple[int, int]]:
        checkpoint, (low, high) = self.checkpoint, self._bounds()
        grain = checkpoint.factor * checkpoint.multiple
        try:
            return aspect_sizes(checkpoint.native, low, high, architecture=checkpoint.architecture, grain=grain)
        except ValueError as error:
            raise AddError(f"--sizes: {error}") from error

    def _tables(self, networks: table.Table, preview: tuple[list[list[float]], list[float]] | None) -> str:
        chosen, checkpoint = self.options, self.checkpoint
        family = table.family_table(chosen.name, checkpoint, self.preset, self.sizes[0][0], chosen.prompt_template)
        colours = {"factors": preview[0], "bias": preview[1]} if preview else None
        note = f"{checkpoint.inputs.checkpoint.name}, {chosen.precision} for {chosen.engine}"
        return table.render(chosen.name, networks, self.schedule, colours, family, note)

    def _publish(self, tables: str) -> None:
        path = self.options.families
        text = path.read_text("utf-8") if path.is_file() else ""
        table.write_families(path, table.with_tables(text, self.options.name, tables))

    def _require_free(self) -> None:
        """See that the name is free, or may be replaced, and that families.toml can be read.

        Raises:
            AddError, FamilyConfigError: as it says.
        """
        chosen = self.options
        if chosen.families.is_file():
            Families.load(chosen.families)
        there = names_in(chosen.families)
        taken = chosen.name in there["networks"] or chosen.name in there["families"]
        if taken and not chosen.replace:
            raise AddError(f"{chosen.families} has a family {chosen.name} already; --replace replaces it")
        others = [name for name, family in there["families"].items() if family.get("networks") == chosen.name]
        if others and others != [chosen.name]:
            raise AddError(f"the families {', '.join(others)} are drawn by the networks {chosen.name}, which would go")

    def _stale(self) -> list[str]:
        """Model folders of the family that is replaced."""
        old = names_in(self.options.families)["networks"].get(self.options.name, {})
        named = {value for key, value in old.items() if key in FAMILY_ROLES}
        return sorted(model for model in named if model.startswith(f"{self.options.name}_"))


def _quiet() -> None:
    """Leave the terminal to what is ours: what these libraries warn of is checked here."""
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity_error()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)


def _inputs(chosen: Options) -> Inputs:
    return Inputs(
        checkpoint=find_checkpoint(chosen.checkpoint),
        controlnets=chosen.controlnet,
        ip_adapter=chosen.ip_adapter,
        image_encoder=chosen.image_encoder,
        inpaint=chosen.inpaint,
        vae=chosen.vae,
        tiny_vae=chosen.tiny_vae,
        loras=chosen.lora,
        config=chosen.config,
        tokenizer=chosen.tokenizer,
        prediction=chosen.prediction_type,
        license=chosen.license,
        allow_non_commercial=chosen.allow_non_commercial,
        allow_pickle=chosen.allow_pickle,
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
