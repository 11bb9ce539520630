"""Exported graphs do what their torch modules do, at any batch and shape."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

import onnx  # noqa: E402

from model_tools.export import UNetContract, export_unet, export_vae_decoder, export_vae_encoder  # noqa: E402
from model_tools.onnx_weights import halve_weights  # noqa: E402
from model_tools.starter.autoencoder import Decoder, Encoder  # noqa: E402
from model_tools.starter.controlled import build_adapters  # noqa: E402
from model_tools.starter.denoiser import build_unet  # noqa: E402
from model_tools.starter.served import (  # noqa: E402
    ABSENT,
    ImageContract,
    SteeredContract,
    export_image_encoder,
    export_steered_unet,
    steered_cases,
)
from model_tools.verify import Check, check_graph, halved, latent_cases, open_graph, run_graph, unet_cases  # noqa: E402

pytestmark = [
    pytest.mark.tools,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]


def test_a_unet_of_halved_weights_agrees_with_torch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    unet = halved(build_unet(block_out_channels=(16, 32, 32), attention_head_dim=16, norm_num_groups=8))
    path = tmp_path / "graph.onnx"
    export_unet(unet, path, text_length=48, text_width=384, fp16_weights=True, multiple=4)
    check = check_graph(path, UNetContract(unet), unet_cases([(1, 16, 16), (3, 8, 20)], 48, 384))
    check.demand(1e-3)  # the graph's table of the prior's weights is halved, which torch's is not
    graph = onnx.load(path).graph
    assert [value.name for value in graph.input] == ["sample", "timestep", "encoder_hidden_states"]
    assert [value.name for value in graph.output] == ["out_sample"]
    assert path.stat().st_size < 3 * sum(parameter.numel() for parameter in unet.parameters())


@pytest.mark.timeout(900)  # tracing a UNet takes minutes where the cores are busy
def test_a_steered_unet_and_an_image_encoder_agree_with_torch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = build_unet(block_out_channels=(16, 32, 32), attention_head_dim=16, norm_num_groups=8)
    torch.nn.init.normal_(base.unet.conv_out.weight, std=0.1)  # zero in a new one
    model, images = (halved(module).eval() for module in build_adapters(base))
    with torch.no_grad():
        for part in model.adapters().values():
            for weights in part.parameters():
                weights.add_(0.02 * torch.randn(weights.shape)).copy_(weights.half().float())
    path = tmp_path / "graph.onnx"
    export_steered_unet(model, path, multiple=4)
    cases = steered_cases([(2, 8, 12), (1, 16, 8)])
    check_graph(path, SteeredContract(model), cases).demand(1e-3)
    assert [value.name for value in onnx.load(path).graph.input] == list(cases[0])
    compiled, none = open_graph(path), torch.zeros(2, 1)
    unasked = cases[0] | {"control_scale": none, "image_scale": none}
    blank = {name: torch.zeros_like(cases[0][name]) for name in ABSENT}
    assert np.array_equal(run_graph(compiled, unasked), run_graph(compiled, cases[0] | blank))
    assert not np.array_equal(run_graph(compiled, unasked), run_graph(compiled, cases[0]))
    export_image_encoder(images, tmp_path / "images.onnx")
    pictures = {"image": torch.rand(3, 3, 128, 128) * 2 - 1}
    check_graph(tmp_path / "images.onnx", ImageContract(images), [pictures]).demand()
    assert not open_graph(tmp_path / "images.onnx")(pictures["image"].numpy())["negative_image_embeds"].any()


def test_the_decoder_and_the_encoder_agree_with_torch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    decoder, encoder = Decoder(width=40), Encoder(width=32).eval()
    export_vae_decoder(decoder, tmp_path / "decoder.onnx", fp16_weights=False)
    check_graph(tmp_path / "decoder.onnx", decoder, latent_cases([(1, 16, 16), (2, 8, 32)])).demand(1e-4)
    export_vae_encoder(encoder, tmp_path / "encoder.onnx", fp16_weights=False)
    check_graph(tmp_path / "encoder.onnx", encoder, [{"image": torch.rand(2, 3, 64, 96)}]).demand(1e-4)


def test_halving_keeps_values_and_leaves_small_tensors() -> None:
    large = onnx.numpy_helper.from_array(np.linspace(-1, 1, 2048, dtype=np.float32), "large")
    small = onnx.numpy_helper.from_array(np.ones(4, np.float32), "small")
    value = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, [2048])
    node = onnx.helper.make_node("Identity", ["large"], ["out"])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [value], [large, small]))
    halve_weights(model)
    onnx.checker.check_model(model)
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert kinds == {"large.fp16": onnx.TensorProto.FLOAT16, "small": onnx.TensorProto.FLOAT}
    assert [made.op_type for made in model.graph.node] == ["Cast", "Identity"]


@pytest.mark.parametrize("check", [Check(0.1, 0.0), Check(0.0, 0.1), Check(float("nan"), 0.0)])
def test_a_graph_that_differs_is_refused(check: Check) -> None:
    with pytest.raises(ValueError, match="differs"):
        check.demand(0.01)
