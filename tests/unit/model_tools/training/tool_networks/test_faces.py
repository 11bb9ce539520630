"""The face networks: graphs of one picture take any number, and answer as their files do."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

import openvino as ov  # noqa: E402
from openvino import opset13 as ops  # noqa: E402

from model_tools.training.tool_networks.faces import Source, compare, free_batch  # noqa: E402

pytestmark = [
    pytest.mark.tools,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]


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
