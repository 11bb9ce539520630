"""The arithmetic of the order: tags, classes, and the integer that it is kept as."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.jobs.scheduling import EPOCH, rank
from orchestrator.params import Priority
from orchestrator.scheduling.order import start_tag, virtual_time

NOW = EPOCH + 1e7
seconds = st.floats(0, 1e6)


def test_the_virtual_time_is_the_tag_in_service() -> None:
    assert virtual_time(NOW, NOW + 50, NOW - 7) == NOW + 50
    assert virtual_time(NOW, None, NOW - 7) == NOW - 7
    assert virtual_time(NOW, None, None) == NOW
    assert virtual_time(NOW, NOW - 5000, None) == NOW - 3600


def test_a_job_follows_its_accounts_job_before() -> None:
    assert start_tag(NOW, NOW + 30, 1, waits=True) == NOW + 30
    assert start_tag(NOW, NOW - 30, 1, waits=True) == NOW
    assert start_tag(NOW, NOW + 30, 10, waits=False) == NOW + 10
    assert start_tag(NOW, 0, 10, waits=False) == NOW


@given(low=seconds, later=seconds, fair_tag=seconds, length=st.floats(0.1, 1e5), newest=st.floats(-1e6, 1e6))
def test_what_comes_eighty_minutes_later_ranks_behind(
    low: float, later: float, fair_tag: float, length: float, newest: float
) -> None:
    """Even a job of the best class of an account that has had nothing, behind one of the lowest."""
    made = NOW + low
    waiting = rank(start_tag(virtual_time(made, None, None), 0, length, waits=False), Priority.LOW)
    then = made + 80 * 60 + 1 + later
    newcomer = start_tag(virtual_time(then, then + newest, None), then + fair_tag, length, waits=True)
    assert rank(newcomer, Priority.HIGH) < waiting


@given(tag=seconds, longer=st.floats(0.1, 1e6), priority=st.sampled_from(Priority))
def test_the_earlier_tag_ranks_higher_and_classes_are_ten_minutes_apart(
    tag: float, longer: float, priority: Priority
) -> None:
    assert rank(NOW + tag, priority) >= rank(NOW + tag + longer, priority)
    assert rank(NOW + tag, Priority.HIGH) == pytest.approx(rank(NOW + tag - 600, Priority.NORMAL), abs=1)
    assert rank(NOW + tag, Priority.LOW) == pytest.approx(rank(NOW + tag + 600, Priority.NORMAL), abs=1)


def test_ranks_are_integers_of_the_database() -> None:
    assert rank(EPOCH, Priority.NORMAL) == 2**31 - 1
    assert rank(EPOCH + 1, Priority.NORMAL) == 2**31 - 11
    assert rank(EPOCH - 1e9, Priority.HIGH) == 2**31 - 1
    assert rank(EPOCH + 13.5 * 365 * 86_400, Priority.LOW) > -(2**31)
    assert rank(EPOCH + 1e9, Priority.LOW) == -(2**31)
