"""The Protocols of contracts.py over Triton's models."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from orchestrator.arrays import Floats
from orchestrator.errors import FamilyConfigError
from orchestrator.models.contracts import AddedRows, ControlRows, Ids, ImageRows, Networks
from orchestrator.models.embeddings import Embeddings, RememberedEncoders
from orchestrator.models.inference import Engines, Inference
from orchestrator.models.source import ModelDigest
from orchestrator.models.specs import CONTROL, LIKENESS, LORA_SCALE, TEXT_ENCODERS, UNETS, spec_of
from orchestrator.models.tables import NetworkTable
from orchestrator.models.triton import ModelInfo, check_model

STEERING = {tensor.name for tensor in (*CONTROL, *LIKENESS)}
"""Inputs of a controlled UNet in addition to a plain one's."""
TIME_IDS = 6
"""Of AddedRows.time_ids. SDXL's refiner takes 5, an aesthetic score in place of the target size."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model of a server: one request is at most max_batch_size rows.

    `loras` are one request's scales of the family's LoRAs, in the order of its table; empty for none of them.

    With a `fixed_batch` every request is padded to that many rows, which is all that the model takes: Triton merges
    nothing into it, and its result depends on nobody else (families.NetworkTable says when that is needed).
    """

    engines: Inference
    info: ModelInfo
    fixed_batch: int = 0
    loras: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Raise FamilyConfigError if the model's batch does not fit."""
        if self.fixed_batch and self.fixed_batch != self.info.max_batch_size:
            raise FamilyConfigError(
                f"fixed_batch is {self.fixed_batch}, max_batch_size of {self.info.name} is {self.info.max_batch_size}: "
                "they must be the same, or Triton merges other rows into the batch"
            )

    async def infer(self, inputs: Mapping[str, Floats | Ids], *outputs: str) -> tuple[Floats, ...]:
        """Run one request, padded with copies of its last row."""
        rows = len(next(iter(inputs.values())))
        if LORA_SCALE in self.info.dims:
            scales = self.loras or (0.0,) * self.info.dims[LORA_SCALE][0]
            inputs = {**inputs, LORA_SCALE: np.tile(np.array(scales, np.float32), (rows, 1))}
        if missing := max(0, self.fixed_batch - rows):
            inputs = {name: np.concatenate([a, np.repeat(a[-1:], missing, axis=0)]) for name, a in inputs.items()}
        return tuple(array[:rows] for array in await self.engines.infer(self.info, inputs, outputs))


def _states(skip: int) -> str:
    return "skipped_states" if skip else "hidden_states"


class TritonTextEncoder(Model):
    """TextEncoder over Triton."""

    async def __call__(self, input_ids: Ids, skip: int = 0) -> Floats:
        """See contracts.TextEncoder."""
        (states,) = await self.infer({"input_ids": input_ids}, _states(skip))
        return states[:, skip - 1] if skip else states


class TritonPooledTextEncoder(Model):
    """PooledTextEncoder over Triton."""

    async def __call__(self, input_ids: Ids, skip: int = 0) -> tuple[Floats, Floats]:
        """See contracts.PooledTextEncoder."""
        states, text_embeds = await self.infer({"input_ids": input_ids}, _states(skip), "text_embeds")
        return states[:, skip - 1] if skip else states, text_embeds


class TritonControlledUnet(Model):
    """ControlledUnet over Triton.

    What is not given is sent as zeros, so that all requests bring the same inputs: Triton merges no others. Where the
    model marks the control picture as optional, a placeholder of 1 x 1 pixels replaces it (engines/absent.py).
    """

    async def __call__(
        self,
        sample: Floats,
        timestep: Floats,
        encoder_hidden_states: Floats,
        control: ControlRows | None,
        image: ImageRows | None,
        added: AddedRows | None = None,
    ) -> Floats:
        """See contracts.ControlledUnet."""
        inputs = {"sample": sample, "timestep": timestep, "encoder_hidden_states": encoder_hidden_states}
        if added is not None:
            inputs |= added.tensors
        if control is not None:
            inputs |= {"control_image": control.image, "control_scale": control.scale}
        if image is not None:
            inputs |= {"image_embeds": image.embeds, "image_scale": image.scale}
        for name in STEERING - inputs.keys() & self.info.dims.keys():
            inputs[name] = self._zeros(name, sample)
        (out_sample,) = await self.infer(inputs, "out_sample")
        return out_sample

    def _zeros(self, name: str, sample: Floats) -> Floats:
        """Zeros of an input that was not given; free sides are the control picture's, 8 pixels for each latent."""
        sides = (1, 1) if name in self.info.optional else (8 * side for side in sample.shape[2:])
        free = iter(sides)
        sizes = [size if size > 0 else next(free) for size in self.info.dims[name]]
        return np.zeros((len(sample), *sizes), np.float32)


class TritonUnet(TritonControlledUnet):
    """Unet over Triton. The model may be a controlled one, if what steers it is optional."""

    async def __call__(  # type: ignore[override]  # the same call without what steers
        self, sample: Floats, timestep: Floats, encoder_hidden_states: Floats, added: AddedRows | None = None
    ) -> Floats:
        """See contracts.Unet."""
        return await super().__call__(sample, timestep, encoder_hidden_states, None, None, added)


class TritonVaeDecoder(Model):
    """VaeDecoder over Triton."""

    async def __call__(self, latents: Floats) -> Floats:
        """See contracts.VaeDecoder."""
        (image,) = await self.infer({"latents": latents}, "image")
        return image


class TritonVaeEncoder(Model):
    """VaeEncoder over Triton."""

    async def __call__(self, image: Floats) -> Floats:
        """See contracts.VaeEncoder."""
        (latents,) = await self.infer({"image": image}, "latents")
        return latents


class OneSizeModel(Model):
    """A model whose picture is a square of one side."""

    @property
    def side(self) -> int:
        """S, pixels: what the model's configuration says of its picture."""
        return self.info.dims["image"][1]

    def __post_init__(self) -> None:
        """Raise FamilyConfigError if the picture is not a square of a fixed side."""
        super().__post_init__()
        _, height, width = self.info.dims["image"]
        if height != width or height < 1:
            raise FamilyConfigError(f"model {self.info.name}: image is {height} x {width}, not a square of fixed side")


class TritonImageEncoder(OneSizeModel):
    """ImageEncoder over Triton."""

    async def __call__(self, image: Floats) -> tuple[Floats, Floats]:
        """See contracts.ImageEncoder."""
        embeds, negative_embeds = await self.infer({"image": image}, "image_embeds", "negative_image_embeds")
        return embeds, negative_embeds


FAMILY_NETWORKS: Mapping[str, type[Model]] = {
    "text_encoder": TritonTextEncoder,
    "text_encoder_2": TritonPooledTextEncoder,
    "unet": TritonUnet,
    "vae_decoder": TritonVaeDecoder,
    "vae_encoder": TritonVaeEncoder,
    "controlled_unet": TritonControlledUnet,
    "inpaint_unet": TritonUnet,
    "image_encoder": TritonImageEncoder,
    "face_encoder": TritonImageEncoder,
}


@dataclass(frozen=True, slots=True)
class TritonFamily:
    """A family's models as they were described, by their role."""

    table: NetworkTable
    infos: Mapping[str, ModelInfo]

    def networks(
        self, engines: Inference, loras: tuple[float, ...] = (), embeddings: Embeddings | None = None
    ) -> Networks:
        """The networks, run by `engines`, with scales of the table's LoRAs; empty for none of them.

        `embeddings` keeps what text encoders answer.

        Raises:
            FamilyConfigError: a model's batch or picture does not fit.
        """
        fixed = self.table.fixed_batch
        texts = engines if embeddings is None else RememberedEncoders(engines, embeddings, whole=fixed > 0)
        models = {
            role: FAMILY_NETWORKS[role](texts if role in TEXT_ENCODERS else engines, info, fixed, loras)
            for role, info in self.infos.items()
        }
        if self.table.pooled:
            models["joint_text_encoder"] = TritonPooledTextEncoder(texts, self.infos["text_encoder"], fixed)
        max_rows = min(info.max_batch_size for info in self.infos.values())
        return Networks(**{"unet": None, **models}, max_rows=max_rows)  # type: ignore[arg-type]  # by name

    @property
    def digests(self) -> Mapping[str, ModelDigest]:
        """Which networks they are."""
        return {role: info.digest for role, info in self.infos.items()}


async def connect(engines: Engines, table: NetworkTable) -> TritonFamily:
    """Describe the models of a family, and compare them with their contracts.

    Raises:
        EngineUnavailableError: a model does not answer.
        FamilyConfigError: a model breaks its contract, or takes other control pictures than the table names.
    """
    there = table.abilities
    pooled = table.pooled or "text_encoder_2" in there
    given = {"joint": table.pooled, "pooled": pooled, "control": "control" in there, "likeness": "likeness" in there}
    given |= {"flows": table.flows, "guidance": table.guidance == "embedding"}
    infos = {role: await engines.describe(name) for role, name in table.roles.items()}
    for role, info in infos.items():
        check_model(info, spec_of(role, **given))
    _check_sizes(infos, table)
    family = TritonFamily(table, infos)
    family.networks(engines)
    return family


def _check_sizes(infos: Mapping[str, ModelInfo], table: NetworkTable) -> None:
    """Hold to the table what a configuration says of sizes: a UNet of other sizes would refuse each request."""
    for role, info in infos.items():
        if role in UNETS and table.text_chunks > 1 and (length := info.dims["encoder_hidden_states"][0]) != -1:
            raise FamilyConfigError(
                f"model {info.name} takes prompts of {length} tokens alone, so text_chunks must be 1"
            )
        layers = info.dims.get("skipped_states", (0,))[0]
        if role in TEXT_ENCODERS and table.max_clip_skip > layers:
            raise FamilyConfigError(f"model {info.name} can leave out {layers} layers, max_clip_skip says more")
        ids = info.dims.get("time_ids", (TIME_IDS,))
        if role in UNETS and table.text_encoder_2 is not None and ids != (TIME_IDS,):
            raise FamilyConfigError(f"model {info.name} takes {ids[0]} time_ids, not the {TIME_IDS} of SDXL's base")
        count = len(table.loras)
        if info.dims.get(LORA_SCALE, (count,)) != (count,):
            raise FamilyConfigError(f"model {info.name} has {info.dims[LORA_SCALE][0]} LoRAs, the table names {count}")
    kinds = table.control_kinds
    if "control" in table.abilities:
        info = infos["controlled_unet"]
        takes = info.dims["control_image"][0], info.dims["control_scale"][0]
        if takes != (3 * len(kinds), len(kinds)):
            raise FamilyConfigError(
                f"model {info.name} takes a control_image of {takes[0]} channels and {takes[1]} control_scale, "
                f"but control_kinds are {len(kinds)}: {', '.join(kinds)}"
            )
