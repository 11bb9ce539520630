"""Clients share the seeds, and a failure ends them all."""

import asyncio

import pytest

from benchmarks.load import run_clients


async def test_every_seed_is_asked_for_once_by_the_given_number_of_clients() -> None:
    seeds: list[int] = []
    running, most = 0, 0

    async def request(seed: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        seeds.append(seed)

    run = await run_clients(request, clients=3, images=7)
    assert sorted(seeds) == [1, 2, 3, 4, 5, 6, 7]
    assert (most, run.clients, len(run.latencies)) == (3, 3, 7)
    assert run.seconds >= max(run.latencies)


async def test_a_failed_request_stops_the_others() -> None:
    async def request(seed: int) -> None:
        if seed == 2:
            raise RuntimeError("no picture")
        await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        await run_clients(request, clients=2, images=4)
    assert caught.group_contains(RuntimeError, match="no picture")
