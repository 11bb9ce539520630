"""The tools' networks: what they compute, how they train, and the graphs made of them."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

import openvino as ov  # noqa: E402
from openvino import opset13 as ops  # noqa: E402

from model_tools.training.paths import Workspace  # noqa: E402
from model_tools.training.tool_networks.faces import Source, free_batch  # noqa: E402
from model_tools.training.tool_networks.matting import load_matting, losses, predict, train_matting  # noqa: E402
from model_tools.training.tool_networks.matting_net import SIDE, MattingNet  # noqa: E402
from model_tools.training.tool_networks.publish import compare, publish_matting  # noqa: E402

pytestmark = [
    pytest.mark.tools,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]


def test_the_matting_network_is_small_and_rows_are_apart() -> None:
    torch.manual_seed(0)
    model = MattingNet().eval()
    assert sum(parameter.numel() for parameter in model.parameters()) < 2e6
    image = torch.rand(3, 3, SIDE, SIDE) * 2 - 1
    with torch.inference_mode():
        together, alone = model(image), model(image[1:2])
    assert together.shape == (3, 1, SIDE, SIDE)
    assert torch.allclose(together[1:2], alone, atol=1e-4)


def test_the_loss_is_least_at_the_truth() -> None:
    alpha = torch.zeros(1, 1, 32, 32)
    alpha[..., 8:24, 8:24] = 1
    right, shifted = 20 * (2 * alpha - 1), 20 * (2 * alpha.roll(2, 3) - 1)
    good, bad = losses(right, alpha), losses(shifted, alpha)
    assert all(good[name] < 1e-6 < bad[name] for name in good)


def test_matting_trains_goes_on_and_becomes_a_folder(workspace: Workspace, tmp_path: Path) -> None:
    train_matting(workspace, 0.02)
    first = torch.load(workspace.root / "matting.pt", weights_only=True)
    train_matting(workspace, 0.02)
    second = torch.load(workspace.root / "matting.pt", weights_only=True)
    assert 0 < first["step"] < second["step"]
    assert first["images"] < second["images"]
    alpha = predict(load_matting(workspace), np.zeros((40, 60, 3), np.uint8))
    assert alpha.shape == (40, 60)
    publish_matting(workspace, tmp_path / "models")  # holds the graph to torch itself
    config = (tmp_path / "models/matting/config.pbtxt").read_text()
    assert 'name: "image" data_type: TYPE_FP32 dims: [ 3, 256, 256 ]' in config
    assert 'name: "alpha" data_type: TYPE_FP32 dims: [ 1, 256, 256 ]' in config


def one_row(scale: float, *, free: bool) -> ov.Model:
    """A graph as MediaPipe's are: NHWC, and reshapes that say that there is one picture."""
    image = ops.parameter([1, 4, 4, 3], np.float32, name="image")
    weights = ops.reshape(ops.constant(np.full((1, 3), scale, np.float32)), np.array([1, 1, 1, 3]), special_zero=False)
    flat = ops.reshape(ops.multiply(image, weights), np.array([1, -1, 6]), special_zero=False)
    model = ov.Model([flat], [image])
    if free:
        free_batch(model)
        model.reshape([-1, 4, 4, 3])
    return model


def test_reshapes_of_one_picture_take_any_number() -> None:
    pictures = np.random.default_rng(0).random((3, 4, 4, 3), np.float32)
    core = ov.Core()
    free, fixed = (core.compile_model(one_row(2, free=flag), "CPU") for flag in (True, False))
    together = free([pictures])[0]
    assert together.shape == (3, 8, 6)
    for row, picture in zip(together, pictures, strict=True):
        assert np.array_equal(row, fixed([picture[None]])[0][0])


def test_a_converted_model_with_other_answers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "original.xml"
    ov.save_model(one_row(2, free=False), str(path), compress_to_fp16=False)
    source = Source("", 4, unit_range=False, outputs={"boxes": (8, 6)})

    def converted(scale: float) -> ov.Model:
        model, image = one_row(scale, free=True), ops.parameter([-1, 3, 4, 4], np.float32)
        rows = ops.transpose(image, np.array([0, 2, 3, 1]))
        model.input(0).get_node().output(0).replace(rows.output(0))
        return ov.Model([port.get_node() for port in model.outputs], [image])

    compare("faces", converted(2), path, source)
    with pytest.raises(ValueError, match="faces: a row is not what the original answers"):
        compare("faces", converted(2.5), path, source)
