"""Known tensors, and what their answers are judged by."""

import numpy as np
import pytest

from local.proof import Tensor, judge, make_known, weigh

GOOD = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)


@pytest.mark.parametrize("datatype", ["FP32", "FP16", "INT32", "INT64"])
def test_known_tensors_hold_no_zero_and_differ(datatype: str) -> None:
    tensor = Tensor("x", datatype, (-1, 4, -1, -1))
    first, second = make_known(tensor, 0), make_known(tensor, 1)
    assert first.shape == (1, 4, 16, 16)
    assert (first != 0).all()
    assert (first != second).all()
    assert np.array_equal(first, make_known(tensor, 0))


def test_a_good_answer_passes() -> None:
    assert judge((-1, 2), GOOD[:1], GOOD) == ""
    assert judge((-1, -1), GOOD[:1], GOOD) == ""
    assert judge((-1, 1), GOOD[:1, :1], GOOD[:, :1]) == "", "one number for each row is not constant"


@pytest.mark.parametrize(
    ("alone", "together", "fault"),
    [
        (None, GOOD, "it is empty"),
        (GOOD[:1], GOOD[:0], "it is empty"),
        (GOOD[:1], GOOD[:1], "its shape is [1, 2]"),
        (GOOD[:1], np.ones((2, 3)), "its shape is [2, 3]"),
        (GOOD[:1], GOOD * np.float32(np.nan), "it is not finite"),
        (GOOD[:1], np.ones((2, 2)), "it is constant"),
        (GOOD[:1], GOOD[[0, 0]], "it does not depend on the input"),
        (GOOD[:1] + np.float32(1e-6), GOOD, "depends on who shares its batch"),
    ],
)
def test_each_fault_is_reported(alone: np.ndarray | None, together: np.ndarray, fault: str) -> None:
    assert fault in judge((-1, 2), alone, together)


def test_an_output_may_be_the_same_for_every_input_but_not_all_of_them() -> None:
    constant, independent = judge((-1, 2), GOOD[:1], np.ones((2, 2))), judge((-1, 2), GOOD[:1], GOOD[[0, 0]])
    assert weigh({"a": "", "b": constant, "c": independent}) == ""
    assert weigh({"b": constant, "c": independent}) == f"a known tensor came back wrong in b: {constant}"
    assert "in c: it is not finite" in weigh({"a": "", "b": constant, "c": "it is not finite"})
