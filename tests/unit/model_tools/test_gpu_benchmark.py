"""benchmarks/gpu.py, of a small network on this CPU: the script itself, which no GPU is needed for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

from benchmarks import gpu  # noqa: E402 -- only with torch

SDXL_UNET = 2_567_463_684
"""Parameters of Stable Diffusion XL's UNet, as published."""


def test_the_network_has_sdxls_shapes() -> None:
    size = gpu.Size()
    with torch.device("meta"):  # shapes alone
        unet, decoder = gpu.Unet(size), gpu.Decoder(size)
        latents = torch.randn(2, 4, 128, 128)
        context, added = torch.randn(2, 77, size.context), torch.randn(2, size.added)
        assert unet(latents, torch.full((2,), 500.0), context, added).shape == latents.shape
        assert decoder(latents).shape == (2, 3, 1024, 1024)
    assert sum(each.numel() for each in unet.parameters()) == SDXL_UNET


def test_rows_do_not_depend_on_their_company() -> None:
    bench = gpu.Bench(gpu.SMALL, torch.device("cpu"))
    inputs = bench.inputs(2, 64)
    with torch.inference_mode():
        together, alone = bench.unet(*inputs), bench.unet(*(each[:1] for each in inputs))
    assert torch.allclose(together[:1], alone, atol=1e-4)
    assert together.std() > 0


def test_the_script_prints_all_figures() -> None:
    script = Path(gpu.__file__)
    found = subprocess.run(  # noqa: S603  # this script
        [sys.executable, str(script), "--small", "--no-compile"], capture_output=True, text=True, check=True
    )
    printed = json.loads(found.stdout.splitlines()[-1])
    assert [(row["rows"], row["side"]) for row in printed["ms"]] == [(1, 64), (2, 64)]
    assert all(row["eager"] > 0 for row in printed["ms"])
    assert printed["pictures_s"][0]["pictures_s"] > 0
    assert printed["left_out"] == []
    assert printed["steps"] == gpu.SMALL.steps


def test_without_a_gpu_it_says_so() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    command = [sys.executable, gpu.__file__]
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # this script
    assert found.returncode == 2
    assert "there is no GPU here" in found.stderr
