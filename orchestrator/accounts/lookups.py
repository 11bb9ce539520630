"""Keys are looked up in the database: one statement at a time, for everybody who waits.

So a flood of unknown keys costs one statement after another, however many come, and those who bring a right one wait
for two of them at most.
"""

import asyncio
import contextvars
from collections.abc import Sequence

import structlog

from orchestrator.accounts.account import ANONYMOUS, COLUMNS, Account, to_account
from orchestrator.database.pool import Database, Row
from orchestrator.errors import DatabaseUnavailableError, QueueFullError

NOBODY = b""
"""Looked up where a call has no key: the account `anonymous`. No digest is empty."""

MAX_WAITING = 1024
"""Digests that may wait for the next statement."""
SECONDS = 5.0
"""For a statement, before the database counts as unreachable."""

_FIND = f"""
SELECT k.digest, {COLUMNS}, k.prefix AS key_prefix
FROM imagegen.api_keys k JOIN imagegen.accounts a ON a.id = k.account_id
WHERE k.digest = ANY(%(digests)s) AND k.revoked_at IS NULL AND NOT a.disabled
UNION ALL
SELECT ''::bytea, {COLUMNS}, NULL FROM imagegen.accounts a
WHERE a.name = '{ANONYMOUS}' AND NOT a.disabled AND ''::bytea = ANY(%(digests)s)
"""  # noqa: S608 - of constants

log = structlog.get_logger()

_Answer = Account | DatabaseUnavailableError | None


class Lookups:
    """Finds accounts by the digests of their keys."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[bytes, asyncio.Future[_Answer]] = {}
        self._flying: dict[bytes, asyncio.Future[_Answer]] = {}
        self._running: asyncio.Task[None] | None = None

    async def find(self, digest: bytes) -> Account | None:
        """The account of a digest, or of NOBODY; None if there is none, or it is disabled, or the key revoked.

        Raises:
            DatabaseUnavailableError: the database does not answer.
            QueueFullError: too many others are looked up.
        """
        future = self._flying.get(digest) or self._waiting.get(digest)
        if future is None:
            if len(self._waiting) >= MAX_WAITING:
                raise QueueFullError("too many keys are looked up at once")
            future = self._waiting[digest] = asyncio.get_running_loop().create_future()
            if self._running is None:
                self._running = asyncio.create_task(
                    self._run(),
                    name="look up keys",
                    context=contextvars.Context(),  # else it would log under the first one's request id
                )
        answer = await asyncio.shield(future)  # others wait for it, too
        if isinstance(answer, DatabaseUnavailableError):
            raise DatabaseUnavailableError(str(answer))  # each its own: a traceback grows with each raise
        return answer

    def forget(self) -> None:
        """Keys have changed: whoever comes from now on does not share the statement that runs."""
        self._flying = {}

    async def close(self) -> None:
        """Give up what is looked up."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        batch: dict[bytes, asyncio.Future[_Answer]] = {}
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, {}
                self._flying = batch
                answers = await self._ask(list(batch))
                for digest, future in batch.items():
                    future.set_result(answers if isinstance(answers, DatabaseUnavailableError) else answers.get(digest))
        finally:
            for future in (*batch.values(), *self._waiting.values()):
                future.cancel()  # where it was closed; else all have their answer
            self._flying = {}
            self._running = None

    async def _ask(self, digests: Sequence[bytes]) -> dict[bytes, Account] | DatabaseUnavailableError:
        try:
            async with asyncio.timeout(SECONDS):
                rows = await self._database.run(_FIND, {"digests": digests})
        except TimeoutError:
            return DatabaseUnavailableError("the database of accounts does not answer")
        except DatabaseUnavailableError as error:
            return error
        except Exception:  # a database that is not migrated: whoever waits gets the error, whatever it was
            log.exception("looking_up_keys_failed")
            return DatabaseUnavailableError("the database of accounts does not answer")
        return dict(map(_to_pair, rows))


def _to_pair(row: Row) -> tuple[bytes, Account]:
    return bytes(row["digest"]), to_account(row)
