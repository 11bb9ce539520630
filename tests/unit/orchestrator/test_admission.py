"""Who goes first, how many wait, and for how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from orchestrator.errors import QueueFullError
from orchestrator.params import Priority
from orchestrator.streams.admission import Admission

HIGH, NORMAL, LOW = Priority


def started(admission: Admission[str]) -> list[str]:
    """Everything that starts now, in order."""
    return [item for item in iter(admission.start_next, None) if item is not None]


def test_as_many_start_as_there_are_slots() -> None:
    admission = Admission[str](2, 10, 1000)
    for item in "abc":
        admission.enqueue(item, NORMAL, 1)
    assert started(admission) == ["a", "b"]
    assert admission.waiting == ["c"]
    admission.finish("a", None)
    assert started(admission) == ["c"]
    admission.finish("b", None)
    admission.finish("c", None)
    assert started(admission) == []


def test_the_best_class_goes_first_and_within_it_the_first_come() -> None:
    admission = Admission[str](1, 10, 1000)
    for item, priority in [("l1", LOW), ("n1", NORMAL), ("h1", HIGH), ("n2", NORMAL), ("h2", HIGH), ("l2", LOW)]:
        admission.enqueue(item, priority, 1)
    assert admission.waiting == ["h1", "h2", "n1", "n2", "l1", "l2"]
    assert started(admission) == ["h1"]


@given(st.lists(st.sampled_from(list(Priority))))
def test_order_is_by_class_then_arrival(priorities: list[Priority]) -> None:
    admission = Admission[int](1, 1000, 1000)
    for number, priority in enumerate(priorities):
        admission.enqueue(number, priority, 1)
    order = list(Priority)
    assert admission.waiting == sorted(range(len(priorities)), key=lambda n: (order.index(priorities[n]), n))


def test_items_need_no_order_of_their_own() -> None:
    admission = Admission[object](1, 10, 1000)
    admission.enqueue(object(), NORMAL, 1)
    admission.enqueue(object(), NORMAL, 1)
    assert len(admission.waiting) == 2


def test_a_full_line_refuses() -> None:
    admission = Admission[str](1, 2, 1000)
    for item in "abc":  # one will run, two may wait
        admission.enqueue(item, NORMAL, 1)
    with pytest.raises(QueueFullError, match="3 requests are already waiting"):
        admission.enqueue("d", HIGH, 1)
    assert started(admission) == ["a"]
    with pytest.raises(QueueFullError):
        admission.enqueue("d", HIGH, 1)
    admission.withdraw("b")
    admission.enqueue("d", HIGH, 1)
    assert admission.waiting == ["d", "c"]


def test_no_line_at_all() -> None:
    admission = Admission[str](1, 0, 1000)
    admission.enqueue("a", NORMAL, 1)
    assert started(admission) == ["a"]
    with pytest.raises(QueueFullError):
        admission.enqueue("b", NORMAL, 1)
    admission.finish("a", None)
    admission.enqueue("b", NORMAL, 1)


def test_pictures_of_waiting_and_running_requests_are_held_up_to_a_limit() -> None:
    admission = Admission[str](1, 10, 1000)
    admission.enqueue("a", NORMAL, 1, 600)
    assert started(admission) == ["a"]
    admission.enqueue("b", NORMAL, 1, 400)
    with pytest.raises(QueueFullError, match="inline images") as caught:
        admission.enqueue("c", HIGH, 1, 1)
    assert caught.value.retry_after >= 1
    admission.enqueue("no picture", NORMAL, 1)
    assert REGISTRY.get_sample_value("imagegen_held_bytes") == 1000
    admission.withdraw("b")
    admission.enqueue("c", NORMAL, 1, 400)
    admission.finish("a", None)
    admission.enqueue("d", NORMAL, 1, 600)
    assert REGISTRY.get_sample_value("imagegen_held_bytes") == 1000


def test_a_picture_of_any_size_may_come_alone() -> None:
    """Else it would be asked to retry forever."""
    admission = Admission[str](1, 10, 1000)
    admission.enqueue("no picture", NORMAL, 1)
    admission.enqueue("large", NORMAL, 1, 5000)
    with pytest.raises(QueueFullError):
        admission.enqueue("small", NORMAL, 1, 1)


@pytest.mark.parametrize(("seconds", "retry_after"), [(0.001, 1.0), (12.0, 6.0), (10_000.0, 60.0)])
def test_retry_after_follows_the_measured_speed_within_bounds(seconds: float, retry_after: float) -> None:
    """Two slots: the time of one request, over two."""
    admission = Admission[str](2, 0, 1000)
    admission.enqueue("a", NORMAL, 100)
    started(admission)
    admission.finish("a", seconds)
    for item in "bc":
        admission.enqueue(item, NORMAL, 100)
    with pytest.raises(QueueFullError) as caught:
        admission.enqueue("d", NORMAL, 100)
    assert caught.value.retry_after == pytest.approx(retry_after)


def test_withdrawing() -> None:
    admission = Admission[str](1, 10, 1000)
    for item in "abc":
        admission.enqueue(item, NORMAL, 1)
    started(admission)
    assert not admission.withdraw("a")  # it runs
    assert not admission.withdraw("x")
    assert admission.withdraw("b")
    assert not admission.withdraw("b")
    assert admission.waiting == ["c"]


def test_nothing_is_known_before_the_first_end() -> None:
    admission = Admission[str](1, 10, 1000)
    for item in "abc":
        admission.enqueue(item, NORMAL, 50)
    started(admission)
    assert admission.waits() == [("b", 0, 0.0), ("c", 1, 0.0)]


def test_waits_are_the_work_ahead_over_speed_and_slots() -> None:
    admission = Admission[str](2, 10, 1000)
    admission.enqueue("first", NORMAL, 100)
    started(admission)
    admission.finish("first", 4.0)  # 25 a second
    for item, cost in [("a", 100), ("b", 300), ("c", 50), ("d", 50), ("e", 50)]:
        admission.enqueue(item, NORMAL, cost)
    started(admission)
    # a and b run, half done on average: 200 ahead of c, 250 of d, 300 of e; two slots of 25 a second.
    assert admission.waits() == [("c", 0, 4.0), ("d", 1, 5.0), ("e", 2, 6.0)]


def test_who_will_start_at_once_does_not_wait() -> None:
    admission = Admission[str](2, 10, 1000)
    admission.enqueue("first", NORMAL, 100)
    started(admission)
    admission.finish("first", 4.0)
    for item in "abc":
        admission.enqueue(item, NORMAL, 100)
    assert [seconds for *_, seconds in admission.waits()] == [0.0, 0.0, 4.0]


def test_speed_is_learned_from_work_that_was_done() -> None:
    """A moving mean: a fifth of the newest. What was cut short teaches nothing."""
    admission = Admission[str](1, 10, 1000)

    def run(seconds: float | None) -> None:
        admission.enqueue("x", NORMAL, 100)
        started(admission)
        admission.finish("x", seconds)

    def wait_for(cost: float) -> float:
        admission.enqueue("running", NORMAL, 2 * cost)
        started(admission)
        admission.enqueue("waiting", NORMAL, 1)
        ((_, _, seconds),) = admission.waits()
        admission.withdraw("waiting")
        admission.finish("running", None)
        return seconds

    run(1.0)
    assert wait_for(100) == pytest.approx(1.0)
    run(None)
    assert wait_for(100) == pytest.approx(1.0)
    run(0.5)
    assert wait_for(120) == pytest.approx(1.0)  # 0.8 * 100 + 0.2 * 200
    for _ in range(100):
        run(10.0)
    assert wait_for(10) == pytest.approx(1.0)


def test_gauges_show_the_line() -> None:
    def gauges() -> list[float | None]:
        depths = [REGISTRY.get_sample_value("imagegen_queue_depth", {"priority": p.value}) for p in Priority]
        return [*depths, REGISTRY.get_sample_value("imagegen_in_flight")]

    admission = Admission[str](1, 10, 1000)
    for item, priority in [("a", HIGH), ("b", LOW), ("c", LOW)]:
        admission.enqueue(item, priority, 1)
    assert gauges() == [1, 0, 2, 0]
    started(admission)
    assert gauges() == [0, 0, 2, 1]
    admission.withdraw("c")
    admission.finish("a", 1.0)
    assert gauges() == [0, 0, 1, 0]
