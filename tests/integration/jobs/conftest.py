"""A job store on a database of its own, with procrastinate's real queue behind it."""

from collections.abc import AsyncIterator

import pytest

from tests.database import new_url
from tests.integration.jobs.bench import Bench


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A store, its database, and a queue to fetch from."""
    async with Bench.open(new_url()) as opened:
        yield opened
