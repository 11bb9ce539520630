"""What the tests of the result store have in common."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.database.pool import Database
from orchestrator.params import ImageFormat
from orchestrator.results.buckets import Bucket
from orchestrator.results.store import ResultStore, Stored
from tests.integration.results.s3 import Server

URL = "http://pictures.example"
PICTURE = b"\x89PNG" + bytes(range(256)) * 1000
DIGEST = hashlib.sha256(PICTURE).digest()


@dataclass(frozen=True)
class StoreHarness:
    """A store, and what is under it."""

    database: Database
    bucket: Bucket
    store: ResultStore
    where: Path | Server

    @property
    def account(self) -> int:
        """The account of everybody."""
        return 1

    def lying(self) -> list[str]:
        """Names of all files, or objects, that lie there, in order."""
        if isinstance(self.where, Path):
            return sorted(path.name for path in self.where.rglob("*") if path.is_file())
        return sorted(key.removeprefix("made/here/") for key in self.where.list_keys())

    async def rows(self) -> list[dict[str, Any]]:
        """All rows of the results."""
        return [dict(row) for row in await self.database.run("SELECT * FROM imagegen.results ORDER BY created_at")]

    async def note(self, job: str | None = None) -> str:
        """A noted picture."""
        async with self.database.transaction() as connection:
            return await self.store.note(connection, self.account, job, ImageFormat.PNG)

    async def write(self, data: bytes = PICTURE) -> str:
        """A stored picture."""
        return (await self.store.write(self.account, data, ImageFormat.PNG)).name

    async def age(self, seconds: float, *names: str) -> None:
        """Let time go by for some pictures, or for all."""
        sql = """
            UPDATE imagegen.results
            SET expires_at = expires_at - make_interval(secs => %(s)s),
                created_at = created_at - make_interval(secs => %(s)s)
            WHERE name = ANY(%(names)s) OR %(all)s"""
        await self.database.run(sql, {"s": seconds, "names": list(names), "all": not names})

    async def job(self, name: str, state: str) -> None:
        """A job of this id, in a state."""
        sql = """
            INSERT INTO imagegen.jobs (id, account_id, request_id, request_digest, task, family, seed, state, priority,
                rank, tag, cost, price)
            VALUES (%(id)s, 1, 'r', '', 'edit', 'f', 1, %(state)s, 'normal', 0, 0, 1, 0)"""
        await self.database.run(sql, {"id": name, "state": state})


async def read(stored: Stored) -> bytes:
    """All bytes of a picture."""
    return b"".join([chunk async for chunk in stored.chunks])
