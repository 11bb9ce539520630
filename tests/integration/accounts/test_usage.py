"""What accounts used: counted by a service that runs, kept in the database, reported by the operator's command."""

import asyncio
import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from imagegen.v1 import generation_pb2 as pb
from orchestrator.accounts.engine_usage import EngineUsage
from orchestrator.database.pool import Database
from tests import operator_commands
from tests.accounts import new_key
from tests.integration.stack import metrics, serving, settings, text_to_image


def command(url: str, *arguments: str, status: int = 0) -> str:
    """What `python -m orchestrator usage` prints; its errors where it fails."""
    done = operator_commands.run("usage", *arguments, IMAGEGEN_DATABASE_URL=url)
    assert done.returncode == status, done.stderr
    return done.stderr if status else done.stdout


async def test_tritons_seconds_of_each_account_are_counted_with_and_without_a_picture(
    tiny_triton: int, tmp_path: Path
) -> None:
    config = settings(tiny_triton, tmp_path, anonymous=False)
    keys = {name: {"x-api-key": await new_key(config.database_url, name)} for name in ("ada", "bob")}
    small = pb.Size(width=64, height=64)
    async with serving(config) as (orchestrator, client):
        await asyncio.gather(
            client.generate(text_to_image(steps=4, size=small), keys["ada"]),
            client.generate(text_to_image(steps=8, size=small, seed=1), keys["bob"]),
        )
        calling = client.generation.Generate(text_to_image(steps=150, size=small), metadata=tuple(keys["bob"].items()))
        async for event in calling:
            if event.HasField("progress") and event.progress.step >= 2:
                calling.cancel()
                break
        page = await metrics(orchestrator)
    rows = json.loads(command(config.database_url, "--by", "total", "--format", "json"))
    found = {row["account"]: row for row in rows}
    assert found.keys() == {"ada", "bob"}
    for row in found.values():
        assert row["family"] == "tiny"
        assert row["pictures"] == 1, "the one that was given up costs nothing, and kept a Triton busy"
        assert row["engine_seconds"].keys() == {f"127.0.0.1:{tiny_triton}"}
    seconds = {name: sum(row["engine_seconds"].values()) for name, row in found.items()}
    assert 0 < seconds["ada"] < seconds["bob"]
    (line,) = [each for each in page.splitlines() if each.startswith('imagegen_engine_seconds_total{account="ada"')]
    assert f'engines="127.0.0.1:{tiny_triton}",family="tiny"' in line
    assert float(line.split()[-1]) == pytest.approx(seconds["ada"], rel=1e-3)


async def test_what_the_database_did_not_take_is_written_later(database: Database) -> None:
    url, usage = database.url, EngineUsage(database)
    usage.add(1, "anonymous", "tiny", "large", 2.0)
    await usage.save()
    usage.add(1, "anonymous", "tiny", "large", 0.5)
    usage.add(1, "anonymous", "tiny", "small", 4.0)
    usage.add(2**40, "nobody", "tiny", "small", 4.0)
    with pytest.raises(Exception, match="engine_usage"):
        await usage.save()
    del usage._unsaved[next(key for key in usage._unsaved if key[0] == 2**40)]
    await usage.close()
    (row,) = json.loads(await asyncio.to_thread(command, url, "--by", "day", "--format", "json"))
    assert row["engine_seconds"] == {"large": 2.5, "small": 4.0}
    assert row["period"] == datetime.now(UTC).date().isoformat()


async def test_periods_accounts_and_formats(database: Database) -> None:
    await database.run("INSERT INTO imagegen.accounts (name) VALUES ('shop'), ('@formula')")
    await database.run(
        "INSERT INTO imagegen.usage SELECT name || n, id, 'edit', 'sdxl', 0.25, '2026-01-30T23:30Z'::timestamptz"
        " + n * interval '1 hour' FROM imagegen.accounts, generate_series(0, 2) n WHERE name <> 'anonymous'"
    )
    await database.run(
        "INSERT INTO imagegen.engine_usage SELECT id, '2026-01-30T23:00Z'::timestamptz + n * interval '1 hour', 'sdxl',"
        " 'large', 1.5 FROM imagegen.accounts, generate_series(0, 2) n WHERE name = 'shop'"
    )

    async def read(*arguments: str) -> list[dict[str, str]]:
        text = await asyncio.to_thread(command, database.url, *arguments, "--format", "csv")
        return list(csv.DictReader(io.StringIO(text)))

    days = await read("--account", "shop", "--by", "day")
    assert [(row["period"], row["pictures"], row["credits"], row["engine_seconds"]) for row in days] == [
        ("2026-01-30", "1", "0.250", "1.500"),
        ("2026-01-31", "2", "0.500", "3.000"),
    ]
    assert days[1]["engine_seconds large"] == "3.000"
    (month,) = await read("--account", "shop")
    assert (month["period"], month["pictures"]) == ("2026-01", "3")
    hours = await read("--account", "shop", "--by", "hour", "--since", "2026-01-31", "--until", "2026-01-31T01:00Z")
    assert [(row["period"], row["pictures"], row["engine_seconds"]) for row in hours] == [
        ("2026-01-31T00:00Z", "1", "1.500")
    ]
    everybody = await read("--by", "total")
    assert [row["account"] for row in everybody] == ["'@formula", "shop"], "no spreadsheet computes a name"
    assert everybody[0]["engine_seconds"] == "0.000"
    table = await asyncio.to_thread(command, database.url, "--by", "total")
    assert table.splitlines()[0].split() == ["period", "account", "family", "pictures", "credits", "engine", "seconds"]
    wrong = await asyncio.to_thread(command, database.url, "--account", "nobody", status=1)
    assert "there is no account nobody" in wrong


async def test_a_refused_call_costs_nobody_anything(tiny_triton: int, tmp_path: Path) -> None:
    config = settings(tiny_triton, tmp_path)
    async with serving(config) as (_, client):
        with pytest.raises(grpc.aio.AioRpcError):
            await client.generate(text_to_image(family="none"))
    assert json.loads(await asyncio.to_thread(command, config.database_url, "--format", "json")) == []
