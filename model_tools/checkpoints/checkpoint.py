"""A checkpoint and what is added to it, checked; its networks one at a time, in float32."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPVisionModelWithProjection

from model_tools.checkpoints import adapters, licences
from model_tools.checkpoints.adapters import ControlSource, VaeSource, build_unet, build_vae
from model_tools.checkpoints.errors import CheckpointError
from model_tools.checkpoints.inputs import Inputs
from model_tools.checkpoints.layout import Config, Folder, Source, refuse_others
from model_tools.checkpoints.lora import Lora, LoraLayers
from model_tools.checkpoints.requirements import require_unet, require_vae
from model_tools.checkpoints.single_file import SingleFile
from model_tools.checkpoints.tiny_vae import TinyVae
from model_tools.checkpoints.weights import State, build

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from diffusers import AutoencoderKL, AutoencoderTiny

Network = TypeVar("Network", bound=nn.Module)


class Checkpoint:
    """A checkpoint of Stable Diffusion 1.x, 2.x or SDXL, and its adapters.

    Attributes:
        architecture: "sdxl" where there are two text encoders.
        license, commercial: of the weights, adapters' included.
        unet_config, vae_config, scheduler_config, text_config, text_config_2: as diffusers and transformers write them.
        control_kinds: of the ControlNets, in their order.
    """

    def __init__(self, inputs: Inputs) -> None:
        """Read everything but the weights, and compare it.

        Raises:
            CheckpointError: a file is missing, this is another architecture, parts do not fit each other, or the
                licence is missing or forbids commercial use.
        """
        self.inputs = inputs
        self._source = self._open(inputs.checkpoint)
        if not self._source.has("text_encoder"):
            what = " (SDXL's refiner has the second alone)" if self._source.has("text_encoder_2") else ""
            raise CheckpointError(f"{inputs.checkpoint}: has no text_encoder{what}")
        self.architecture: Literal["sd", "sdxl"] = "sdxl" if self._source.has("text_encoder_2") else "sd"
        self.text_config = self._source.config("text_encoder")
        self.text_config_2 = self._source.config("text_encoder_2") if self.architecture == "sdxl" else None
        self.unet_config = self._source.config("unet")
        self.index = self._source.config("index")
        self._vae = VaeSource(inputs.vae, self._source.config("vae"), inputs.allow_pickle) if inputs.vae else None
        self.vae_config = self._vae.config() if self._vae else self._source.config("vae")
        channels, pickles = self.vae_config.get("latent_channels", 4), inputs.allow_pickle
        self._tiny = TinyVae(inputs.tiny_vae, channels, self.factor, pickles) if inputs.tiny_vae else None
        self.scheduler_config = self._scheduler()
        self._require_parts()
        self._controls = {each.kind: each for each in inputs.controlnets}
        self.control_kinds = tuple(self._controls)
        self._require_adapters()
        settled = licences.settle(
            inputs.checkpoint, inputs.license, inputs.added, allow_non_commercial=inputs.allow_non_commercial
        )
        self.license, self.commercial = settled.name, settled.commercial
        self._loras = [self._read_lora(lora) for lora in inputs.loras]

    def has(self, role: str) -> bool:
        """Whether it has the network of that role (orchestrator/models/specs.py, FAMILY_ROLES)."""
        own = self.unet_config.get("in_channels", 4)
        return {
            "text_encoder": True,
            "text_encoder_2": self.architecture == "sdxl",
            "unet": own == 4,
            "inpaint_unet": own == 9 or self.inputs.inpaint is not None,
            "controlled_unet": bool(self._controls) or self.inputs.ip_adapter is not None,
            "vae_encoder": True,
            "vae_decoder": True,
            "image_encoder": self.inputs.ip_adapter is not None,
        }.get(role, False)

    @property
    def guidance(self) -> str:
        """How the guidance scale works: "classifier_free", or "embedding" where the UNet takes it as an input."""
        return "classifier_free" if self.unet_config.get("time_cond_proj_dim") is None else "embedding"

    @property
    def factor(self) -> int:
        """Pixels for each latent, along a side."""
        return 2 ** (len(self.vae_config["block_out_channels"]) - 1)

    @property
    def multiple(self) -> int:
        """What the sides of latents are multiples of."""
        return 2 ** (len(self.unet_config["block_out_channels"]) - 1)

    @property
    def native(self) -> int:
        """Side, in pixels, of the pictures that it was trained with."""
        size = self.unet_config.get("sample_size") or (128 if self.architecture == "sdxl" else 64)
        return int(max(size) if isinstance(size, (list, tuple)) else size) * self.factor

    def tokenizer_folder(self, part: str) -> Path | None:
        """The folder of a text encoder's tokenizer; None where there is no such encoder.

        Raises:
            CheckpointError: it is a single file's, and none is named.
        """
        return self._source.tokenizer(part) if self.has(part) else None

    def pad_id(self, encoder: int) -> int | None:
        """Token id that fills up prompts for the first or second text encoder; None for the tokenizer's own."""
        if isinstance(self._source, SingleFile) and self.inputs.config is None:
            return self._source.published.pad_ids[encoder]
        return None

    def text_encoder(self) -> CLIPTextModel:
        """The first text encoder."""
        config = CLIPTextConfig(**self.text_config)
        return self._part("text_encoder", lambda state, where: build(lambda: CLIPTextModel(config), state, where))

    def text_encoder_2(self) -> CLIPTextModelWithProjection | None:
        """SDXL's second."""
        if self.text_config_2 is None:
            return None
        config = CLIPTextConfig(**self.text_config_2)
        make = lambda: CLIPTextModelWithProjection(config)  # noqa: E731
        return self._part("text_encoder_2", lambda state, where: build(make, state, where))

    def unet(self) -> UNet2DConditionModel | None:
        """The UNet of 4 channels."""
        return self._own_unet() if self.has("unet") else None

    def inpaint_unet(self) -> UNet2DConditionModel | None:
        """The UNet of 9 channels: the one that is added, or the checkpoint's own."""
        if self.inputs.inpaint is None:
            return self._own_unet() if self.has("inpaint_unet") else None
        source = self._open(self.inputs.inpaint)
        config = source.config("unet")
        network = build_unet(config, source.state("unet"), str(source.path))
        return self._fused(network, "unet")

    def vae(self) -> AutoencoderKL:
        """The VAE, or the one that is taken in its place."""
        if self._vae:
            return build_vae(self.vae_config, self._vae.state(), str(self._vae.path))
        return self._part("vae", lambda state, where: build_vae(self.vae_config, state, where))

    def tiny_vae(self) -> AutoencoderTiny | None:
        """What decodes in the VAE's place."""
        return self._tiny.load() if self._tiny else None

    def controlnets(self) -> dict[str, ControlNetModel]:
        """The ControlNets by kind, in their order."""
        return {kind: self._controlnet(source) for kind, source in self._controls.items()}

    def prompted_unet(self) -> UNet2DConditionModel | None:
        """The UNet with the IP-Adapter's layers; its projection is in encoder_hid_proj."""
        if self.inputs.ip_adapter is None:
            return None
        network = self._own_unet()
        # As diffusers' pipelines do it.
        network._load_ip_adapter_weights([self._ip_adapter()], low_cpu_mem_usage=False)  # noqa: SLF001
        return network.eval().requires_grad_(requires_grad=False)

    def image_encoder(self) -> CLIPVisionModelWithProjection | None:
        """The IP-Adapter's picture tower."""
        if self.inputs.ip_adapter is None:
            return None
        folder, pickles = self._tower(), self.inputs.allow_pickle
        config = adapters.vision_config(folder, self._ip_adapter()["image_proj"])
        return adapters.load_image_encoder(folder, config, allow_pickle=pickles)

    def _open(self, path: Path) -> Source:
        inputs = self.inputs
        if path.is_dir():
            folder = Folder(path, allow_pickle=inputs.allow_pickle)
            refuse_others(path, str(folder.config("index").get("_class_name", "")))
            return folder
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file or folder")
        return SingleFile(path, allow_pickle=inputs.allow_pickle, config=inputs.config, tokenizer=inputs.tokenizer)

    def _part(self, part: str, make: Callable[[State, str], Network]) -> Network:
        """One of the checkpoint's own networks, with what LoRA files add to it."""
        return self._fused(make(self._source.state(part), str(self._source.files(part)[0])), part)

    def _fused(self, network: Network, part: str) -> Network:
        for lora in self._loras:
            lora.fuse(network, part)
        return network

    def _own_unet(self) -> UNet2DConditionModel:
        return self._part("unet", lambda state, where: build_unet(self.unet_config, state, where))

    def _controlnet(self, source: ControlSource) -> ControlNetModel:
        return adapters.load_controlnet(source, self.unet_config, allow_pickle=self.inputs.allow_pickle)

    def _bare_unet(self) -> UNet2DConditionModel:
        with torch.device("meta"):
            return UNet2DConditionModel.from_config(self.unet_config)

    def _ip_adapter(self) -> dict[str, State]:
        if self.inputs.ip_adapter is None:
            raise CheckpointError("no IP-Adapter is named")
        return adapters.read_ip_adapter(
            self.inputs.ip_adapter, self._bare_unet(), allow_pickle=self.inputs.allow_pickle
        )

    def _tower(self) -> Path:
        """The folder of the picture tower: as named, or next to the IP-Adapter's file, as its authors have it."""
        if self.inputs.image_encoder:
            return self.inputs.image_encoder
        default = (self.inputs.ip_adapter or self.inputs.checkpoint).parent / "image_encoder"
        if not default.is_dir():
            raise CheckpointError(
                f"{self.inputs.ip_adapter}: name its picture tower by --image-encoder; {default} is not one"
            )
        return default

    def _scheduler(self) -> Config:
        config = dict(self._source.config("scheduler"))
        wanted = self.inputs.prediction
        if isinstance(self._source, SingleFile) and self._source.published.needs_prediction:
            wanted = wanted or (config["prediction_type"] if self.inputs.config else None)
            if not wanted:
                raise CheckpointError(
                    f"{self.inputs.checkpoint}: a single file of Stable Diffusion 2 does not say what it predicts; name"
                    " it by --prediction-type: epsilon (512 pixels), v_prediction (768)"
                )
        return config | ({"prediction_type": wanted} if wanted else {})

    def _require_parts(self) -> None:
        path, second = self.inputs.checkpoint, self.text_config_2
        widths = [config["hidden_size"] for config in (self.text_config, second) if config]
        pooled = second.get("projection_dim", 512) if second else None
        require_unet(path, self.unet_config, widths, pooled)
        require_vae(self.inputs.vae or path, self.vae_config)
        if self.inputs.inpaint:
            config = self._open(self.inputs.inpaint).config("unet")
            if config.get("in_channels", 4) != 9:
                raise CheckpointError(
                    f"{self.inputs.inpaint}: its UNet takes {config.get('in_channels', 4)} channels, not 9"
                )
            if config.get("time_cond_proj_dim") != self.unet_config.get("time_cond_proj_dim"):
                raise CheckpointError(
                    f"{self.inputs.inpaint}: one of this UNet and {path}'s takes the guidance scale as an input"
                    " (time_cond_proj_dim), the other does not"
                )
            require_unet(self.inputs.inpaint, config, widths, pooled)

    def _require_adapters(self) -> None:
        """Refuse what does not fit, before weights are read."""
        inputs = self.inputs
        if len(self._controls) < len(inputs.controlnets):
            raise CheckpointError("two ControlNets of one kind; name kinds, as in --controlnet scribble=FOLDER")
        if self.has("controlled_unet") and not self.has("unet"):
            raise CheckpointError(
                f"{inputs.checkpoint}: a UNet that inpaints (9 channels) is not steered by adapters here"
            )
        for source in inputs.controlnets:
            adapters.controlnet_config(source, self.unet_config)
        if inputs.ip_adapter:
            adapters.vision_config(self._tower(), self._ip_adapter()["image_proj"])
        if self._tiny:
            self._tiny.require()
        if inputs.image_encoder and not inputs.ip_adapter:
            raise CheckpointError("--image-encoder cannot be used without --ip-adapter")
        self.files()

    def _read_lora(self, lora: Lora) -> LoraLayers:
        layers = LoraLayers(
            lora, self.unet_config, xl=self.architecture == "sdxl", allow_pickle=self.inputs.allow_pickle
        )
        if strange := [part for part in layers.parts if part != "unet" and not self.has(part)]:
            raise CheckpointError(f"{lora.path}: is for a {strange[0]}, which this checkpoint does not have")
        return layers

    def loads(self) -> dict[str, Callable[[], object]]:
        """What loads each network, by name: to call each once shows that all can be built.

        They raise CheckpointError: a tensor is missing, of another shape, or no number; a LoRA does not fit.
        """
        loads: dict[str, Callable[[], object]] = {"text_encoder": self.text_encoder}
        if self.has("text_encoder_2"):
            loads["text_encoder_2"] = self.text_encoder_2
        loads |= {"vae": self.vae, "unet": self._own_unet}
        if self.inputs.inpaint:
            loads["inpaint_unet"] = self.inpaint_unet
        for kind, source in self._controls.items():
            loads[f"controlnet {kind}"] = partial(self._controlnet, source)
        if self.inputs.ip_adapter:
            loads["image_encoder"] = self.image_encoder
        if self._tiny:
            loads["tiny_vae"] = self.tiny_vae
        return loads

    def files(self) -> list[Path]:
        """Every file of weights that is read."""
        parts = ["text_encoder", "unet", *(["text_encoder_2"] if self.has("text_encoder_2") else [])]
        paths = [path for part in parts for path in self._source.files(part)]
        paths += self._vae.files() if self._vae else self._source.files("vae")
        paths += self._tiny.files() if self._tiny else []
        if self.inputs.inpaint:
            paths += self._open(self.inputs.inpaint).files("unet")
        pickles = self.inputs.allow_pickle
        for source in self._controls.values():
            paths += adapters.weights_of(source.path, adapters.STEM, allow_pickle=pickles)
        if self.inputs.ip_adapter:
            paths += [self.inputs.ip_adapter, *adapters.weights_of(self._tower(), "model", allow_pickle=pickles)]
        return list(dict.fromkeys([*paths, *(lora.path for lora in self.inputs.loras)]))
