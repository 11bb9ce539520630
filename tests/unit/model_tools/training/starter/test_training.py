"""Trainings against the clock: what they draw, that they learn, and that a resumed run is the run it was."""

import pytest

torch = pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

from model_tools.training.clock import Budget, learning_rate  # noqa: E402
from model_tools.training.paths import Workspace  # noqa: E402
from model_tools.training.pictures import Concept  # noqa: E402
from model_tools.training.runlog import load_state, save_state  # noqa: E402
from model_tools.training.starter.data.canvas import ASPECT_SIZES  # noqa: E402
from model_tools.training.starter.data.compose import ALONE, COLOURS, LAYOUTS  # noqa: E402
from model_tools.training.starter.data.scenes import SCENES  # noqa: E402
from model_tools.training.starter.networks.denoiser import (  # noqa: E402
    build_schedule,
    build_unet,
    coordinates,
    place_map,
    ready_to_draw,
    spread,
)
from model_tools.training.starter.networks.draft import Draft, Reading, places_of, pool  # noqa: E402
from model_tools.training.starter.trainers import latents  # noqa: E402 -- only with torch
from model_tools.training.starter.trainers.latents import LatentData, load_autoencoder, prepare_latents  # noqa: E402
from model_tools.training.starter.trainers.train_decoder import train_decoder  # noqa: E402
from model_tools.training.starter.trainers.train_draft import described_rightly, train_draft, train_reader_again  # noqa: E402
from model_tools.training.starter.trainers.train_unet import UNetTrainer, fade, load_unet, stratified_steps, train_unet  # noqa: E402
from model_tools.training.starter.trainers.train_vae import draw_batch, loss_terms, train_vae  # noqa: E402

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
    assert (8, 8, 16, 16) in shapes
    assert len(shapes) > 1
    assert shapes <= {(8, 8, height // 8, width // 8) for width, height in ASPECT_SIZES}
    assert all(batch.native == (batch.latents.shape[2:] == (16, 16)) for batch in batches)
    assert all(batch.text.shape == (8, 48, 384) for batch in batches)


def test_captions_are_those_of_the_pictures_drawn(with_latents: Workspace) -> None:
    data = LatentData(with_latents)
    latents, captions = data.draw_alone(50, torch.Generator().manual_seed(0))
    for picture, caption in zip(latents, captions, strict=True):
        entry = data.entries[caption]
        assert torch.equal(picture, data.alone[entry.style][data.concepts[entry.concept].rows[entry.style]])


def test_every_part_of_the_schedule_gets_one_sample() -> None:
    steps = stratified_steps(10, torch.Generator().manual_seed(0))
    assert sorted((steps // 100).tolist()) == list(range(10))


def test_training_lowers_the_loss(with_latents: Workspace) -> None:
    data, trainer = LatentData(with_latents), small_trainer()
    batch = data.draw(16, trainer.generator)
    losses = [trainer.train_step(batch, 3e-3) for _ in range(40)]
    assert sum(losses[-8:]) < 0.95 * sum(losses[:8])


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


def test_stages_follow_each_other(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latents, "COMPOSED_ELSEWHERE", 3)
    for batch in ("train_unet.BATCH", "train_decoder.BATCH", "train_draft.RENDER_BATCH"):
        monkeypatch.setattr(f"model_tools.training.starter.trainers.{batch}", 4)
    train_vae(workspace, 0.01, compiled=False)
    assert workspace.log("vae").exists()
    train_decoder(workspace, 0.01, composed=2, compiled=False)
    prepare_latents(workspace)
    assert load_autoencoder(workspace).encoder.norm.running_var.min() > 0
    train_draft(workspace, 0.01)
    train_reader_again(workspace, 0.01)
    train_unet(workspace, 0.01, compiled=False)
    state = load_state(workspace.unet)
    assert state is not None
    assert state["step"] >= 1
    draft = load_state(workspace.draft)
    assert draft is not None
    draft["white"] += 1  # it has learnt something since
    save_state(workspace.draft, draft)
    train_unet(workspace, 0.001, compiled=False)
    renewed = load_state(workspace.unet)
    assert renewed is not None
    for net in ("model", "average"):
        assert torch.equal(renewed[net]["draft.white"], draft["white"])
    assert torch.equal(load_unet(workspace).draft.white, draft["white"])


def test_a_description_is_read_rightly_if_its_thing_comes_alone_on_white() -> None:
    draft = Draft(concepts=2, rows=2)
    draft.row_concepts.copy_(torch.tensor([0, 1, 2, 3]))
    draft.row_styles.fill_(1)
    zebra, other = (Concept(label, label, (), 1.0, {"3d": 0, "flat": 0}) for label in ("zebra", "nothing described"))
    assert described_rightly(draft, [other, other]) == 0
    with torch.no_grad():
        draft.reader.heads.weight.zero_()
        draft.reader.heads.bias.zero_()
        draft.reader.heads.bias[0] = 9  # the first concept, whatever is asked for; of equal colours the first
    assert described_rightly(draft, [zebra, other]) == 0
    with torch.no_grad():
        draft.reader.heads.bias[sum(draft.reader.sizes[:2]) + len(COLOURS)] = 9  # its own colour
    assert described_rightly(draft, [zebra, other]) == 1
    assert described_rightly(draft, [other, zebra]) == 0


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


def test_a_new_denoiser_gives_the_draft_at_the_start_and_the_latents_at_the_end() -> None:
    torch.manual_seed(0)
    unet = build_unet(**SMALL).eval()
    text, picture, noise = torch.randn(2, 48, 384), torch.randn(2, 8, 16, 16), torch.randn(2, 8, 16, 16)
    schedule = build_schedule()
    last, first = torch.full((2,), 999), torch.full((2,), 0)
    with torch.inference_mode():
        draft = unet.draft(text, *coordinates(picture))
        for steps, expected, bound in ((last, draft, 0.2), (first, picture, 0.15)):
            noisy = schedule.add_noise(picture, noise, steps)
            a = schedule.alphas_cumprod[steps].view(-1, 1, 1, 1)
            estimate = a.sqrt() * noisy - (1 - a).sqrt() * unet(noisy, steps, text)[0]
            assert (estimate - expected).abs().max() < bound


def test_places_are_measured_from_the_middle_in_halves_of_the_shorter_side() -> None:
    places = place_map(torch.zeros(1, 4, 8, 16))[0]
    assert places[0, :, 0].tolist() == pytest.approx([-0.875, -0.625, -0.375, -0.125, 0.125, 0.375, 0.625, 0.875])
    assert places[1, 0, 7].item() == pytest.approx(-0.125)
    assert places[1].abs().max().item() == pytest.approx(1.25)


def test_a_draft_fills_the_square_of_a_wide_canvas() -> None:
    draft = torch.arange(16.0).expand(1, 4, 16, 16)
    wide = spread(draft, place_map(torch.zeros(1, 4, 16, 32)))
    assert torch.allclose(wide[..., 8:24], draft, atol=1e-4)
    assert torch.allclose(wide[..., :6], torch.zeros(()), atol=1e-4)
    assert torch.allclose(wide[..., 26:], torch.full((), 15.0), atol=1e-4)


def asked(row: int, layout: int = ALONE, scene: int = 2 * len(SCENES)) -> Reading:
    """One row of the table, no colour."""
    hot = torch.nn.functional.one_hot
    parts = ((row, 5), (len(COLOURS), len(COLOURS) + 1), (layout, len(LAYOUTS)), (scene, 2 * len(SCENES) + 1))
    return Reading(*(hot(torch.tensor([place]), size).float() for place, size in parts))


def filled_draft() -> Draft:
    """Three pictures of random latents, their covers 1, and random scenes."""
    torch.manual_seed(0)
    draft = Draft(concepts=2, rows=3)
    with torch.no_grad():
        for table in (draft.objects, draft.scenes, draft.white):
            table.normal_()
        draft.objects.view(5, 9, 256)[:, 8] = 1
    draft.requires_grad_(requires_grad=False)
    return draft


def test_one_thing_on_white_is_recalled_as_it_is() -> None:
    draft = filled_draft()
    drawn = draft.render(asked(1), *coordinates(torch.zeros(1, 8, 16, 16)))
    assert torch.allclose(drawn[0], draft.objects[1].view(9, 16, 16)[:8], atol=1e-5)


def test_the_end_of_a_picture_is_not_shown_in_the_middle_of_a_wider_canvas() -> None:
    draft = filled_draft()
    with torch.no_grad():
        draft.objects.view(5, 9, 16, 16)[:, 8] = 0
        draft.objects.view(5, 9, 16, 16)[:, 8, 4:12, 4:12] = 1  # covers the middle; the table has something everywhere
    square = draft.render(asked(1), *coordinates(torch.zeros(1, 8, 16, 16)))[0]
    wide = draft.render(asked(1), *coordinates(torch.zeros(1, 8, 16, 32)))[0]
    assert torch.allclose(square, draft.objects[1].view(9, 16, 16)[:8], atol=1e-5)
    assert torch.allclose(wide[:, 3:13, 11:21], square[:, 3:13, 3:13], atol=1e-4)
    assert torch.allclose(wide[:, :, :11], draft.white.expand(-1, 16, 11), atol=1e-4)
    assert torch.allclose(wide[:, :3], draft.white.expand(-1, 3, 32), atol=1e-4)


def test_pictures_are_drawn_with_a_narrower_prior_than_the_network_is_taught() -> None:
    unet = build_unet(**SMALL).eval()
    taught = unet.weights.clone()
    assert ready_to_draw(unet) is unet
    # Less of the latents, more of the draft, but for the last steps, where next to nothing is left to decide.
    assert (unet.weights[100:, 1] > taught[100:, 1]).all()
    text, sample, steps = torch.randn(1, 48, 384), torch.randn(1, 8, 16, 16), torch.tensor([500])
    a = build_schedule().alphas_cumprod[500]
    with torch.inference_mode():
        draft = unet.draft(text, *coordinates(sample))
        drawn = a.sqrt() * sample - (1 - a).sqrt() * unet.estimate(sample, draft, steps)
    share = a * 0.0375 / (a * 0.0375 + 1 - a)  # of the latents, in the four channels that are not detail
    assert torch.allclose(drawn[:, :4], (share * sample / a.sqrt() + (1 - share) * draft)[:, :4], atol=1e-4)


def test_a_scene_goes_on_mirrored_on_a_wide_canvas() -> None:
    draft = filled_draft()
    with torch.no_grad():
        draft.objects.view(5, 9, 256)[:, 8] = 0
        draft.objects.view(5, 9, 256)[:, :8] = draft.white.view(1, 8, 1)
    drawn = draft.render(asked(0, scene=3), *coordinates(torch.zeros(1, 8, 16, 32)))[0]
    scene = draft.scenes[3].view(8, 16, 16)
    assert torch.allclose(drawn[..., 8:24], scene, atol=1e-4)
    assert torch.allclose(drawn[..., :8], scene[..., :8].flip(2), atol=1e-4)


def test_two_things_are_side_by_side() -> None:
    layouts = torch.tensor(LAYOUTS[2])[None]
    padded = torch.cat([layouts, torch.zeros(1, 2, 3)], 1)
    places = places_of(coordinates(torch.zeros(1, 8, 16, 16))[0], padded)[0]
    across = torch.arange(8) / 4 - 0.875
    assert torch.allclose(places[1, 8], torch.cat([across, across]), atol=1e-5)
    assert (places[:, :4].abs() > 1).any(0).all()


def test_pooling_ignores_padding() -> None:
    text = torch.zeros(1, 48, 384)
    text[0, :2] = torch.tensor([[1.0], [3.0]])
    assert torch.equal(pool(text), torch.cat([torch.full((1, 384), 2.0), torch.full((1, 384), 3.0)], 1))


def test_the_picture_fades_out_of_the_last_steps() -> None:
    assert fade(torch.tensor([0, 900, 940, 980, 999])).flatten().tolist() == pytest.approx([1, 1, 0.5, 0, 0])
