"""Turns the trained networks into what the service loads: ONNX graphs, the tokenizer, and the family's numbers."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from model_tools.export.folders import finish_folder, graph_path
from model_tools.export.graphs import TextContract, export_text_encoder, export_vae_encoder
from model_tools.export.verify import check_graph, halved, token_cases
from model_tools.training.paths import REPO, REPOSITORY, Workspace
from model_tools.training.pictures import STYLES
from model_tools.training.runlog import load_state
from model_tools.training.starter.data.canvas import ASPECT_SIZES, PROMPT_SIDE, place_all
from model_tools.training.starter.networks.autoencoder import LATENT_CHANNELS
from model_tools.training.starter.networks.denoiser import SCHEDULE
from model_tools.training.starter.networks.text import LENGTH, PAD, WIDTH, load_encoder, load_tokenizer
from model_tools.training.starter.served import (
    ABSENT,
    ImageContract,
    SteeredContract,
    decoder_cases,
    export_decoder,
    export_image_encoder,
    export_steered_unet,
    steered_cases,
)
from model_tools.training.starter.trainers.latents import encode, load_autoencoder, scaling_factor
from model_tools.training.starter.trainers.train_adapters import load_adapters

FAMILY = REPO / "families" / "starter"
# The UNet halves its maps twice, so latent sides are multiples of four.
MULTIPLE = 4
NATIVE_LATENT = (16, 16)
NATIVE = (128, 128)
# Batch, height, width in latent positions: batches alone and full, and shapes that are not square.
SHAPES = [(1, 16, 16), (2, 16, 16), (8, 16, 16), (2, 12, 20), (2, 32, 8), (1, 8, 32)]
SIZE_LIMIT = 150 * 10**6
NETWORKS = ("text_encoder", "unet", "vae_decoder", "vae_encoder", "image_encoder")


def export_networks(workspace: Workspace, repository: Path) -> None:
    """Writes the model folders of the text encoder and the VAE, and holds each graph to its torch module.

    Raises ValueError where a graph and its module differ by more than verify.BOUND.
    """
    text, autoencoder = halved(load_encoder()), load_autoencoder(workspace)
    decoder, encoder = halved(autoencoder.decoder), halved(autoencoder.encoder)
    path = graph_path(repository, "starter_text_encoder")
    export_text_encoder(text, path, length=LENGTH, fp16_weights=True)
    report(path, TextContract(text), token_cases([1, 2, 8], LENGTH, 30000))
    path = graph_path(repository, "starter_vae_decoder")
    export_decoder(decoder, path)
    report(path, decoder, decoder_cases(SHAPES))
    path = graph_path(repository, "starter_vae_encoder")
    export_vae_encoder(encoder, path, fp16_weights=True)
    report(path, encoder, [{"image": torch.rand(2, 3, 96, 160, generator=torch.Generator().manual_seed(0)) * 2 - 1}])
    for network, sides in (("text_encoder", NATIVE_LATENT), ("vae_decoder", NATIVE_LATENT), ("vae_encoder", NATIVE)):
        finish_folder(repository, f"starter_{network}", precision="auto", sides=sides)


def export_adapters(workspace: Workspace, repository: Path) -> None:
    """Writes the model folders of the denoiser with its adapters and of the image encoder, checked as the others."""
    unet, images = (halved(module) for module in load_adapters(workspace))
    path = graph_path(repository, "starter_unet")
    export_steered_unet(unet, path, multiple=MULTIPLE)
    report(path, SteeredContract(unet), steered_cases(SHAPES))
    path = graph_path(repository, "starter_image_encoder")
    export_image_encoder(images, path)
    report(path, ImageContract(images), [{"image": torch.rand(3, 3, PROMPT_SIDE, PROMPT_SIDE) * 2 - 1}])
    finish_folder(repository, "starter_unet", precision="auto", sides=NATIVE_LATENT, optional=ABSENT)
    finish_folder(repository, "starter_image_encoder", precision="auto")


def report(path: Path, module: nn.Module, cases: list[dict[str, torch.Tensor]]) -> None:
    """Prints how far the graph is from the module. Raises ValueError where that is too far."""
    check = check_graph(path, module, cases)
    print(f"{path.parent.parent.name}: {check.against_torch:.1e} from torch, {check.between_rows:.1e} between batches")
    check.demand()


def preview_map(workspace: Workspace) -> dict[str, list[list[float]] | list[float]]:
    """The linear map from scaled latents to RGB in [0, 1] that fits all native pictures best (least squares).

    "matrix" has a row for each of R, G, B and a column for each latent channel; "bias" is added.
    """
    model, factor = load_autoencoder(workspace), scaling_factor(workspace)
    width, height = ASPECT_SIZES[0]
    inputs, targets = [], []
    for style in STYLES:
        pictures = place_all(np.load(workspace.pictures(style), mmap_mode="r")[::4], width, height)
        latents = (encode(model, pictures) * factor).permute(0, 2, 3, 1).reshape(-1, LATENT_CHANNELS).numpy()
        small = pictures.reshape(len(pictures), height // 8, 8, width // 8, 8, 3).mean(axis=(2, 4)) / 255.0
        inputs.append(np.concatenate([latents, np.ones((len(latents), 1))], axis=1))
        targets.append(small.reshape(-1, 3))
    solution = np.linalg.lstsq(np.concatenate(inputs), np.concatenate(targets), rcond=None)[0].T
    return {"matrix": solution[:, :-1].round(5).tolist(), "bias": solution[:, -1].round(5).tolist()}


def sha256(path: Path) -> str:
    """The file's digest, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def describe(workspace: Workspace, repository: Path, folder: Path) -> None:
    """Writes starter.json: what families.toml needs to know, and what the networks are.

    Raises ValueError when the graphs are larger together than the repository may hold.
    """
    graphs = {name: graph_path(repository, f"starter_{name}") for name in NETWORKS}
    total = sum(path.stat().st_size for path in graphs.values())
    if total > SIZE_LIMIT:
        raise ValueError(f"the graphs take {total / 1e6:.0f} MB, the limit is {SIZE_LIMIT / 1e6:.0f} MB")
    states = {part: load_state(getattr(workspace, part)) or {} for part in ("vae", "unet", "adapters")}
    facts = {
        "scaling_factor": round(scaling_factor(workspace), 6),
        "preview": preview_map(workspace),
        "schedule": SCHEDULE,
        "text": {"length": LENGTH, "width": WIDTH, "pad_id": PAD},
        "latent_multiple": MULTIPLE,
        "buckets": [list(aspect_size) for aspect_size in ASPECT_SIZES],
        "training": {
            part: {"steps": state.get("step"), "minutes": round(state.get("spent", 0) / 60, 1)}
            for part, state in states.items()
        },
        "bytes": total,
        "sha256": {name: sha256(path) for name, path in graphs.items()},
    }
    (folder / "starter.json").write_text(json.dumps(facts, indent=2) + "\n", "utf-8")


def publish(workspace: Workspace, repository: Path = REPOSITORY, folder: Path = FAMILY) -> None:
    """Exports all, checks all, and writes the family's tokenizer and numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    export_networks(workspace, repository)
    load_tokenizer(None).save(str(folder / "tokenizer.json"))
    publish_adapters(workspace, repository, folder)


def publish_adapters(workspace: Workspace, repository: Path = REPOSITORY, folder: Path = FAMILY) -> None:
    """The part of `publish` that new adapters change."""
    export_adapters(workspace, repository)
    describe(workspace, repository, folder)
