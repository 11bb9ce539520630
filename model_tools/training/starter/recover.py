"""The starter's training states out of its shipped graphs, so that a training can go on from them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from model_tools.export.folders import graph_path
from model_tools.export.graphs import export_vae_encoder
from model_tools.training.paths import Workspace
from model_tools.training.pictures import STYLES, load_concepts
from model_tools.training.recover import recover, unfold_norms
from model_tools.training.runlog import save_state
from model_tools.training.starter.data.augment import photograph, shrink
from model_tools.training.starter.networks.autoencoder import Autoencoder
from model_tools.training.starter.networks.controlled import build_adapters
from model_tools.training.starter.networks.denoiser import build_unet
from model_tools.training.starter.served import export_decoder, export_image_encoder, export_steered_unet
from model_tools.training.starter.trainers.train_adapters import AdapterTrainer
from model_tools.training.starter.trainers.train_draft import blank_draft, fill_rows
from model_tools.training.starter.trainers.train_unet import UNetTrainer
from model_tools.training.starter.trainers.train_vae import to_float


def recover_all(workspace: Workspace, repository: Path) -> None:
    """Writes the states of the autoencoder, the draft, the denoiser and the adapters, as after no step of training.

    Needs what `prepare` writes: the concepts' order says which row of the draft's tables shows what. Raises ValueError
    where a weight is not found in its graph.
    """

    def load(module: nn.Module, network: str, export: Callable[[nn.Module, Path], None]) -> None:
        module.eval()
        recover(module, graph_path(repository, f"starter_{network}"), lambda path: export(module, path))

    autoencoder = Autoencoder()
    load(autoencoder.decoder, "vae_decoder", export_decoder)
    load(autoencoder.encoder, "vae_encoder", lambda net, path: export_vae_encoder(net, path, fp16_weights=True))
    save_state(workspace.vae, {"model": autoencoder.state_dict()})
    draft = blank_draft(workspace)
    fill_rows(draft, load_concepts(workspace))
    model, images = build_adapters(build_unet(draft))
    load(model, "unet", lambda net, path: export_steered_unet(net, path, multiple=4))
    load(images, "image_encoder", export_image_encoder)
    unfold_norms(images, portraits(workspace))
    save_state(workspace.draft, draft.state_dict())
    unet = UNetTrainer(build_unet(draft), compiled=False)
    weights = {key: value for key, value in model.base.unet.state_dict().items() if "_ip." not in key}
    for net in (unet.unet, unet.average):
        net.unet.load_state_dict(weights)
    save_state(workspace.unet, unet.state(0.0))
    adapters = AdapterTrainer(unet.average, autoencoder.encoder, 1.0)
    adapters.parts.load_state_dict(nn.ModuleDict({**model.adapters(), "images": images}).state_dict())
    save_state(workspace.adapters, adapters.state(0.0))


def portraits(workspace: Workspace, count: int = 256) -> Tensor:
    """Image prompts to measure norms on: float32 [count, 3, 128, 128] in [-1, 1]."""
    random, pictures = np.random.default_rng(0), np.load(workspace.pictures(STYLES[0]), mmap_mode="r")
    rows = random.choice(len(pictures), count, replace=False)
    return to_float(np.stack([photograph(shrink(pictures[row]), random) for row in rows]))
