"""Training states out of the shipped graphs, so that a training can go on from what the repository holds.

A graph keeps most weights under their torch names; some are folded: transposed, reshaped, or a norm taken into its
convolution. Which is which is found by exporting a network of the same classes whose weights are all different, and
looking each of its weights up among the constants of that graph.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from model_tools.export import export_vae_encoder
from model_tools.folders import graph_path
from model_tools.starter.autoencoder import Autoencoder
from model_tools.starter.controlled import build_adapters
from model_tools.starter.denoiser import build_unet
from model_tools.starter.paths import Workspace
from model_tools.starter.pictures import load_concepts
from model_tools.starter.runlog import save_state
from model_tools.starter.served import export_decoder, export_image_encoder, export_steered_unet
from model_tools.starter.train_adapters import AdapterTrainer
from model_tools.starter.train_draft import blank_draft, fill_rows
from model_tools.starter.train_unet import UNetTrainer

Arrays = dict[str, NDArray[np.generic]]


def constants(path: Path) -> Arrays:
    """The graph's floating-point constants by name; a float16 one under the name of what it is cast to."""
    model = onnx.load(path)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {name.removesuffix(".fp16"): value for name, value in arrays.items() if value.dtype.kind == "f"}


def scramble(module: nn.Module) -> None:
    """Gives each weight its own random values. Norms' running statistics become those of no norm at all."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=random))
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.zero_()
            part.running_var.fill_(1.0 - part.eps)
            if part.affine:
                nn.init.ones_(part.weight)


def folded(weight: Tensor, value: NDArray[np.generic]) -> Tensor | None:
    """The constant in the weight's own layout, or None where it cannot be one of it: as it is, reshaped, transposed."""
    found = torch.from_numpy(value.astype(np.float32))
    if found.numel() != weight.numel():
        return None
    if weight.ndim == 2 and found.shape == weight.T.shape and not close(found.reshape(weight.shape), weight):
        found = found.T
    found = found.reshape(weight.shape)
    return found if close(found, weight) else None


def close(one: Tensor, other: Tensor) -> bool:
    """Equal but for what float16 leaves out."""
    return torch.allclose(one, other, rtol=2e-3, atol=1e-3)


def recover(module: nn.Module, shipped: Path, export: Callable[[Path], None]) -> list[str]:
    """Loads the weights of `shipped` into the module, which `export` writes the way it was written.

    Returns the names of the weights that were not found: those that the graph does not need, or folded away.
    """
    scramble(module)
    with tempfile.TemporaryDirectory() as folder:
        export(Path(folder) / "graph.onnx")
        pattern = constants(Path(folder) / "graph.onnx")
    values, missing = constants(shipped), []
    by_size: dict[int, list[str]] = {}
    for name, value in pattern.items():
        by_size.setdefault(value.size, []).append(name)
    for name, weight in module.named_parameters():
        for key in by_size.get(weight.numel(), []):
            if folded(weight, pattern[key]) is None:
                continue
            found = torch.from_numpy(values[key].astype(np.float32))
            transposed = weight.ndim == 2 and not close(
                torch.from_numpy(pattern[key].astype(np.float32)).reshape(weight.shape), weight
            )
            with torch.no_grad():
                weight.copy_((found.T if transposed else found).reshape(weight.shape))
            break
        else:
            missing.append(name)
    for name, buffer in module.named_buffers():
        if name in values and name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.from_numpy(values[name].astype(np.float32)))
    return missing


def recover_all(workspace: Workspace, repository: Path) -> None:
    """Writes the states of the autoencoder, the draft, the denoiser and the adapters, as after no step of training.

    Needs the concepts that `prepare` writes: their order tells which row of the draft's tables shows what. Raises
    ValueError where a weight is not found in its graph.
    """

    def load(module: nn.Module, network: str, export: Callable[[nn.Module, Path], None]) -> None:
        module.eval()
        missing = recover(module, graph_path(repository, f"starter_{network}"), lambda path: export(module, path))
        lost = [name for name in missing if not is_norm(module, name)]
        if lost:
            raise ValueError(f"starter_{network}: weights not found in the graph: {', '.join(lost)}")

    autoencoder = Autoencoder()
    load(autoencoder.decoder, "vae_decoder", export_decoder)
    load(autoencoder.encoder, "vae_encoder", lambda net, path: export_vae_encoder(net, path, fp16_weights=True))
    save_state(workspace.vae, {"model": autoencoder.state_dict()})
    draft = blank_draft(workspace)
    fill_rows(draft, load_concepts(workspace))
    model, images = build_adapters(build_unet(draft))
    load(model, "unet", lambda net, path: export_steered_unet(net, path, multiple=4))
    load(images, "image_encoder", export_image_encoder)
    save_state(workspace.draft, draft.state_dict())
    unet = UNetTrainer(build_unet(draft), compiled=False)
    weights = {key: value for key, value in model.base.unet.state_dict().items() if "_ip." not in key}
    for net in (unet.unet, unet.average):
        net.unet.load_state_dict(weights)
    save_state(workspace.unet, unet.state(0.0))
    adapters = AdapterTrainer(unet.average, autoencoder.encoder, 1.0)
    adapters.parts.load_state_dict(nn.ModuleDict({**model.adapters(), "images": images}).state_dict())
    save_state(workspace.adapters, adapters.state(0.0))


def is_norm(module: nn.Module, name: str) -> bool:
    """Whether a weight is of a BatchNorm, which the graph has inside the convolution before it."""
    return isinstance(module.get_submodule(name.rpartition(".")[0]), nn.BatchNorm2d)
