"""A job store on a database of its own."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.jobs.bench import Bench


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A store and its database."""
    async with Bench.open() as opened:
        yield opened
