"""How many run, wait and hold pictures."""

import pytest
from prometheus_client import REGISTRY

from orchestrator.errors import QueueFullError
from orchestrator.params import Priority
from orchestrator.streams.admission import Admission

HIGH, NORMAL, LOW = Priority


def of(slots: int, queued: int, held: int, soon: float = 1.0) -> Admission[str]:
    """An admission whose order is that of arrival."""
    return Admission[str](slots, queued, held, order=list, soon=lambda: soon)


def started(admission: Admission[str]) -> list[str]:
    """Everything that starts now, in order."""
    return [item for item in iter(admission.start_next, None) if item is not None]


def test_as_many_start_as_there_are_slots() -> None:
    admission = of(2, 10, 1000)
    for item in "abc":
        admission.enqueue(item, NORMAL)
    assert started(admission) == ["a", "b"]
    assert admission.waiting == ["c"]
    admission.finish("a")
    assert started(admission) == ["c"]
    admission.finish("b")
    admission.finish("c")
    assert started(admission) == []


def test_who_is_next_the_order_says() -> None:
    admission = Admission[str](1, 10, 1000, order=sorted, soon=lambda: 1.0)
    for item in "cab":
        admission.enqueue(item, NORMAL)
    assert admission.waiting == ["a", "b", "c"]
    assert started(admission) == ["a"]


def test_items_need_no_order_of_their_own() -> None:
    admission = Admission[object](1, 10, 1000, order=list, soon=lambda: 1.0)
    admission.enqueue(object(), NORMAL)
    admission.enqueue(object(), NORMAL)
    assert len(admission.waiting) == 2


def test_a_full_line_refuses() -> None:
    admission = of(1, 2, 1000)
    for item in "abc":  # one will run, two may wait
        admission.enqueue(item, NORMAL)
    with pytest.raises(QueueFullError, match="3 requests are already waiting"):
        admission.enqueue("d", HIGH)
    assert started(admission) == ["a"]
    with pytest.raises(QueueFullError):
        admission.enqueue("d", HIGH)
    admission.withdraw("b")
    admission.enqueue("d", HIGH)
    assert admission.waiting == ["c", "d"]


def test_no_line_at_all() -> None:
    admission = of(1, 0, 1000)
    admission.enqueue("a", NORMAL)
    assert started(admission) == ["a"]
    with pytest.raises(QueueFullError):
        admission.enqueue("b", NORMAL)
    admission.finish("a")
    admission.enqueue("b", NORMAL)


def test_pictures_of_waiting_and_running_requests_are_held_up_to_a_limit() -> None:
    admission = of(1, 10, 1000)
    admission.enqueue("a", NORMAL, 600)
    assert started(admission) == ["a"]
    admission.enqueue("b", NORMAL, 400)
    with pytest.raises(QueueFullError, match="inline images") as caught:
        admission.enqueue("c", HIGH, 1)
    assert caught.value.retry_after >= 1
    admission.enqueue("no picture", NORMAL)
    assert REGISTRY.get_sample_value("imagegen_held_bytes") == 1000
    admission.withdraw("b")
    admission.enqueue("c", NORMAL, 400)
    admission.finish("a")
    admission.enqueue("d", NORMAL, 600)
    assert REGISTRY.get_sample_value("imagegen_held_bytes") == 1000


def test_a_picture_of_any_size_may_come_alone() -> None:
    """Else it would be asked to retry forever."""
    admission = of(1, 10, 1000)
    admission.enqueue("no picture", NORMAL)
    admission.enqueue("large", NORMAL, 5000)
    with pytest.raises(QueueFullError):
        admission.enqueue("small", NORMAL, 1)


@pytest.mark.parametrize(("soon", "retry_after"), [(0.001, 1.0), (12.0, 12.0), (10_000.0, 60.0)])
def test_retry_after_is_when_a_request_ends_within_bounds(soon: float, retry_after: float) -> None:
    admission = of(2, 0, 1000, soon=soon)
    for item in "ab":
        admission.enqueue(item, NORMAL)
    with pytest.raises(QueueFullError) as caught:
        admission.enqueue("d", NORMAL)
    assert caught.value.retry_after == pytest.approx(retry_after)


def test_withdrawing() -> None:
    admission = of(1, 10, 1000)
    for item in "abc":
        admission.enqueue(item, NORMAL)
    started(admission)
    assert not admission.withdraw("a")  # it runs
    assert not admission.withdraw("x")
    assert admission.withdraw("b")
    assert not admission.withdraw("b")
    assert admission.waiting == ["c"]
