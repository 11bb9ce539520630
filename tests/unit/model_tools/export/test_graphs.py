"""Exported graphs do what their torch modules do, at any batch and shape."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

import onnx  # noqa: E402
import onnx_ir as ir  # noqa: E402
from onnx_ir import tensor_adapters  # noqa: E402
from torch import nn  # noqa: E402

from model_tools.export import onnx_weights  # noqa: E402
from model_tools.export.graphs import (  # noqa: E402
    KLDecoder,
    KLEncoder,
    UNetContract,
    export_unet,
    export_vae_decoder,
    export_vae_encoder,
)
from model_tools.export.onnx_weights import fold_transposes, halve_weights, join_weights, save_graph  # noqa: E402
from model_tools.export.verify import (  # noqa: E402
    Check,
    check_graph,
    compare,
    halved,
    latent_cases,
    open_graph,
    run_graph,
    unet_cases,
)
from model_tools.goldens import tiny  # noqa: E402
from model_tools.training.starter.networks.controlled import build_adapters  # noqa: E402
from model_tools.training.starter.networks.denoiser import build_unet  # noqa: E402
from model_tools.training.starter.served import (  # noqa: E402
    ABSENT,
    ImageContract,
    SteeredContract,
    export_image_encoder,
    export_steered_unet,
    steered_cases,
)

pytestmark = [
    pytest.mark.tools,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]


def test_a_unet_of_halved_weights_agrees_with_torch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    unet = halved(tiny.unet().eval())
    path = tmp_path / "graph.onnx"
    export_unet(unet, path, text_length=9, text_width=tiny.HIDDEN, fp16_weights=True, multiple=2)
    check = check_graph(path, UNetContract(unet), unet_cases([(1, 16, 16), (3, 8, 20)], 9, tiny.HIDDEN))
    check.demand(1e-5)
    graph = onnx.load(path).graph
    assert [value.name for value in graph.input] == ["sample", "timestep", "encoder_hidden_states"]
    assert [value.name for value in graph.output] == ["out_sample"]
    assert sum(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in graph.initializer) > 20
    weights = {tensor.name for tensor in graph.initializer} | {node.output[0] for node in graph.node if is_cast(node)}
    assert sum(node.op_type == "MatMul" and node.input[1] in weights for node in graph.node) > 20


def is_cast(node: Any) -> bool:
    return bool(node.op_type == "Cast")


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
    vae = tiny.autoencoder().eval()
    export_vae_decoder(KLDecoder(vae), tmp_path / "decoder.onnx", fp16_weights=False)
    cases = latent_cases([(1, 16, 16), (2, 8, 32)])
    check_graph(tmp_path / "decoder.onnx", KLDecoder(vae), cases).demand(1e-4, rows=1e-6)
    export_vae_encoder(KLEncoder(vae), tmp_path / "encoder.onnx", fp16_weights=False)
    pictures = [{"image": torch.rand(2, 3, 64, 96)}, {"image": torch.rand(1, 3, 96, 32)}]
    check_graph(tmp_path / "encoder.onnx", KLEncoder(vae), pictures).demand(1e-4, rows=1e-6)


class Deciding(nn.Module):  # type: ignore[misc]  # torch has no types where mypy runs
    """Does what a recording cannot see: another thing for wide latents."""

    def forward(self, latents: Any) -> Any:
        return latents * (2.0 if latents.shape[3] > 30 else 1.0)


def test_a_decision_that_the_recording_missed_is_found(tmp_path: Path) -> None:
    export_vae_decoder(Deciding(), tmp_path / "graph.onnx", fp16_weights=False)
    check_graph(tmp_path / "graph.onnx", Deciding(), latent_cases([(1, 16, 16)])).demand()
    with pytest.raises(ValueError, match="differs from torch"):
        check_graph(tmp_path / "graph.onnx", Deciding(), latent_cases([(2, 16, 32)])).demand()


def made_model(nodes: list[Any], *initializers: Any, sizes: tuple[str, ...] = ("size",)) -> ir.Model:
    """A graph without inputs, of one output."""
    value = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, sizes)
    model = ir.from_proto(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], [value], [])))
    for name, tensor in initializers:
        made = ir.Value(name=name, shape=ir.Shape(tensor.shape), type=ir.TensorType(ir.DataType.FLOAT))
        made.const_value = tensor_adapters.TorchTensor(tensor, name)
        model.graph.register_initializer(made)
        for node in model.graph:
            for place, given in enumerate(node.inputs):
                if given is not None and given.name == name:
                    node.replace_input_with(place, made)
    return model


def test_halving_keeps_values_and_leaves_small_tensors(tmp_path: Path) -> None:
    large, small = torch.linspace(-1, 1, 2048), torch.ones(1)
    model = made_model([onnx.helper.make_node("Add", ["large", "small"], ["out"])], ("large", large), ("small", small))
    halve_weights(model)
    save_graph(model, tmp_path / "graph.onnx")
    saved = onnx.load(tmp_path / "graph.onnx")
    onnx.checker.check_model(saved)
    kinds = {tensor.name: tensor.data_type for tensor in saved.graph.initializer}
    assert kinds == {"large.fp16": onnx.TensorProto.FLOAT16, "small": onnx.TensorProto.FLOAT}
    assert [made.op_type for made in saved.graph.node] == ["Cast", "Add"]
    assert np.array_equal(run_graph(open_graph(tmp_path / "graph.onnx"), {}), large.half().float().numpy() + 1)


def test_transposed_weights_are_stored_so(tmp_path: Path) -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    nodes = [
        onnx.helper.make_node("Transpose", ["weight"], ["turned"], perm=[1, 0]),
        onnx.helper.make_node("MatMul", ["turned", "weight"], ["square"]),
        onnx.helper.make_node("MatMul", ["square", "turned"], ["out"]),
    ]
    model = made_model(nodes, ("weight", weight), sizes=("rows", "columns"))
    fold_transposes(model)
    save_graph(model, tmp_path / "graph.onnx", external=True)
    assert [node.op_type for node in onnx.load(tmp_path / "graph.onnx").graph.node] == ["MatMul", "MatMul"]
    expected = (weight.T @ weight @ weight.T).numpy()
    assert np.array_equal(run_graph(open_graph(tmp_path / "graph.onnx"), {}), expected)


def test_weights_next_to_a_graph_are_taken_into_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "graph.onnx"
    large = torch.linspace(-1, 1, 2048)
    save_graph(made_model([onnx.helper.make_node("Neg", ["large"], ["out"])], ("large", large)), path, external=True)
    assert path.stat().st_size < 1000
    assert join_weights(path)
    assert [file.name for file in tmp_path.iterdir()] == ["graph.onnx"]
    assert np.array_equal(run_graph(open_graph(path), {}), -large.numpy())
    assert join_weights(path)
    monkeypatch.setattr(onnx_weights, "SINGLE_FILE", 1000)
    save_graph(made_model([onnx.helper.make_node("Neg", ["large"], ["out"])], ("large", large)), path)
    assert not join_weights(path)


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (Check(0.1, 0.0), "differs from torch"),
        (Check(0.0, 0.1), "row differs"),
        (Check(float("nan"), 0.0), "not finite"),
        (Check(0.0, float("inf")), "not finite"),
    ],
)
def test_a_graph_that_differs_is_refused(check: Check, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check.demand(0.01)


def test_rows_may_have_a_bound_of_their_own() -> None:
    Check(0.1, 1e-6).demand(0.2, rows=1e-5)
    with pytest.raises(ValueError, match="row differs"):
        Check(0.1, 1e-4).demand(0.2, rows=1e-5)


def test_all_outputs_are_compared() -> None:
    case = {"given": torch.ones(2, 3)}
    right = [np.ones((2, 1), np.float32), np.zeros((2, 1), np.float32)]

    def run(given: dict[str, Any]) -> list[Any]:
        return [np.ones((len(given["given"]), 1), np.float32), np.full((len(given["given"]), 1), wrong, np.float32)]

    wrong = 0.0
    assert compare(run, [case], [right]) == Check(0.0, 0.0)
    wrong = 0.25
    assert compare(run, [case], [right]) == Check(0.25, 0.0)
    wrong = float("inf")
    assert np.isnan(compare(run, [case], [right]).against_torch)


def test_a_row_that_depends_on_its_batch_is_found() -> None:
    def run(given: dict[str, Any]) -> list[Any]:
        return [np.full((len(given["given"]), 1), float(len(given["given"])), np.float32)]

    check = compare(run, [{"given": torch.ones(2, 3)}], [[np.full((2, 1), 2.0, np.float32)]])
    assert check == Check(0.0, 0.5)
