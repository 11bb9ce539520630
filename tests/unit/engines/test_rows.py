"""Joining rows and splitting them again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.rows import RowsError, count_rows, join_rows, split_rows


@given(st.lists(st.integers(1, 4), min_size=1, max_size=8))
def test_each_request_gets_its_own_rows_back(counts: list[int]) -> None:
    requests = [{"x": np.full((count, 3), index)} for index, count in enumerate(counts)]
    answers = split_rows(join_rows(requests), counts)
    for request, answer in zip(requests, answers, strict=True):
        assert np.array_equal(request["x"], answer["x"])


def test_a_lone_request_is_not_copied() -> None:
    x = np.ones((2, 3))
    assert join_rows([{"x": x}])["x"] is x


def test_answers_are_views() -> None:
    batch = np.ones((3, 2))
    assert all(np.shares_memory(answer["y"], batch) for answer in split_rows({"y": batch}, [1, 2]))


def test_rows_of_different_shapes_do_not_join() -> None:
    with pytest.raises(RowsError, match=r"x: rows of \(3,\) and of \(4,\)"):
        join_rows([{"x": np.ones((1, 3))}, {"x": np.ones((1, 4))}])


def test_requests_with_different_tensors_do_not_join() -> None:
    with pytest.raises(RowsError, match="different tensors"):
        join_rows([{"x": np.ones((1, 3))}, {"y": np.ones((1, 3))}])


@pytest.mark.parametrize("output", [np.ones((2, 3)), np.ones((0, 3)), np.float32(1)])
def test_an_output_without_the_rows_is_refused(output: np.ndarray) -> None:
    with pytest.raises(RowsError, match="3 rows went in"):
        split_rows({"y": output}, [1, 2])


def test_the_tensors_of_a_request_have_the_same_rows() -> None:
    assert count_rows({"x": np.ones((2, 3)), "t": np.ones((2, 1))}) == 2
    with pytest.raises(RowsError, match="same number of rows"):
        count_rows({"x": np.ones((2, 3)), "t": np.ones((1, 1))})
    with pytest.raises(RowsError, match="same number of rows"):
        count_rows({"x": np.ones((0, 3))})
