"""Training states out of graphs: the same answers, and a first step of training that does not tear them down."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

from model_tools.training.recover import recover, recover_norm, unfold_norms  # noqa: E402
from model_tools.training.starter.networks.image_prompt import ImageEncoder  # noqa: E402 -- only with torch
from model_tools.training.starter.served import export_image_encoder  # noqa: E402

pytestmark = pytest.mark.tools


@pytest.fixture(autouse=True)
def one_thread(two_threads: None) -> None:
    """These networks are small: a second thread only waits."""


def trained() -> ImageEncoder:
    """An image encoder whose norms have statistics and weights of their own."""
    torch.manual_seed(4)
    encoder: ImageEncoder = ImageEncoder().eval().requires_grad_(False)
    for part in encoder.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            for values, low in ((part.weight, 0.5), (part.bias, -0.5), (part.running_mean, -0.5)):
                torch.nn.init.uniform_(values, low, low + 1)
            torch.nn.init.uniform_(part.running_var, 0.5, 2)
    return encoder


def answers(encoder: ImageEncoder, pictures: Any) -> Any:
    with torch.inference_mode():
        return encoder(pictures)


def test_a_recovered_network_answers_as_its_graph_does(tmp_path: Path) -> None:
    encoder, pictures = trained(), torch.rand(4, 3, 128, 128) * 2 - 1
    path = tmp_path / "graph.onnx"
    export_image_encoder(encoder, path)
    found = ImageEncoder().eval()
    recover(found, path, lambda target: export_image_encoder(found, target))
    # Weights are stored as float16.
    assert torch.allclose(answers(found, pictures), answers(encoder, pictures), atol=0.02)


def test_a_weight_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    export_image_encoder(trained(), path)
    found = torch.nn.ModuleDict({"encoder": ImageEncoder(), "more": torch.nn.BatchNorm2d(7)}).eval()
    with pytest.raises(ValueError, match=r"graph.onnx: weights not found: more$"):
        recover(found, path, lambda target: export_image_encoder(found["encoder"], target))


def test_a_norm_inside_its_convolution_adds_what_that_one_got() -> None:
    norm = torch.nn.BatchNorm2d(2).eval()
    norm.running_var.fill_(1 - norm.eps)
    assert recover_norm(norm, "body.1", {"net.body.0.weight_bias": torch.tensor([2.0, -1.0]).numpy()})
    with torch.no_grad():
        assert torch.allclose(norm(torch.zeros(1, 2, 1, 1)).flatten(), torch.tensor([2.0, -1.0]))
    assert not recover_norm(norm, "body.3", {"net.body.0.weight_bias": torch.zeros(2).numpy()})


def test_unfolded_norms_keep_the_answers_in_training_too() -> None:
    encoder, pictures = trained(), torch.rand(16, 3, 128, 128) * 2 - 1
    before = answers(encoder, pictures)
    unfold_norms(encoder, pictures)
    assert torch.allclose(answers(encoder, pictures), before, atol=1e-4)
    assert torch.allclose(answers(encoder.train(), pictures), before, atol=0.05)
