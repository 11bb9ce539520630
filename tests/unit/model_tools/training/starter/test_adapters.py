"""The starter's adapters: what they leave alone, what they train on, and that they learn."""

import json
from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

import cv2  # noqa: E402 -- only in the tools' environment
import numpy as np  # noqa: E402

from model_tools.training.paths import Workspace  # noqa: E402
from model_tools.training.pictures import PACKAGES  # noqa: E402
from model_tools.training.starter.data import augment  # noqa: E402
from model_tools.training.starter.data.drawings import HAND_DRAWN  # noqa: E402
from model_tools.training.starter.data.persons import Identity, identity, neutral, without_tone  # noqa: E402
from model_tools.training.starter.evaluation.evaluate_adapters import demand  # noqa: E402
from model_tools.training.starter.networks.autoencoder import Encoder  # noqa: E402
from model_tools.training.starter.networks.controlled import ControlledDenoiser, Steering, build_adapters  # noqa: E402
from model_tools.training.starter.networks.denoiser import build_unet  # noqa: E402
from model_tools.training.starter.networks.image_prompt import TOKENS  # noqa: E402
from model_tools.training.starter.networks.text import WIDTH  # noqa: E402
from model_tools.training.starter.trainers.adapter_data import AdapterBatch, AdapterData  # noqa: E402
from model_tools.training.starter.trainers.train_adapters import AdapterTrainer, alike  # noqa: E402

pytestmark = pytest.mark.tools
SMALL = {"block_out_channels": (16, 32, 32), "attention_head_dim": 16, "norm_num_groups": 8}
WOMAN_ASTRONAUT = "1f469-1f3fd-200d-1f680"


def unsteered(sample: Any) -> Steering:
    """What leaves the denoiser as it is: a black control picture, no tokens, both scales 0."""
    black = torch.zeros(len(sample), 3, 8 * sample.shape[2], 8 * sample.shape[3])
    nothing = torch.zeros(len(sample), 1)
    return Steering(black, nothing, torch.zeros(len(sample), TOKENS, WIDTH), nothing)


@pytest.fixture(autouse=True)
def one_thread(two_threads: None) -> None:  # noqa: ARG001 -- after it
    """These networks are tiny: a second thread only waits."""
    torch.set_num_threads(1)


@pytest.fixture
def with_persons(workspace: Workspace) -> Workspace:
    """The made-up workspace, its third concept a person that is also there in one skin tone."""
    for package in PACKAGES:
        (workspace.data / package / "package" / "en").mkdir(parents=True)
    entries = [{"hexcode": str(row), "group": 1, "subgroup": group} for row, group in enumerate((99, 0, 25))]
    (workspace.data / "labels" / "package" / "en" / "data.json").write_text(json.dumps(entries), "utf-8")
    for style in ("3d", "flat"):
        (workspace.root / f"persons_{style}.json").write_text('["2-1f3fd"]', "utf-8")
        np.save(workspace.root / f"persons_{style}.npy", np.full((1, 256, 256, 4), 200, np.uint8))
    return workspace


def trained_model() -> ControlledDenoiser:
    """Adapters whose outputs are not zero, around a small denoiser."""
    torch.manual_seed(0)
    model: ControlledDenoiser = build_adapters(build_unet(**SMALL))[0]
    with torch.no_grad():
        for part in model.adapters().values():
            for weights in part.parameters():
                weights.add_(0.05 * torch.randn(weights.shape))
    model.eval()
    return model


def small_trainer() -> AdapterTrainer:
    torch.manual_seed(1)
    base = build_unet(**SMALL)
    torch.nn.init.normal_(
        base.unet.conv_out.weight, std=0.1
    )  # zero in a new one, and then nothing reaches the adapters
    return AdapterTrainer(base, Encoder(width=32).eval(), 10.0, seed=3)


def made_batch(rows: int = 8) -> AdapterBatch:
    """Random pictures: the first 5 rows with edges, all but the first 2 with a prompt."""
    random = torch.Generator().manual_seed(0)
    edged, unprompted = 5, 2
    shown = torch.arange(rows)
    return AdapterBatch(
        edged,
        unprompted,
        torch.rand(rows, 3, 64, 64, generator=random) * 2 - 1,
        torch.rand(rows, 3, 64, 64, generator=random),
        torch.rand(rows, 3, 128, 128, generator=random) * 2 - 1,
        torch.randn(rows, 48, 384, generator=random),
        (shown < edged).float()[:, None],
        (shown >= unprompted).float()[:, None],
    )


def test_without_scales_the_denoiser_answers_as_if_alone() -> None:
    model = trained_model()
    sample, steps, text = torch.randn(2, 8, 16, 8), torch.tensor([10, 900]), torch.randn(2, 48, 384)
    alone = build_unet(model.base.draft, **SMALL)
    alone.load_state_dict({key: value for key, value in model.base.state_dict().items() if "_ip." not in key})
    none = torch.zeros(2, 1)
    asked = Steering(torch.rand(2, 3, 128, 64), none, torch.randn(2, 16, 384), none)
    with torch.inference_mode():
        unasked = model(sample, steps, text, unsteered(sample))
        assert torch.equal(model(sample, steps, text, asked), unasked)
        assert torch.allclose(unasked, alone.eval()(sample, steps, text)[0], atol=1e-5)
        assert (model(sample, steps, text, asked._replace(control_scale=none + 1)) - unasked).abs().max() > 0.01
        assert (model(sample, steps, text, asked._replace(image_scale=none + 1)) - unasked).abs().max() > 0.01


def test_tokens_of_zeros_are_no_picture_at_any_scale() -> None:
    model = trained_model()
    sample, steps, text = torch.randn(2, 8, 8, 8), torch.tensor([10, 900]), torch.randn(2, 48, 384)
    asked = unsteered(sample)._replace(image_scale=torch.ones(2, 1))
    with torch.inference_mode():
        assert torch.equal(model(sample, steps, text, asked), model(sample, steps, text, unsteered(sample)))


def test_all_adapters_learn_from_one_step_and_the_frozen_parts_stay() -> None:
    trainer, batch = small_trainer(), made_batch()
    before = {key: value.clone() for key, value in trainer.model.base.unet.state_dict().items() if "_ip." not in key}
    trainer.train_step(batch, 1e-2)
    losses = trainer.train_step(batch, 1e-2)
    assert set(losses) == {"control", "image", "v"}
    moved = [trainer.parts["prompt"].last.weight.abs().sum()]
    moved += [layer.weight.abs().sum() for layer in (*trainer.parts["control"].skips, trainer.parts["control"].draft)]
    moved += [processor.to_v_ip.weight.abs().sum() for processor in trainer.parts["attentions"]]
    assert all(change > 0 for change in moved)
    assert all(torch.equal(trainer.model.base.unet.state_dict()[key], value) for key, value in before.items())


def test_tokens_of_two_views_are_compared_where_both_are_square() -> None:
    trainer, batch = small_trainer(), made_batch()
    square = replace(batch, target=batch.prompt, control=torch.zeros_like(batch.prompt))
    losses = trainer.train_step(square, 1e-3, denoised=False)
    assert set(losses) == {"control", "image", "alike"}


def test_views_that_are_alike_cost_less_than_others() -> None:
    tokens = torch.randn(6, TOKENS, WIDTH, generator=torch.Generator().manual_seed(0))
    near = tokens + 0.3 * torch.randn(tokens.shape, generator=torch.Generator().manual_seed(1))
    assert alike(tokens, near) < 0.01
    assert alike(tokens, near.roll(1, 0)) > 5
    assert torch.equal(alike(tokens, near), alike(near, tokens))


def test_the_drafts_errors_fall() -> None:
    trainer, batch = small_trainer(), made_batch()
    first = trainer.train_step(batch, 1e-3, denoised=False)
    for _ in range(15):
        last = trainer.train_step(batch, 1e-3, denoised=False)
    assert last["control"] < 0.8 * first["control"]
    assert last["image"] < 0.8 * first["image"]


def test_a_resumed_training_goes_on_as_if_never_stopped() -> None:
    straight, batch = small_trainer(), made_batch()
    straight.train_step(batch, 1e-3)
    state = straight.state(7.0)
    state = {key: {k: v.clone() for k, v in value.items()} if key == "model" else value for key, value in state.items()}
    resumed = small_trainer()
    assert resumed.restore(state) == 7.0
    straight.generator.manual_seed(9)
    resumed.generator.manual_seed(9)
    assert resumed.train_step(batch, 1e-3) == straight.train_step(batch, 1e-3)
    assert resumed.step == 2


def test_batches_hold_rows_of_all_three_kinds(with_persons: Workspace) -> None:
    batch = AdapterData(with_persons).draw(20, torch.Generator().manual_seed(0))
    assert (batch.edged, batch.unprompted) == (6, 3)
    assert ((batch.control_scale > 0)[:, 0] == (torch.arange(20) < 6)).all()
    assert ((batch.image_scale > 0)[:, 0] == (torch.arange(20) >= 3)).all()
    assert batch.control[6:].max() == 0
    assert batch.target.shape == batch.control.shape
    assert (batch.prompt.shape, batch.text.shape) == ((20, 3, 128, 128), (20, 48, 384))
    assert batch.target.min() >= -1
    assert batch.control.max() <= 1


def test_a_person_is_known_by_code() -> None:
    assert identity(WOMAN_ASTRONAUT) == Identity("woman", "1f3fd")
    assert identity("1f6b4-200d-2642") == Identity("man", "")
    assert identity("1f9d1-200d-1f680") == Identity("person", "")
    assert without_tone(WOMAN_ASTRONAUT) == "1f469-200d-1f680"
    assert neutral("1f469-200d-1f680") == "1f9d1-200d-1f680"
    assert neutral("1f6b4-200d-2642") == "1f6b4"


def test_toned_persons_take_the_captions_of_their_kind(with_persons: Workspace) -> None:
    data = AdapterData(with_persons)
    toned = [subject for subject in data.library.subjects if subject.kind == "tone"]
    assert [(subject.code, subject.concept, subject.style) for subject in toned] == [
        ("2-1f3fd", 2, "3d"),
        ("2-1f3fd", 2, "flat"),
    ]
    captions = {data.draw_caption(toned[0], np.random.default_rng(seed), prompted=False) for seed in range(40)}
    assert captions <= {data.empty, *data.plain["3d"][2]}
    assert len(captions) > 3


def test_recolouring_keeps_greys_and_stays_below_alpha() -> None:
    random = np.random.default_rng(0)
    for _ in range(10):
        matrix = augment.recolouring(random)
        grey = augment.recolour(np.full((2, 2, 4), 128, np.uint8), matrix)
        assert np.ptp(grey[..., :3].astype(int), axis=2).max() <= 1
        picture = random.integers(0, 128, (8, 8, 4), dtype=np.uint8) + np.array([0, 0, 0, 127], np.uint8)
        assert (augment.recolour(picture, matrix)[..., :3] <= picture[..., 3:]).all()


def test_a_moved_picture_is_where_it_is_put() -> None:
    dot = np.zeros((augment.SIDE, augment.SIDE, 4), np.uint8)
    dot[:, : augment.SIDE // 2] = 255  # the left half
    for mirrored in (False, True):
        canvas = augment.move(dot, (128, 64), 40, centre=(0.25, 0.5), mirrored=mirrored)[..., 3]
        ys, xs = np.nonzero(canvas > 127)
        assert abs(ys.mean() - 31.5) < 1
        assert abs(xs.mean() - (41.5 if mirrored else 21.5)) < 1
        assert abs(len(xs) - 800) < 60


def test_edges_are_cannys_and_flat_pictures_have_none() -> None:
    canvas = augment.white((64, 64))
    assert augment.canny(canvas).max() == 0
    cv2.rectangle(canvas, (16, 16), (47, 47), (200, 30, 30), -1)
    edges = augment.canny(canvas)
    ys, xs = np.nonzero(edges)
    assert set(np.unique(edges)) == {0, 255}
    assert (
        np.minimum(np.minimum(abs(xs - 15.5), abs(xs - 47.5)), np.minimum(abs(ys - 15.5), abs(ys - 47.5))) <= 1.5
    ).all()


def test_drawings_fit_the_canvas() -> None:
    for make in HAND_DRAWN.values():
        drawing = make()
        assert 100 < (drawing > 0).sum() < 3000
        assert drawing[0].max() == drawing[-1].max() == drawing[:, 0].max() == drawing[:, -1].max() == 0


@pytest.mark.parametrize("values", [(0.2, 0.3, 0.35, 0.59), (0.2, 0.5, 0.45, 0.8)])
def test_adapters_that_do_not_follow_are_refused(values: tuple[float, ...]) -> None:
    demand({"0": 0.1, "0.5": 0.3, "1": 0.7})
    with pytest.raises(ValueError, match="not followed"):
        demand(dict(zip("abcd", values, strict=True)))
