"""The weights of a shipped graph, loaded into the network that it was written from.

A graph keeps most weights under their torch names; some are folded: transposed, reshaped, or a norm taken into its
convolution. Which is which is found by exporting a network of the same classes whose weights are all different, and
looking each of its weights up among the constants of that graph. Batch norms are found by name, or, where the shipped
graph has them inside the convolutions before, by the biases those got.
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


def recover(module: nn.Module, shipped: Path, export: Callable[[Path], None]) -> None:
    """Loads the weights of `shipped` into the module, which `export` writes the way it was written.

    Raises ValueError naming the weights that are not found.
    """
    scramble(module)
    with tempfile.TemporaryDirectory() as folder:
        export(Path(folder) / "graph.onnx")
        pattern = constants(Path(folder) / "graph.onnx")
    values, missing = constants(shipped), []
    by_size: dict[int, list[str]] = {}
    for name, value in pattern.items():
        by_size.setdefault(value.size, []).append(name)
    for name, part in module.named_modules():
        if isinstance(part, nn.BatchNorm2d) and not recover_norm(part, name, values):
            missing.append(name)
    for name, weight in module.named_parameters():
        if isinstance(module.get_submodule(name.rpartition(".")[0]), nn.BatchNorm2d):
            continue
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
    if missing:
        raise ValueError(f"{shipped}: weights not found: {', '.join(missing)}")


def recover_norm(norm: nn.BatchNorm2d, name: str, values: Arrays) -> bool:
    """Loads a norm; one that is inside the convolution before it adds that one's bias and does nothing else."""

    def find(wanted: str) -> Tensor | None:
        found = [value for key, value in values.items() if f".{key}".endswith(f".{wanted}")]
        return torch.from_numpy(found[0].astype(np.float32)) if len(found) == 1 else None

    parts = ("weight", "bias") * norm.affine + ("running_mean", "running_var")
    own = {key: find(f"{name}.{key}") for key in parts}
    before, _, place = name.rpartition(".")
    if norm.affine and place.isdigit() and all(value is None for value in own.values()):
        own = {"bias": find(f"{before}.{int(place) - 1}.weight_bias")}  # as torch's newer exporter folds and names it
    for key, value in own.items():
        if value is None:
            return False
        with torch.no_grad():
            getattr(norm, key).copy_(value)
    return True


def unfold_norms(module: nn.Module, inputs: Tensor) -> None:
    """Gives folded norms the statistics of what comes to them, and weights that undo them: the answers stay.

    Else the first step of a training, which norms by its batch, would tear down what the network knows.
    """

    def fit(norm: nn.BatchNorm2d, given: tuple[Tensor]) -> None:
        variance, mean = torch.var_mean(given[0], (0, 2, 3))
        norm.bias.add_(norm.weight * (mean - norm.running_mean) / (norm.running_var + norm.eps).sqrt())
        norm.weight.mul_(((variance + norm.eps) / (norm.running_var + norm.eps)).sqrt())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)

    hooks = [part.register_forward_pre_hook(fit) for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    with torch.no_grad():
        module.eval()(inputs)
    for hook in hooks:
        hook.remove()
