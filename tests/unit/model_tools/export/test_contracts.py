"""The guidance scale as latent consistency models take it, against diffusers."""

import pytest

torch = pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

from diffusers import LatentConsistencyModelPipeline  # noqa: E402  # needs torch

from model_tools.export.contracts import GuidanceEmbedding  # noqa: E402

pytestmark = pytest.mark.tools


@pytest.mark.parametrize("width", [4, 17, 256])
def test_guidance_is_embedded_as_diffusers_does_it(width: int) -> None:
    scales = torch.tensor([[1.0], [2.5], [8.0], [14.0]])
    expected = LatentConsistencyModelPipeline.get_guidance_scale_embedding(None, scales[:, 0] - 1, width)
    found = GuidanceEmbedding(width)(scales)
    assert found.shape == (4, width)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)  # sines of thousands of radians in float32
