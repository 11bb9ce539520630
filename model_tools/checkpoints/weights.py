"""Files of weights, and networks built of them: every tensor is checked by name before a network has it."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING

import safetensors
import torch
from safetensors import safe_open
from torch import Tensor, nn

from model_tools.checkpoints.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

State = dict[str, Tensor]
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
FORGOTTEN = ("position_ids", "logit_scale", "lm_head.weight")
"""Ends of names that files have in addition to weights: counted positions; what training or writing text needs."""
FREQUENCIES = ("inv_freq", "original_inv_freq")
"""Buffers of rotary embeddings, which follow from the configuration."""
MOST_NAMED = 3
"""Tensors that a message names; of more it says how many."""


def find_weights(folder: Path, stem: str, *, allow_pickle: bool = False) -> list[Path]:
    """The files that hold the weights of a network in diffusers' layout.

    Args:
        folder: of the network.
        stem: "diffusion_pytorch_model", or "model" of transformers' networks.
        allow_pickle: whether a .bin file will do where there is no other.

    Returns:
        One file, or all shards. Full weights come before a variant's (`stem`.fp16.safetensors).

    Raises:
        CheckpointError: there are none, or pickles alone.
    """
    for pattern in (f"{stem}.safetensors", f"{stem}.safetensors.index.json", f"{stem}.*safetensors", f"{stem}.*.json"):
        found = [path for path in sorted(folder.glob(pattern)) if "non_ema" not in path.name]
        if found and found[0].suffix == ".json":
            return _shards(found[0])
        if whole := [path for path in found if "-of-" not in path.name]:
            return whole[:1]
    pickles = [
        folder / f"{stem}{suffix}" for suffix in (*PICKLES, ".fp16.bin") if (folder / f"{stem}{suffix}").is_file()
    ]
    # transformers' own name for one
    pickles += [path for path in (folder / "pytorch_model.bin", folder / "pytorch_model.fp16.bin") if path.is_file()]
    if not pickles:
        raise CheckpointError(f"{folder / stem}.safetensors: no such file")
    require_no_pickle(pickles[0], allow_pickle=allow_pickle)
    return pickles[:1]


def require_no_pickle(path: Path, *, allow_pickle: bool) -> None:
    """Refuse a pickle, unless it is allowed.

    Raises:
        CheckpointError: as it says.
    """
    if path.suffix in PICKLES and not allow_pickle:
        raise CheckpointError(
            f"{path} is a pickle, a format that can hold programs; take a .safetensors file instead"
            " (with --allow-pickle its tensors are read, and nothing else)"
        )


def _shards(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{index} is not an index of shards") from error
    paths = [index.parent / name for name in names]
    for path in paths:
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file; {index.name} names it")
    return paths


def read_state(paths: Iterable[Path], keep: Callable[[str], bool] = lambda _: True) -> State:
    """All tensors of the files whose names pass `keep`, as they are stored.

    Raises:
        CheckpointError: a file is cut off, or not what its name says.
    """
    state: State = {}
    for path in paths:
        try:
            state |= _unpickle(path, keep) if path.suffix in PICKLES else _read(path, keep)
        except (OSError, safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise CheckpointError(f"{path} cannot be read: {_first_line(error)}") from error
    return state


def _read(path: Path, keep: Callable[[str], bool]) -> State:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys() if keep(name)}  # noqa: SIM118  # no mapping


def _unpickle(path: Path, keep: Callable[[str], bool]) -> State:
    tree = torch.load(path, map_location="cpu", weights_only=True)
    tree = tree.get("state_dict", tree)
    flat: dict[str, object] = {}
    for name, value in tree.items():  # an IP-Adapter's file has two dictionaries
        flat |= {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
    return {name: value for name, value in flat.items() if isinstance(value, Tensor) and keep(name)}


def tensor_names(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a .safetensors file's tensors; of a pickle, which has to be read for it, too."""
    if path.suffix in PICKLES:
        return {name: tuple(value.shape) for name, value in read_state([path]).items()}
    try:
        with safe_open(path, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # as above
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {_first_line(error)}") from error


def metadata(path: Path) -> dict[str, str]:
    """What a .safetensors file notes about itself; of other files nothing."""
    if path.suffix != ".safetensors":
        return {}
    with safe_open(path, "pt") as file:
        return file.metadata() or {}


def require_finite(state: State, where: str) -> None:
    """Refuse weights that are not numbers.

    Raises:
        CheckpointError: names the first such tensor.
    """
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.to(_countable(tensor))).all()):
            kind = "NaN" if bool(torch.isnan(tensor.to(_countable(tensor))).any()) else "infinite"
            raise CheckpointError(f"{where}: {name} holds {kind} weights")


def _countable(tensor: Tensor) -> torch.dtype:
    """Types of 8 bits have no isfinite."""
    return torch.float32 if tensor.element_size() == 1 else tensor.dtype


def build(make: Callable[[], nn.Module], state: State, where: str) -> nn.Module:
    """A network with the weights of `state`, in float32, for inference.

    Args:
        make: the network, of any weights; it is called on torch's meta device, so that none are drawn.
        state: emptied tensor by tensor, so that no weights are in memory twice.
        where: what messages call it.

    Raises:
        CheckpointError: a tensor is missing, not expected, of another shape, or not finite.
    """
    with torch.device("meta"):
        network = make()
    named = fit(network, state, where)
    require_finite(named, where)
    state.clear()
    for name in list(named):
        named[name] = named[name].float() if named[name].is_floating_point() else named[name]
    network.load_state_dict(named, assign=True)
    _fill_buffers(network)
    return network.eval().requires_grad_(requires_grad=False)


def fit(network: nn.Module, state: State, where: str) -> State:
    """The tensors of `state` by the network's own names, after a comparison of names and shapes.

    Raises:
        CheckpointError: as of build.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = _renamed(network, state, expected)
    _compare(expected, found, where)
    # The names and shapes agree; the attention of an old VAE may have been a convolution of 1 x 1.
    return {name: found[name].reshape(shape) for name, shape in expected.items()}


def _renamed(network: nn.Module, state: State, expected: Collection[str]) -> State:
    """Names of today: diffusers' VAEs had other ones for attention, and transformers' text encoders one part more."""
    if hasattr(network, "_fix_state_dict_keys_on_load"):
        state = network._fix_state_dict_keys_on_load(dict(state))  # noqa: SLF001  # what its from_pretrained does
    found: State = {}
    for name, tensor in state.items():
        forms = (name, name.removeprefix("text_model."), f"text_model.{name}", name.removeprefix("model."))
        found[next((form for form in forms if form in expected), name)] = tensor
    return {name: tensor for name, tensor in found.items() if name in expected or not name.endswith(FORGOTTEN)}


def _compare(expected: dict[str, tuple[int, ...]], found: State, where: str) -> None:
    if missing := [name for name in expected if name not in found]:
        raise CheckpointError(f"{where}: lacks {listed(missing)}")
    if more := [name for name in found if name not in expected]:
        raise CheckpointError(f"{where}: has {listed(more)}, which its configuration has no place for")
    for name, shape in expected.items():
        given = tuple(found[name].shape)
        if given != shape and tuple(size for size in given if size != 1) != tuple(size for size in shape if size != 1):
            raise CheckpointError(f"{where}: {name} has the shape {list(given)}, expected is {list(shape)}")


def listed(names: Sequence[str]) -> str:
    """Some of the names, and how many more there are."""
    more = f" and {len(names) - MOST_NAMED} more tensors" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _fill_buffers(network: nn.Module) -> None:
    """Fill in the buffers that transformers' networks do not store: positions, counted from 0, and frequencies."""
    for module in network.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            if buffer.is_meta and name == "position_ids":
                module.register_buffer(name, torch.arange(buffer.shape[-1])[None], persistent=False)
            elif buffer.is_meta and name in FREQUENCIES:
                module.register_buffer(name, getattr(type(module)(module.config), name), persistent=False)
            elif buffer.is_meta:
                raise CheckpointError(f"{type(module).__name__} has a buffer {name} that no file holds")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
