"""Networks in Stable Diffusion's own layout, as its single files have them: the inverse of diffusers' conversion."""

import re

import torch
from torch import Tensor, nn

State = dict[str, Tensor]

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
MIDDLE = {"resnets.0": "0", "attentions.0": "1", "resnets.1": "2"}
BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def replaced(name: str, table: dict[str, str]) -> str:
    for ours, theirs in table.items():
        if name.startswith(f"{ours}."):
            return theirs + name.removeprefix(ours)
    return name


def unet(network: nn.Module) -> State:
    layers = network.config.layers_per_block
    named: State = {}
    for name, tensor in network.state_dict().items():
        named["model.diffusion_model." + unet_name(name, layers, network)] = tensor
    return named


def unet_name(name: str, layers: int, network: nn.Module) -> str:
    if name.startswith("mid_block."):
        _, kind, number, rest = name.split(".", 3)
        return f"middle_block.{MIDDLE[f'{kind}.{number}']}.{replaced(rest, RESNET)}"
    match = BLOCK.fullmatch(name)
    if not match:
        return replaced(name, UNET_ENDS)
    side, block, kind, index, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    if side == "down":
        first = 1 + block * (layers + 1)
        if kind == "downsamplers":
            return f"input_blocks.{first + layers}.0.op.{rest.removeprefix('conv.')}"
        return f"input_blocks.{first + index}.{int(kind == 'attentions')}.{replaced(rest, RESNET)}"
    first = block * (layers + 1)
    if kind == "upsamplers":
        attends = hasattr(network.up_blocks[block], "attentions")
        return f"output_blocks.{first + layers}.{1 + attends}.{rest}"
    return f"output_blocks.{first + index}.{int(kind == 'attentions')}.{replaced(rest, RESNET)}"


def vae(network: nn.Module) -> State:
    levels = len(network.config.block_out_channels)
    named: State = {}
    for name, tensor in network.state_dict().items():
        key = re.sub(r"down_blocks\.(\d+)\.resnets", r"down.\1.block", name)
        key = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", key)
        key = re.sub(r"up_blocks\.(\d+)", lambda match: f"up.{levels - 1 - int(match[1])}", key)
        key = key.replace("resnets", "block").replace("upsamplers.0", "upsample")
        key = re.sub(r"mid_block\.block\.(\d)", lambda match: f"mid.block_{int(match[1]) + 1}", key)
        key = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        head, is_attention, rest = key.partition("mid_block.attentions.0.")
        if is_attention:
            key = f"{head}mid.attn_1.{replaced(rest, ATTENTION)}"
            tensor = tensor[:, :, None, None] if tensor.ndim == 2 else tensor  # noqa: PLW2901  # a convolution there
        named[f"first_stage_model.{key}"] = tensor
    return named


def clip(network: nn.Module, prefix: str) -> State:
    """`prefix`: cond_stage_model.transformer. or conditioner.embedders.0.transformer."""
    return {f"{prefix}text_model.{name.removeprefix('text_model.')}": t for name, t in network.state_dict().items()}


def open_clip(network: nn.Module) -> State:
    """SDXL's second text encoder: queries, keys and values in one matrix, the projection transposed."""
    state = {name.removeprefix("text_model."): tensor for name, tensor in network.state_dict().items()}
    named = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"],
        "ln_final.bias": state["final_layer_norm.bias"],
        "text_projection": state["text_projection.weight"].T.contiguous(),
    }
    for layer in range(network.config.num_hidden_layers):
        start, target = f"encoder.layers.{layer}.", f"transformer.resblocks.{layer}."
        for kind in ("weight", "bias"):
            joined = [state[f"{start}self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
            named[f"{target}attn.in_proj_{kind}"] = torch.cat(joined)
            for ours, theirs in OPEN_CLIP.items():
                named[f"{target}{theirs}.{kind}"] = state[f"{start}{ours}.{kind}"]
    return {f"conditioner.embedders.1.model.{name}": tensor for name, tensor in named.items()}


def controlnet(network: nn.Module) -> State:
    """A ControlNet as its authors lay it out: a UNet's first half, what the picture passes, and zero convolutions."""
    hints = len(network.controlnet_cond_embedding.blocks)
    ends = {
        "controlnet_cond_embedding.conv_in": "input_hint_block.0",
        "controlnet_cond_embedding.conv_out": f"input_hint_block.{2 * hints + 2}",
        "controlnet_mid_block": "middle_block_out.0",
    }
    named: State = {}
    for name, tensor in network.state_dict().items():
        key = replaced(name, ends)
        key = re.sub(
            r"^controlnet_cond_embedding\.blocks\.(\d+)", lambda m: f"input_hint_block.{2 * int(m[1]) + 2}", key
        )
        key = re.sub(r"^controlnet_down_blocks\.(\d+)", r"zero_convs.\1.0", key)
        is_own = key.startswith(("input_hint_block", "zero_convs", "middle_block_out"))
        named[f"control_model.{key if is_own else unet_name(key, network.config.layers_per_block, network)}"] = tensor
    return named
