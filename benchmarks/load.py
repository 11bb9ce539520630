"""Clients: each asks for a picture, waits for it, and asks for the next."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Request = Callable[[int], Awaitable[None]]
"""Asks for the picture of a seed and returns when its bytes are there."""


@dataclass(frozen=True, slots=True)
class Run:
    """What some clients measured.

    Attributes:
        clients: that asked at once.
        seconds: wall time from the first request to the last answer.
        latencies: wall time of each picture, seconds, in the order in which they came back.
    """

    clients: int
    seconds: float
    latencies: tuple[float, ...]


async def run_clients(request: Request, clients: int, images: int) -> Run:
    """Ask for `images` pictures, seeds 1 to `images`, from `clients` clients at once.

    Raises:
        What a request raises; the other clients are then stopped.
    """
    seeds = iter(range(1, images + 1))
    latencies: list[float] = []

    async def client() -> None:
        for seed in seeds:  # shared by all: whoever is free takes the next
            start = time.perf_counter()
            await request(seed)
            latencies.append(time.perf_counter() - start)

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    return Run(clients, time.perf_counter() - start, tuple(latencies))
