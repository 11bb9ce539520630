"""The connections that the whole process shares."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import structlog
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from orchestrator.database.urls import with_options
from orchestrator.errors import DatabaseUnavailableError

log = structlog.get_logger()

Connection = psycopg.AsyncConnection[DictRow]
Row = Mapping[str, Any]
"""A row: each column has the type that the schema gives it."""
Pool = AsyncConnectionPool[Connection]

RECONNECT_SECONDS = 5.0
"""For which a pool tries to connect again by itself, less and less often; after that each caller tries again."""

WAIT_SECONDS = 10.0
"""For a connection, before a call fails because the database is unreachable."""


class Database:
    """A pool of connections. Rows come as dictionaries.

    Connections are in autocommit mode: a statement alone is a transaction, and one round trip instead of three.
    """

    def __init__(self, url: str, max_connections: int = 10) -> None:
        """Nothing is opened yet; `url` is a postgresql:// URL.

        Raises:
            SettingsError: the URL cannot be read.
        """
        self.url = url
        self.pool: Pool = AsyncConnectionPool(
            with_options(url),
            connection_class=psycopg.AsyncConnection[DictRow],
            kwargs={"row_factory": dict_row, "autocommit": True},
            min_size=2,
            max_size=max_connections,
            timeout=WAIT_SECONDS,
            reconnect_timeout=RECONNECT_SECONDS,
            open=False,
            check=AsyncConnectionPool.check_connection,
        )

    async def open(self) -> None:
        """Begin to connect, without waiting for it."""
        await self.pool.open(wait=False)

    async def close(self) -> None:
        """Close all connections."""
        await self.pool.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection in a transaction of its own: committed at the end, rolled back if anything is raised.

        Raises:
            DatabaseUnavailableError: the database cannot be reached, or was lost meanwhile. Whether the transaction
                was committed is then unknown.
        """
        async with self._connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def pipelined(self) -> AsyncIterator[Connection]:
        """As transaction, in the protocol's pipeline mode: a statement waits for its answer only where that is fetched.

        Raises:
            DatabaseUnavailableError: as transaction.
        """
        async with self._connection() as connection, connection.pipeline():
            await connection.execute("BEGIN")  # transaction() would wait for its answer; the pool commits or rolls back
            yield connection

    async def run(self, sql: str, parameters: Mapping[str, object] | None = None) -> Sequence[Row]:
        """Run one statement as a transaction of its own. Answers its rows, none where it has none.

        Raises:
            DatabaseUnavailableError: as transaction.
        """
        async with self._connection() as connection:
            cursor = await connection.execute(sql, parameters)
            return await cursor.fetchall() if cursor.description else []

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        try:
            async with self.pool.connection() as connection:
                yield connection
        except (psycopg.OperationalError, PoolTimeout) as error:
            log.warning("database_unavailable", error=str(error))
            raise DatabaseUnavailableError("the job database does not answer") from error
