"""Who may use an engine when, on a simulated clock."""

import random
from statistics import mean

import pytest

from benchmarks.fleet import Fleet, Request, by_account
from orchestrator.params import Priority
from orchestrator.scheduling.costs import Cost, CostModel
from orchestrator.scheduling.scheduled import ScheduledRequest, Work
from orchestrator.scheduling.scheduler import Scheduler

SHAPE, WIDE = (4, 64, 64), (4, 64, 128)
FLAT = {2: 1.0, 4: 2.0, 8: 4.0}
"""Seconds of a step by rows where more rows bring nothing."""
STEEP = {2: 1.0, 4: 1.1, 8: 1.3}


def costs_of(by_rows: dict[int, float], scale: float = 1.0) -> CostModel:
    costs = CostModel()
    for rows, seconds in by_rows.items():
        costs.observe(Cost("e0", "unet", SHAPE, rows, seconds * scale))
    return costs


def picture(arrival: float = 0.0, steps: int = 10, **named: object) -> Request:
    work = Work(seconds=float(steps), model="unet", shape=SHAPE, rows=2, max_rows=8)
    return Request(arrival, steps, work, **named)  # type: ignore[arg-type]


def poster(arrival: float = 0.0, steps: int = 100, **named: object) -> Request:
    work = Work(seconds=2.0 * steps, model="unet", shape=WIDE, rows=2, max_rows=8)
    return Request(arrival, steps, work, **named)  # type: ignore[arg-type]


def fleet(by_rows: dict[int, float], engines: int = 1, fixed: int = 0) -> Fleet:
    costs = costs_of(by_rows)
    return Fleet(Scheduler(costs, fixed), costs, engines)


def latencies(requests: list[Request]) -> list[float]:
    return [round(request.latency, 1) for request in requests]


def test_where_batches_bring_nothing_requests_run_one_after_the_other() -> None:
    requests = [picture() for _ in range(8)]
    fleet(FLAT).run(requests)
    assert latencies(requests) == pytest.approx([10 * number for number in range(1, 9)], abs=0.2)


def test_their_mean_latency_is_little_more_than_half_of_what_it_was_all_at_once() -> None:
    one, all_at_once = [picture() for _ in range(8)], [picture() for _ in range(8)]
    fleet(FLAT).run(one)
    fleet(FLAT, fixed=1000).run(all_at_once)
    assert mean(latencies(one)) < 0.6 * mean(latencies(all_at_once))
    assert max(latencies(one)) < max(latencies(all_at_once)) / 0.97  # of the same throughput


def test_where_batches_bring_much_requests_share_them() -> None:
    requests = [picture() for _ in range(8)]
    fleet(STEEP).run(requests)
    assert max(latencies(requests)) < 27  # two batches of four, 13 s each


def test_equal_requests_spread_over_engines() -> None:
    requests = [picture() for _ in range(4)]
    served = fleet(FLAT, engines=4)
    served.run(requests)
    assert latencies(requests) == [10.0] * 4
    assert served.utilisation > 0.99


def test_a_picture_passes_a_poster_at_a_step_boundary_also_of_the_same_account() -> None:
    for account in ("one", "other"):
        long, short = poster(), picture(arrival=31.0, steps=2, account=account)
        fleet(FLAT).run([long, short])
        assert short.latency < 2.0 + 2.0 + 0.1  # its own two steps, and the step that ran
        assert long.latency == pytest.approx(202.2, abs=0.3)


def test_a_poster_is_passed_no_longer_than_about_its_own_length() -> None:
    """Pictures fill the engine forever; the poster ends all the same."""
    long = poster(account="poster")
    short = [picture(arrival=float(at), steps=10, account=f"a{at % 7}") for at in range(0, 2000, 10)]
    fleet(FLAT).run([long, *short])
    assert long.latency < 3 * 200


def test_a_poster_is_not_starved_by_accounts_that_each_send_one_picture() -> None:
    first, long = picture(), poster(arrival=1.0)
    short = [picture(arrival=2.0 + at, steps=9, account=f"a{at}") for at in range(0, 3000, 10)]
    fleet(FLAT).run([first, long, *short], announce=False)
    assert long.latency < 3 * 200


def test_where_many_wait_the_last_percents_of_throughput_are_taken() -> None:
    """Four rows bring 2.5 % more than two. With few in line one after the other ends earlier; with many it does not."""
    few, many = ([picture(steps=4) for _ in range(number)] for number in (4, 60))
    for requests in (few, many):
        fleet({2: 1.0, 4: 1.95}).run(requests, announce=False)
    assert latencies(few) == pytest.approx([4, 8, 12, 16], abs=0.2)
    assert max(latencies(many)) < 0.985 * 60 * 4


def test_a_request_that_is_nearly_done_is_not_passed() -> None:
    first, second = picture(), picture(arrival=6.5, steps=3)
    fleet(FLAT).run([first, second])
    assert latencies([first, second]) == [10.0, 6.5]


def test_classes_go_first_and_do_not_interrupt() -> None:
    running, low, normal, high = (
        picture(priority=priority) for priority in (Priority.LOW, Priority.LOW, Priority.NORMAL, Priority.HIGH)
    )
    for number, request in enumerate((low, normal, high), start=1):
        request.arrival = 0.1 * number
    fleet(FLAT).run([running, low, normal, high])
    ends = [request.ended or 0.0 for request in (running, high, normal, low)]
    assert ends == sorted(ends)


def test_accounts_take_turns_by_their_work() -> None:
    """A hundred requests of one account do not delay the single one of another."""
    many = [picture(account="many") for _ in range(100)]
    single = picture(arrival=12.0, account="single")
    fleet(FLAT).run([*many, single])
    assert single.latency < 30


def test_two_accounts_in_overload_get_the_same_share() -> None:
    requests = [picture(arrival=i * 1.0, account="many") for i in range(100)]
    requests += [picture(arrival=i * 10.0, steps=20, account="few") for i in range(40)]
    fleet(FLAT).run(requests, announce=False)
    done = {
        account: sum(r.work.seconds for r in own if (r.ended or 0.0) < 500)
        for account, own in by_account(requests).items()
    }
    assert done["many"] == pytest.approx(done["few"], rel=0.15)


def test_what_came_later_does_not_make_a_deadline_late() -> None:
    urgent = picture(arrival=0.5, account="urgent", deadline=25.0)
    later = [picture(arrival=1.0, steps=4, account=f"a{number}") for number in range(10)]
    fleet(FLAT).run([picture(), urgent, *later])
    assert urgent.latency <= 25.0


def test_deadlines_are_met_or_refused_at_once() -> None:
    drawn = random.Random(22)  # noqa: S311  # no secret
    requests, at = [], 0.0
    for number in range(150):
        at += drawn.expovariate(0.9 / 10)
        steps = drawn.choice((4, 8, 18))
        deadline = drawn.choice((2.0, 4.0, 12.0)) * steps if number % 2 else None
        requests.append(picture(arrival=at, steps=steps, account=f"a{number % 5}", deadline=deadline))
    fleet(FLAT).run(requests)
    asked = [request for request in requests if request.deadline is not None]
    taken = [request for request in asked if not request.is_refused]
    assert 15 < len(taken) < len(asked) - 15
    assert all(request.latency <= (request.deadline or 0.0) for request in taken)


def test_a_deadline_buys_no_better_place() -> None:
    waiting = [picture(account=f"a{number}") for number in range(5)]
    hurried = picture(arrival=1.0, account="hurried", deadline=20.0)
    fleet(FLAT).run([*waiting, hurried])
    assert hurried.is_refused
    assert latencies(waiting) == pytest.approx([10, 20, 30, 40, 50], abs=0.2)


@pytest.mark.parametrize(
    ("accounts", "load", "kinds"),
    [(1, 0.8, (4, 10, 30)), (1, 0.7, (8, 10, 12)), (5, 0.8, (10,)), (5, 0.8, (4, 10, 30))],
)
def test_announced_waits_are_within_a_quarter_in_nine_of_ten_cases(
    accounts: int, load: float, kinds: tuple[int, ...]
) -> None:
    """Steps take up to a fifth more or less than was measured."""
    drawn = random.Random(22)  # noqa: S311  # no secret
    requests, at = [], 0.0
    for number in range(400):
        at += drawn.expovariate(load / mean(kinds))
        requests.append(picture(arrival=at, steps=drawn.choice(kinds), account=f"a{number % accounts}"))
    costs = costs_of(FLAT)
    Fleet(Scheduler(costs), costs, 1, noise=lambda: drawn.uniform(0.8, 1.2)).run(requests)
    waits = [((r.started or 0.0) - r.arrival, r.announced or 0.0) for r in requests]
    waits = [(actual, announced) for actual, announced in waits if actual > 1.0]
    assert len(waits) > 150
    assert mean(abs(announced - actual) <= 0.25 * actual for actual, announced in waits) >= 0.9


def test_a_request_without_a_known_engine_is_not_held_up() -> None:
    scheduler = Scheduler(CostModel())
    request = ScheduledRequest("one", Priority.NORMAL, 0.0, Work(1.0), list, 0.0)
    scheduler.add(request)
    scheduler.ask(request)
    assert scheduler.grant(0.0) == [request]


def test_an_engine_that_is_held_in_vain_goes_to_the_next() -> None:
    scheduler = Scheduler(costs_of(FLAT))
    first, second = (
        ScheduledRequest("one", Priority.NORMAL, 0.0, Work(10.0, "unet", SHAPE, 2, 8), lambda: ["e0"], 0.0)
        for _ in range(2)
    )
    for request in (first, second):
        scheduler.add(request)
        scheduler.ask(request)
    assert scheduler.grant(0.0) == [first]
    scheduler.returned(first, 1.0, 1.0)
    assert scheduler.grant(1.0) == []
    due = scheduler.next_time()
    assert due is not None
    assert 1.0 < due < 2.0
    assert scheduler.grant(due) == [second]
    scheduler.ask(first)
    assert scheduler.grant(due + 0.5) == []
    scheduler.remove(second, due + 1.0)
    assert scheduler.grant(due + 1.0) == [first]


def test_requests_that_share_an_engine_go_on_when_fewer_turn_out_to_saturate_it() -> None:
    costs = costs_of(STEEP)
    scheduler = Scheduler(costs)
    requests = [
        ScheduledRequest("one", Priority.NORMAL, 0.0, Work(10.0, "unet", SHAPE, 2, 8), lambda: ["e0"], 0.0)
        for _ in range(4)
    ]
    ended = ScheduledRequest("one", Priority.NORMAL, 0.0, Work(1.0), lambda: ["e0"], 0.0)
    for request in (*requests, ended):
        scheduler.add(request)
    for request in requests:
        scheduler.ask(request)
    assert len(scheduler.grant(0.0)) == 4
    for _ in range(20):
        costs.observe(Cost("e0", "unet", SHAPE, 8, 8.0))
    scheduler.remove(ended, 0.5)
    assert scheduler.capacities.capacity(requests[0].work, "e0") < 4
    for request in requests:
        scheduler.returned(request, 1.0, 1.0)
    for request in requests:
        scheduler.ask(request)
    assert sorted(request.number for request in scheduler.grant(1.0)) == [request.number for request in requests]


def test_load_is_what_engines_work_for_and_what_waits_for_them() -> None:
    """By family; a request that has an engine, or needs none any more, does not wait."""
    scheduler = Scheduler(costs_of(FLAT))
    work = Work(seconds=10.0, model="unet", shape=SHAPE, rows=2, max_rows=8)
    requests = [
        ScheduledRequest(family, Priority.NORMAL, 0.0, work, lambda: ["e0"], 0.0, family=family)
        for family in ("sdxl", "sdxl", "sd15")
    ]

    def load() -> dict[str, tuple[int, float]]:
        return {family: (each.working, each.waiting_seconds) for family, each in scheduler.load().items()}

    for request in requests:
        scheduler.add(request)
    assert load() == {"sdxl": (0, 20.0), "sd15": (0, 10.0)}, "nobody has asked for an engine yet, and all will"
    for request in requests:
        scheduler.ask(request)
    (first,) = scheduler.grant(0.0)
    assert sum(working for working, _ in load().values()) == 1
    assert sum(seconds for _, seconds in load().values()) == 20.0
    scheduler.returned(first, 4.0, 4.0)
    assert load()[first.family][0] == 1, "its engine is held for its next call"
    scheduler.release(first, 4.1)
    assert sum(seconds for _, seconds in load().values()) == 20.0, "it writes its file"
    for request in requests:
        scheduler.remove(request, 5.0)
    assert load() == {}
