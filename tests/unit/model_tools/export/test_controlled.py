"""The fused UNet against diffusers' own ControlNet and IP-Adapter, in torch."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")  # lives in .tools
diffusers = pytest.importorskip("diffusers")

from model_tools.export.controlled import ControlledUnet, steered  # noqa: E402  # needs torch
from model_tools.goldens.tiny import HIDDEN  # noqa: E402
from model_tools.goldens.tiny_adapters import controlnet, ip_adapter  # noqa: E402

pytestmark = pytest.mark.tools

TOKENS, LENGTH = 4, 7


def sd15_shaped() -> Any:
    """The blocks of Stable Diffusion 1.5's UNet, narrow."""
    return diffusers.UNet2DConditionModel(
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        block_out_channels=(8, 16, 16, 16),
        layers_per_block=2,
        cross_attention_dim=HIDDEN,
        attention_head_dim=8,
        norm_num_groups=8,
    ).eval()


@pytest.fixture(scope="module")
def networks() -> tuple[Any, Any, Any]:
    """A plain UNet, the same with IP-Adapter layers, and a ControlNet."""
    torch.manual_seed(0)
    plain, prompted = sd15_shaped(), sd15_shaped()
    prompted.load_state_dict(plain.state_dict())
    prompted._load_ip_adapter_weights(ip_adapter(plain))
    return plain, prompted, controlnet(plain).eval()


def given(count: int = 2) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    return {
        "sample": torch.randn(count, 4, 8, 16, generator=generator),
        "timestep": torch.linspace(900, 20, count)[:, None],
        "encoder_hidden_states": torch.randn(count, LENGTH, HIDDEN, generator=generator),
        "control_image": torch.rand(count, 3, 64, 128, generator=generator),
        "control_scale": torch.zeros(count, 1),
        "image_embeds": torch.randn(count, TOKENS, HIDDEN, generator=generator),
        "image_scale": torch.zeros(count, 1),
    }


def reference(networks: tuple[Any, Any, Any], inputs: dict[str, Any], control_scale: float, image_scale: float) -> Any:
    """Diffusers, its scales numbers for all rows; the tokens bypass the projection, as they do in ours."""
    _, prompted, control = networks
    time, hidden = inputs["timestep"].squeeze(1), inputs["encoder_hidden_states"]
    for processor in prompted.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [image_scale]
    down, middle = control(
        inputs["sample"],
        time,
        hidden,
        controlnet_cond=inputs["control_image"],
        conditioning_scale=control_scale,
        return_dict=False,
    )
    projection = prompted.encoder_hid_proj
    prompted.encoder_hid_proj = torch.nn.Identity()
    try:
        return prompted(
            inputs["sample"],
            time,
            hidden,
            down_block_additional_residuals=tuple(down),
            mid_block_additional_residual=middle,
            added_cond_kwargs={"image_embeds": [inputs["image_embeds"]]},
            return_dict=False,
        )[0]
    finally:
        prompted.encoder_hid_proj = projection


@pytest.mark.parametrize(("control_scale", "image_scale"), [(0.7, 0.0), (0.0, 0.6), (1.0, 1.0)])
def test_rows_of_one_scale_equal_diffusers(
    networks: tuple[Any, Any, Any], control_scale: float, image_scale: float
) -> None:
    inputs = given()
    fused = ControlledUnet(networks[1], networks[2]).eval()
    scales = {"control_scale": torch.full((2, 1), control_scale), "image_scale": torch.full((2, 1), image_scale)}
    with torch.no_grad():
        output = fused(**{**inputs, **scales})
        expected = reference(networks, inputs, control_scale, image_scale)
    assert (output - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_scales_of_zero_are_the_plain_unet(networks: tuple[Any, Any, Any]) -> None:
    inputs = given()
    with torch.no_grad():
        output = ControlledUnet(networks[1], networks[2]).eval()(**inputs)
        plain = networks[0](inputs["sample"], inputs["timestep"].squeeze(1), inputs["encoder_hidden_states"])[0]
    assert (output - plain).abs().max() <= 1e-6 * plain.abs().max()


def test_each_row_has_its_own_scales(networks: tuple[Any, Any, Any]) -> None:
    fused, inputs = ControlledUnet(networks[1], networks[2]).eval(), given(3)
    scales = torch.tensor([[0.0], [0.5], [1.0]])
    with torch.no_grad():
        together = fused(**{**inputs, "control_scale": scales, "image_scale": scales.flip(0)})
        for row in range(3):
            alone = {name: tensor[row : row + 1] for name, tensor in inputs.items()}
            alone |= {"control_scale": scales[row : row + 1], "image_scale": scales.flip(0)[row : row + 1]}
            assert torch.allclose(fused(**alone), together[row : row + 1], atol=1e-5)


def test_the_given_unet_stays_as_it_was(networks: tuple[Any, Any, Any]) -> None:
    before = {name: type(processor) for name, processor in networks[1].attn_processors.items()}
    ControlledUnet(networks[1], networks[2])
    assert {name: type(processor) for name, processor in networks[1].attn_processors.items()} == before
    assert networks[1].encoder_hid_proj is not None


def test_two_image_prompts_are_refused() -> None:
    processor = diffusers.models.attention_processor.IPAdapterAttnProcessor2_0(8, 8, num_tokens=(4, 4))
    with pytest.raises(ValueError, match="2 IP-Adapters"):
        steered(processor)
