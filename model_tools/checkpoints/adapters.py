"""ControlNets, IP-Adapters, and VAEs of other checkpoints: read, and compared with the UNet that they go with."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from diffusers.loaders import single_file_utils as ldm
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from model_tools.checkpoints.errors import CheckpointError
from model_tools.checkpoints.layout import Config, read_json, require_class
from model_tools.checkpoints.single_file import convert
from model_tools.checkpoints.weights import State, build, find_weights, read_state, require_finite, require_no_pickle

if TYPE_CHECKING:
    from torch import nn

STEM = "diffusion_pytorch_model"
SHARED = ("cross_attention_dim", "block_out_channels", "layers_per_block", "addition_embed_type", "in_channels")
"""What a ControlNet must have as its UNet has it: its outputs are added to the UNet's, level by level."""
LDM_CONTROLNET = ("control_model.", "time_embed.0.weight")


@dataclass(frozen=True)
class ControlSource:
    """A ControlNet's folder or file, and what its pictures show ("canny")."""

    kind: str
    path: Path

    @classmethod
    def parse(cls, text: str) -> ControlSource:
        """[KIND=]DIR_OR_FILE."""
        kind, equals, name = text.partition("=")
        return cls(kind, Path(name)) if equals else cls("canny", Path(text))


def weights_of(path: Path, stem: str, *, allow_pickle: bool) -> list[Path]:
    """The files of a network's folder, or the file itself."""
    if path.is_dir():
        return find_weights(path, stem, allow_pickle=allow_pickle)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file or folder")
    require_no_pickle(path, allow_pickle=allow_pickle)
    return [path]


def controlnet_config(source: ControlSource, unet: Config) -> Config:
    """A ControlNet's configuration; of a single file, what follows from its UNet's.

    Raises:
        CheckpointError: it is for another UNet, or of a kind that is not known.
    """
    if source.path.is_dir():
        config = read_json(source.path / "config.json")
        if (kind := config.get("_class_name", "ControlNetModel")) != "ControlNetModel":
            raise CheckpointError(f"{source.path}: is a {kind}, not a ControlNetModel")
    else:
        known = inspect.signature(ControlNetModel.__init__).parameters
        config = {name: value for name, value in unet.items() if name in known and name != "mid_block_type"}
    for name in SHARED:
        mine, wanted = config.get(name), unet.get(name)
        if mine is not None and wanted is not None and _plain(mine) != _plain(wanted):
            raise CheckpointError(
                f"{source.path}: this ControlNet is for another UNet: {name} is {mine}, the checkpoint's is {wanted}"
            )
    for name, only in (("conditioning_channels", 3), ("global_pool_conditions", False)):
        if config.get(name, only) != only:
            raise CheckpointError(f"{source.path}: {name} is {config[name]}, which is not known here")
    return config


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def load_controlnet(source: ControlSource, unet: Config, *, allow_pickle: bool) -> ControlNetModel:
    """The ControlNet in float32.

    Raises:
        CheckpointError: it does not fit the UNet, or its tensors are not those of its configuration.
    """
    config = controlnet_config(source, unet)
    files = weights_of(source.path, STEM, allow_pickle=allow_pickle)
    state = read_state(files)
    if any(name.startswith(LDM_CONTROLNET) for name in state):
        state = ldm.convert_controlnet_checkpoint(state, config)
    return build(lambda: ControlNetModel.from_config(config), state, str(files[0]))


def read_ip_adapter(path: Path, unet: UNet2DConditionModel, *, allow_pickle: bool) -> dict[str, State]:
    """An IP-Adapter's tensors, "image_proj" and "ip_adapter", as diffusers' loading takes them.

    Args:
        path: of the file, of the plain kind or Plus.
        unet: on the meta device or with weights; only shapes are checked.
        allow_pickle: whether a .bin will do.

    Raises:
        CheckpointError: it is of another kind, or for another UNet.
    """
    (file,) = weights_of(path, "ip_adapter", allow_pickle=allow_pickle)
    flat = read_state([file])
    require_finite(flat, str(path))
    state: dict[str, State] = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in flat.items():
        group, _, rest = name.partition(".")
        if group not in state:
            raise CheckpointError(f"{path}: not an IP-Adapter, it has {name}")
        state[group][rest] = tensor
    require_known(state["image_proj"], path)
    _compare_layers(state["ip_adapter"], unet, path)
    return state


def require_known(projection: State, path: Path) -> None:
    """Refuse an IP-Adapter that is neither plain nor Plus.

    Raises:
        CheckpointError: as it says.
    """
    plain, plus = {"proj.weight", "norm.weight"}, {"latents", "proj_in.weight", "proj_out.weight"}
    if not plain <= projection.keys() and not plus <= projection.keys():
        raise CheckpointError(
            f"{path}: neither an IP-Adapter nor an IP-Adapter Plus (those for face recognition's embeddings, and"
            " Full, are not known here)"
        )


def _compare_layers(layers: State, unet: UNet2DConditionModel, path: Path) -> None:
    width = unet.config.cross_attention_dim
    expected: dict[str, tuple[int, int]] = {}
    for number, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            inner = unet.get_submodule(name.removesuffix(".processor")).to_k.weight.shape[0]
            expected |= {f"{number}.to_{kind}_ip.weight": (inner, width) for kind in ("k", "v")}
    for name, shape in expected.items():
        found = tuple(layers[name].shape) if name in layers else None
        if found != shape:
            said = f"has the shape {list(found)}" if found else "is missing"
            raise CheckpointError(f"{path}: ip_adapter.{name} {said}, the checkpoint's UNet needs {list(shape)}")
    if more := sorted(layers.keys() - expected.keys()):
        raise CheckpointError(f"{path}: has ip_adapter.{more[0]}, for which the checkpoint's UNet has no layer")


def tokens_width(projection: State) -> tuple[int, bool]:
    """What the projection takes: a width, and whether of the hidden states (Plus) or of the embedding."""
    is_plus = "latents" in projection
    return projection["proj_in.weight" if is_plus else "proj.weight"].shape[1], is_plus


def vision_config(folder: Path, projection: State) -> Config:
    """The picture tower's configuration, compared with what the IP-Adapter takes.

    Raises:
        CheckpointError: it is not a CLIPVisionModelWithProjection, or another than the adapter was trained with.
    """
    config = read_json(folder / "config.json")
    config = config.get("vision_config", {}) | config if "vision_config" in config else config
    if "CLIPVisionModelWithProjection" not in (config.get("architectures") or ["CLIPVisionModelWithProjection"]):
        raise CheckpointError(f"{folder}: is a {config['architectures'][0]}, not a CLIPVisionModelWithProjection")
    width, is_plus = tokens_width(projection)
    name = "hidden_size" if is_plus else "projection_dim"
    if config.get(name) != width:
        raise CheckpointError(
            f"{folder}: another picture tower than the IP-Adapter's: {name} is {config.get(name)}, not {width}"
        )
    return config


def load_image_encoder(folder: Path, config: Config, *, allow_pickle: bool) -> CLIPVisionModelWithProjection:
    """The picture tower in float32."""
    files = weights_of(folder, "model", allow_pickle=allow_pickle)
    made = CLIPVisionConfig(**config)
    return build(lambda: CLIPVisionModelWithProjection(made), read_state(files), str(files[0]))


@dataclass(frozen=True)
class VaeSource:
    """A VAE in addition to the checkpoint's: a folder (its own, or a pipeline's), or a file.

    Attributes:
        path: as the user named it.
        fallback: the checkpoint's configuration, which a file is taken to have.
        allow_pickle: whether a pickle will do.
    """

    path: Path
    fallback: Config
    allow_pickle: bool = False

    def config(self) -> Config:
        """Its configuration."""
        if not self.path.is_dir():
            return self.fallback
        config = read_json(self._folder / "config.json")
        require_class(self._folder / "config.json", config, "vae")
        return config

    @property
    def _folder(self) -> Path:
        return self.path / "vae" if (self.path / "vae").is_dir() else self.path

    def files(self) -> list[Path]:
        """Its files of weights."""
        return weights_of(self._folder if self.path.is_dir() else self.path, STEM, allow_pickle=self.allow_pickle)

    def state(self) -> State:
        """Its tensors, by diffusers' names."""
        state = read_state(self.files())
        is_ldm = any(".down.0.block.0." in name for name in state)
        return convert("vae", state, self.config()) if is_ldm else state


def build_vae(config: Config, state: State, where: str) -> nn.Module:
    """An AutoencoderKL in float32."""
    return build(lambda: AutoencoderKL.from_config(config), state, where)


def build_unet(config: Config, state: State, where: str) -> UNet2DConditionModel:
    """A UNet in float32."""
    return build(lambda: UNet2DConditionModel.from_config(config), state, where)
