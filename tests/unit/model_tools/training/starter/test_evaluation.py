"""Ranks, scores, feature training and the command line."""

from datetime import UTC, datetime

import pytest

torch = pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

import numpy as np  # noqa: E402

from model_tools.training.starter.command import minutes_until, parse  # noqa: E402
from model_tools.training.starter.evaluation.evaluate import score  # noqa: E402
from model_tools.training.starter.evaluation.features import augment, features_of, ranks, train_features  # noqa: E402
from model_tools.training.starter.evaluation.gallery import shrink  # noqa: E402
from model_tools.training.starter.evaluation.sheets import draw_sheet  # noqa: E402

pytestmark = pytest.mark.tools


def test_the_rank_is_how_many_are_nearer() -> None:
    references = torch.eye(4)
    queries = torch.tensor([[0.9, 0.1, 0.0, 0.0], [0.5, 0.4, 0.3, 0.2]])
    assert ranks(queries, references, torch.tensor([0, 2])).tolist() == [0, 2]


def test_scores_are_reported_against_chance() -> None:
    result = score(torch.tensor([0, 4, 9, 10]), 1000)
    assert (result.top1, result.top5, result.top10) == (0.25, 0.5, 0.75)
    assert result.times_chance == pytest.approx(75.0)


def test_features_learn_to_tell_pictures_apart() -> None:
    colours = torch.rand(6, 3, 1, 1, generator=torch.Generator().manual_seed(0)) * 2 - 1
    pictures = colours.expand(6, 3, 64, 64).contiguous()
    net = train_features(pictures, 0.05)
    features = features_of(net, pictures)
    assert features.shape == (6, 128)
    assert torch.allclose(features.norm(dim=1), torch.ones(6), atol=1e-3)


def test_augmented_views_stay_in_range_and_differ() -> None:
    pictures = torch.zeros(4, 3, 64, 64)
    views = augment(pictures, torch.Generator().manual_seed(0))
    assert views.shape == pictures.shape
    assert views.abs().max() <= 1
    assert not torch.equal(views[0], views[1])


def test_shrinking_halves_the_side() -> None:
    assert shrink(np.full((2, 128, 128, 3), 255, np.uint8)).shape == (2, 3, 64, 64)


def test_the_sheet_has_a_pair_for_each_prompt() -> None:
    pictures = np.zeros((9, 128, 128, 3), np.uint8)
    width, height = draw_sheet(["a"] * 9, pictures, pictures).size
    assert width > 8 * 256
    assert height > 2 * 128


def test_until_is_the_next_time_the_clock_shows_it() -> None:
    now = datetime(2026, 11, 25, 23, 30, tzinfo=UTC)
    assert minutes_until("23:45", now) == 15
    assert minutes_until("00:30", now) == 60
    with pytest.raises(ValueError, match="isoformat"):
        minutes_until("soon", now)


def test_the_command_line_knows_its_stages() -> None:
    assert parse(["unet", "--minutes", "5"]).minutes == 5
    with pytest.raises(SystemExit):
        parse(["nothing"])
