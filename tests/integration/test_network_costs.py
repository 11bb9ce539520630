"""Measured costs: of a real Triton, kept in a real database, known again after a restart."""

import asyncio
from pathlib import Path

from orchestrator.database.cost_store import CostKeeper
from orchestrator.database.pool import Database
from orchestrator.scheduling.costs import Cost, CostModel
from tests.database import new_url
from tests.integration.stack import serving, settings, text_to_image


async def test_networks_are_measured_at_the_start_and_known_after_a_restart(tiny_triton: int, tmp_path: Path) -> None:
    config = settings(tiny_triton, tmp_path, measure_seconds=20)
    engine = f"127.0.0.1:{tiny_triton}"
    async with serving(config) as (orchestrator, client):
        await client.generate(text_to_image(steps=2))
        async with asyncio.timeout(60):
            while len(known := orchestrator._costs._models.get("tiny_unet", {}).get(engine, {})) < 1 or any(  # noqa: ASYNC110  # what is waited for has no event
                len(by_rows) < 2 for by_rows in known.values()
            ):
                await asyncio.sleep(0.05)
        before = dict(orchestrator._costs._models["tiny_unet"][engine])
    async with serving(settings(tiny_triton, tmp_path, database_url=config.database_url)) as (again, _):
        await again._keeper.loaded(20)
        after = again._costs._models["tiny_unet"][engine]
        assert {shape: set(rows) for shape, rows in before.items()}.items() <= {
            shape: set(rows) for shape, rows in after.items()
        }.items()


async def test_what_changed_is_written_over_what_was_stored() -> None:
    database = Database(new_url())
    await database.open()
    costs = CostModel()
    keeper = CostKeeper(database, costs)
    cost = Cost("127.0.0.1:8001", "unet", (4, 64, 64), 2, 1.5)
    costs.observe(cost)
    await keeper.save()
    for _ in range(3):
        costs.observe(Cost("127.0.0.1:8001", "unet", (4, 64, 64), 2, 0.5))
    await keeper.save()
    again = CostModel()
    await CostKeeper(database, again).load()
    assert again.seconds("unet", (4, 64, 64), 2) == 0.5
    await database.close()
