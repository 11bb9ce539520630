"""What a checkpoint becomes: a graph for each of its networks, with what is needed to trace and to verify it.

A part's `build` loads its own network, so that one is in memory at a time; plan() loads none, but where there is an
image prompt: how many tokens it has is known from the weights alone. Names and shapes of tensors are those of
orchestrator/models/specs.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from model_tools.export import examples
from model_tools.export.contracts import PenultimateContract, SkippingContract
from model_tools.export.controlled import ControlledUnet, ImageTokens
from model_tools.export.examples import PIXELS, TIME_IDS, Denoiser
from model_tools.export.graphs import ExportError, Graph, KLDecoder, KLEncoder, TinyDecoder, UNetContract
from orchestrator.params import MAX_CLIP_SKIP

WARM_VAE = 32
"""Sides of the latents to warm a VAE up with, at most: it takes much memory for a large picture."""
MASKED = 9
"""Channels of a UNet that inpaints."""
Config = Mapping[str, Any]


class CheckpointNetworks(Protocol):
    """Configurations, and networks, each loaded again when it is called (checkpoints/checkpoint.py has them).

    `has` says, of the roles in FAMILY_ROLES, whether there is that network. ControlNets come by kind, in the order of
    their channels; `prompted_unet` is the UNet with IP-Adapter layers.
    """

    @property
    def architecture(self) -> Literal["sd", "sdxl"]: ...
    @property
    def unet_config(self) -> Config: ...
    @property
    def vae_config(self) -> Config: ...
    @property
    def text_config(self) -> Config: ...
    @property
    def text_config_2(self) -> Config | None: ...
    @property
    def control_kinds(self) -> tuple[str, ...]: ...
    def has(self, role: str) -> bool: ...
    def text_encoder(self) -> nn.Module: ...
    def text_encoder_2(self) -> nn.Module | None: ...
    def unet(self) -> nn.Module | None: ...
    def inpaint_unet(self) -> nn.Module | None: ...
    def vae(self) -> nn.Module: ...
    def tiny_vae(self) -> nn.Module | None: ...
    def controlnets(self) -> Mapping[str, nn.Module]: ...
    def prompted_unet(self) -> nn.Module | None: ...
    def image_encoder(self) -> nn.Module | None: ...


@dataclass(frozen=True)
class Part:
    """A network that is to become a model folder.

    Attributes:
        role: what families.toml calls it.
        build: loads it; its forward takes the graph's inputs by name.
        graph: example inputs, outputs, and free dimensions.
        cases: random inputs to verify it with, of several batches and sizes.
        sides: height and width to warm it up with; 0 where none is free.
        exact: it is computed in float32 whatever the precision, since its values are known to leave float16's range.
        wide: the same, but bfloat16 holds them.
    """

    role: str
    build: Callable[[], nn.Module]
    graph: Graph
    cases: list[dict[str, Tensor]]
    sides: tuple[int, int] = (0, 0)
    exact: bool = False
    wide: bool = False


def plan(checkpoint: CheckpointNetworks) -> tuple[Part, ...]:
    """The parts of a checkpoint, text encoders first.

    Raises:
        ExportError: a network is of a shape that this service does not know.
    """
    makers = _text_parts, _denoiser_parts, _vae_parts, _likeness_parts
    return tuple(part for make in makers for part in make(checkpoint) if checkpoint.has(part.role))


def _text_parts(checkpoint: CheckpointNetworks) -> list[Part]:
    """SDXL takes of both encoders what comes before the last layer; of the second, its pooled output as well."""
    config = checkpoint.text_config
    length, skips = _length(config), max_clip_skip(checkpoint)
    first = PenultimateContract if checkpoint.architecture == "sdxl" else SkippingContract
    skipped = ["skipped_states"] if skips else []
    parts = [
        Part(
            "text_encoder",
            lambda: first(checkpoint.text_encoder(), skips),
            examples.text_graph(length, ["hidden_states", *skipped]),
            _text_cases(config, length),
        )
    ]
    if checkpoint.text_config_2:
        graph = examples.text_graph(length, ["hidden_states", "text_embeds", *skipped])
        cases = _text_cases(checkpoint.text_config_2, length)
        build = lambda: PenultimateContract(_there(checkpoint.text_encoder_2()), skips)  # noqa: E731  # of a part
        parts.append(Part("text_encoder_2", build, graph, cases))
    return parts


def max_clip_skip(checkpoint: CheckpointNetworks) -> int:
    """Layers that requests may leave out of the checkpoint's text encoders; SDXL's leave out the last one anyway."""
    configs = [each for each in (checkpoint.text_config, checkpoint.text_config_2) if each]
    layers = min(int(config.get("num_hidden_layers", 12)) for config in configs)  # 12: CLIPTextConfig's own
    return max(0, min(MAX_CLIP_SKIP, layers - (2 if checkpoint.architecture == "sdxl" else 1)))


def _length(config: Config) -> int:
    return int(config.get("max_position_embeddings", 77))  # CLIP's own, as 49408 below: files may leave out defaults


def _text_cases(config: Config, length: int) -> list[dict[str, Tensor]]:
    return examples.text_cases(length, int(config.get("vocab_size", 49408)), int(config.get("eos_token_id", 2)))


def _denoiser_parts(checkpoint: CheckpointNetworks) -> list[Part]:
    shapes, side = _describe_unet(checkpoint), _side(checkpoint)
    made: list[tuple[str, Callable[[], nn.Module], Denoiser]] = []
    for role, load in (("unet", checkpoint.unet), ("inpaint_unet", checkpoint.inpaint_unet)):
        channels = MASKED if role == "inpaint_unet" else shapes["channels"]
        made.append((role, partial(_plain, load), Denoiser(**shapes | {"channels": channels})))
    if checkpoint.has("controlled_unet"):
        made.append(("controlled_unet", lambda: _controlled(checkpoint), Denoiser(**shapes | _steering(checkpoint))))
    return [Part(role, build, given.graph(), given.cases(), (side, side)) for role, build, given in made]


def _plain(load: Callable[[], nn.Module | None]) -> nn.Module:
    return UNetContract(_there(load()))


def _describe_unet(checkpoint: CheckpointNetworks) -> dict[str, Any]:
    """What the configurations say of the UNet's inputs."""
    config = checkpoint.unet_config
    pooled = 0
    if checkpoint.architecture == "sdxl":
        pooled = int((checkpoint.text_config_2 or {}).get("projection_dim", 512))  # 512: CLIPTextConfig's own
        added = int(config["projection_class_embeddings_input_dim"]) - pooled
        if added != TIME_IDS * int(config["addition_time_embed_dim"]):
            raise ExportError(
                f"the UNet takes {added} numbers with the pooled prompt, which are not {TIME_IDS} embedded sizes:"
                " it is not a base model of SDXL (its refiner is not supported)"
            )
    length, width = _length(checkpoint.text_config), config["cross_attention_dim"]
    if not isinstance(width, int):
        raise ExportError(f"the UNet's levels take prompts of several widths, {width}")
    return {
        "channels": int(config["in_channels"]),
        "multiple": 2 ** (len(config["block_out_channels"]) - 1),
        "text": (length, width),
        "pooled": pooled,
        "guided": config.get("time_cond_proj_dim") is not None,
    }


def _side(checkpoint: CheckpointNetworks) -> int:
    """The native side in latent positions, as a multiple of what the UNet takes."""
    config = checkpoint.unet_config
    multiple = 2 ** (len(config["block_out_channels"]) - 1)
    return max(1, int(config.get("sample_size") or 64) // multiple) * multiple


def _steering(checkpoint: CheckpointNetworks) -> dict[str, Any]:
    """How many ControlNets and tokens a controlled UNet takes."""
    kinds = len(checkpoint.control_kinds)
    if not checkpoint.has("image_encoder"):
        return {"controls": kinds}
    projection = _projection(checkpoint)
    latents = getattr(projection, "latents", None)
    tokens = latents.shape[1] if latents is not None else getattr(projection, "num_image_text_embeds", None)
    if tokens is None:
        raise ExportError(f"IP-Adapters with {type(projection).__name__} are not supported (base and Plus are)")
    return {"controls": kinds, "tokens": int(tokens)}


def _controlled(checkpoint: CheckpointNetworks) -> nn.Module:
    unet = checkpoint.prompted_unet() if checkpoint.has("image_encoder") else checkpoint.unet()
    return ControlledUnet(_there(unet), *checkpoint.controlnets().values())


def _projection(checkpoint: CheckpointNetworks) -> nn.Module:
    """What turns the image encoder's output into tokens; diffusers keeps it in the UNet."""
    (projection,) = _there(checkpoint.prompted_unet()).encoder_hid_proj.image_projection_layers
    return projection


def _vae_parts(checkpoint: CheckpointNetworks) -> list[Part]:
    config = checkpoint.vae_config
    pixels = 2 ** (len(config["block_out_channels"]) - 1)
    if pixels != PIXELS:
        raise ExportError(f"the VAE has {pixels} pixels for a latent position, along a side; {PIXELS} are supported")
    channels, side = int(config["latent_channels"]), min(_side(checkpoint), WARM_VAE)
    exact = checkpoint.architecture == "sdxl" and bool(config.get("force_upcast", True))
    return [
        Part(
            "vae_encoder",
            lambda: KLEncoder(checkpoint.vae()),
            examples.picture_graph(),
            examples.picture_cases(),
            (PIXELS * side, PIXELS * side),
            exact,
        ),
        Part(
            "vae_decoder",
            lambda: _decoder(checkpoint),
            examples.latent_graph(channels),
            examples.latent_cases(channels),
            (side, side),
            exact,
        ),
    ]


def _decoder(checkpoint: CheckpointNetworks) -> nn.Module:
    tiny, config = checkpoint.tiny_vae(), checkpoint.vae_config
    if tiny is None:
        return KLDecoder(checkpoint.vae())
    return TinyDecoder(tiny, float(config.get("scaling_factor", 0.18215)), float(config.get("shift_factor") or 0.0))


def _likeness_parts(checkpoint: CheckpointNetworks) -> list[Part]:
    if not checkpoint.has("image_encoder"):
        return []
    side = int(_there(checkpoint.image_encoder()).config.image_size)
    graph, cases = examples.likeness_graph(side), examples.likeness_cases(side)
    return [Part("image_encoder", lambda: _likeness(checkpoint), graph, cases)]


def _likeness(checkpoint: CheckpointNetworks) -> nn.Module:
    projection = _projection(checkpoint)  # first, and alone: the UNet that holds it is large
    return ImageTokens(_there(checkpoint.image_encoder()), projection)


def _there(network: nn.Module | None) -> nn.Module:
    """A network that has() promised.

    Raises:
        ExportError: it is not there after all.
    """
    if network is None:
        raise ExportError("the checkpoint lacks a network that it says it has")
    return network
