"""Trainings against the clock: what they draw, that they learn, and that a resumed run is the run it was."""

import pytest

torch = pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

from model_tools.starter.canvas import BUCKETS  # noqa: E402 -- only with torch
from model_tools.starter.clock import Budget, learning_rate  # noqa: E402
from model_tools.starter.denoiser import build_unet  # noqa: E402
from model_tools.starter.latents import LatentData, load_autoencoder, prepare_latents  # noqa: E402
from model_tools.starter.paths import Workspace  # noqa: E402
from model_tools.starter.runlog import load_state, save_state  # noqa: E402
from model_tools.starter.train_unet import UNetTrainer, stratified_steps, train_unet  # noqa: E402
from model_tools.starter.train_vae import draw_batch, loss_terms, train_vae  # noqa: E402

pytestmark = pytest.mark.tools
SMALL = {"block_out_channels": (16, 32, 32), "attention_head_dim": 16, "norm_num_groups": 8}


def small_trainer() -> UNetTrainer:
    torch.manual_seed(3)
    return UNetTrainer(build_unet(**SMALL), seed=5, compiled=False)


def test_batches_hold_both_styles_and_sometimes_other_canvases(with_latents: Workspace) -> None:
    data = LatentData(with_latents)
    generator = torch.Generator().manual_seed(0)
    batches = [data.draw(8, generator) for _ in range(40)]
    shapes = {tuple(batch.latents.shape) for batch in batches}
    assert (8, 4, 16, 16) in shapes
    assert len(shapes) > 1
    assert shapes <= {(8, 4, height // 8, width // 8) for width, height in BUCKETS}
    assert all(batch.native == (batch.latents.shape[2:] == (16, 16)) for batch in batches)
    assert all(batch.text.shape == (8, 48, 384) for batch in batches)


def test_concepts_with_a_side_are_not_mirrored(with_latents: Workspace) -> None:
    table = LatentData(with_latents).tables["3d"]
    rows, mirrored, _ = table.draw(200, torch.Generator().manual_seed(0))
    assert not mirrored[rows == 1].any()
    assert mirrored[rows == 0].any()


def test_every_part_of_the_schedule_gets_one_sample() -> None:
    steps = stratified_steps(10, torch.Generator().manual_seed(0))
    assert sorted((steps // 100).tolist()) == list(range(10))


def test_training_lowers_the_loss(with_latents: Workspace) -> None:
    data, trainer = LatentData(with_latents), small_trainer()
    batch = data.draw(16, trainer.generator)
    losses = [trainer.train_step(batch, 3e-3) for _ in range(25)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_a_resumed_denoiser_goes_on_as_if_never_stopped(with_latents: Workspace) -> None:
    data = LatentData(with_latents)
    straight = small_trainer()
    for _ in range(2):
        straight.train_step(data.draw(4, straight.generator), 1e-3)
    save_state(with_latents.unet, straight.state(12.0))
    straight.train_step(data.draw(4, straight.generator), 1e-3)
    resumed = small_trainer()
    state = load_state(with_latents.unet)
    assert state is not None
    assert resumed.restore(state) == 12.0
    resumed.train_step(data.draw(4, resumed.generator), 1e-3)
    assert resumed.step == straight.step == 3
    for one, two in zip(straight.average.parameters(), resumed.average.parameters(), strict=True):
        assert torch.equal(one, two)


def test_stages_follow_each_other(workspace: Workspace) -> None:
    train_vae(workspace, 0.01, compiled=False)
    assert workspace.log("vae").exists()
    prepare_latents(workspace)
    assert load_autoencoder(workspace).encoder.norm.running_var.min() > 0
    train_unet(workspace, 0.01, compiled=False)
    state = load_state(workspace.unet)
    assert state is not None
    assert state["step"] >= 1


def test_vae_batches_are_pictures_in_range() -> None:
    pictures = torch.randint(0, 256, (5, 128, 128, 3), dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    for _ in range(8):
        batch = draw_batch(pictures, generator, size=2)
        assert batch.shape == (2, 3, 128, 128)
        assert batch.min() >= -1
        assert batch.max() <= 1


def test_a_perfect_picture_has_no_loss() -> None:
    picture = torch.rand(1, 3, 16, 16)
    assert all(term.item() == 0 for term in loss_terms(picture, picture).values())


def test_the_rate_follows_the_clock() -> None:
    time = [0.0]
    budget = Budget(100.0, spent=50.0, now=lambda: time[0])
    assert budget.share() == pytest.approx(50 / 150)
    time[0] = 100.0
    assert budget.over()
    assert budget.share() == 1.0
    assert learning_rate(1.0, 0, 0.0, warmup=10) == pytest.approx(0.1)
    assert learning_rate(1.0, 99, 0.0, warmup=10) == pytest.approx(1.0)
    assert learning_rate(1.0, 99, 1.0, warmup=10, floor=0.03) == pytest.approx(0.03)
