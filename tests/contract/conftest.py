"""A gateway for each module; each test starts with a fresh script."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.contract import rest_stack
from tests.contract.rest_fake import Script
from tests.contract.rest_stack import Stack


@pytest.fixture(scope="module")
def wait_seconds() -> float:
    """How long process_result waits. Short; a module that has time overrides it."""
    return 0.5


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="running")
async def _running(wait_seconds: float) -> AsyncIterator[Stack]:
    settings = {
        "rest_wait_seconds": wait_seconds,
        "rest_retry_seconds": 0.2,
        "rest_max_body_bytes": rest_stack.MAX_BODY_BYTES,
    }
    async with rest_stack.stack(**settings) as running:
        yield running


@pytest.fixture
def stack(running: Stack) -> Stack:
    """The module's gateway, nothing seen and nothing refused yet."""
    running.jobs.script = Script()
    return running
