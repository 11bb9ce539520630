"""Versioned changes of the schema: applied in order, once, by whoever comes first."""

import hashlib
import re
from pathlib import Path

import psycopg
import stamina
import structlog

from common.errors import SettingsError
from orchestrator.database.urls import with_options
from orchestrator.errors import DatabaseUnavailableError

log = structlog.get_logger()

LOCK = 0x696D6167  # "imag": of pg_advisory_xact_lock, so that two do not migrate at once

_FOLDER = Path(__file__).parent / "migrations"
_NAME = re.compile(r"\d{4}_[a-z0-9_]+")
_ADVICE = "run `python -m orchestrator migrate`"
_NOTES = """
CREATE SCHEMA IF NOT EXISTS imagegen;
CREATE TABLE IF NOT EXISTS imagegen.migrations (
    name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
)
"""


def list_migrations() -> dict[str, str]:
    """SQL of all migrations by name, in order."""
    ours = sorted(each for each in _FOLDER.glob("*.sql") if _NAME.fullmatch(each.stem))
    return {each.stem: each.read_text("utf-8") for each in ours}


def migrate(url: str) -> list[str]:
    """Apply what is not applied yet; all of it or nothing.

    Returns:
        The names of those that were applied now.

    Raises:
        SettingsError: the database cannot be reached, or a migration was changed after it had been applied.
    """
    conninfo = with_options(url)
    try:
        with psycopg.connect(conninfo) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            connection.execute(_NOTES)
            noted: dict[str, str] = dict(connection.execute("SELECT name, sha256 FROM imagegen.migrations").fetchall())
            missing = find_missing(noted)
            for name, sql in missing.items():
                connection.execute(sql.encode())
                connection.execute(
                    "INSERT INTO imagegen.migrations (name, sha256) VALUES (%s, %s)", (name, _digest(sql))
                )
    except psycopg.Error as error:
        raise SettingsError(f"IMAGEGEN_DATABASE_URL: {error}") from error
    return list(missing)


async def check(url: str) -> None:
    """Check that the database has every migration that is known here.

    It may have more: those of a newer version that is being rolled out.

    Raises:
        SettingsError: it has not, or one was changed.
        DatabaseUnavailableError: it does not answer.
    """
    try:
        async with await psycopg.AsyncConnection.connect(with_options(url), autocommit=True) as connection:
            cursor = await connection.execute("SELECT name, sha256 FROM imagegen.migrations")
            missing = find_missing(dict(await cursor.fetchall()))
    except psycopg.errors.UndefinedTable:
        raise SettingsError(f"the database is empty: {_ADVICE}") from None
    except psycopg.OperationalError as error:
        log.warning("database_unavailable", error=str(error))
        raise DatabaseUnavailableError("the job database does not answer") from error
    if missing:
        raise SettingsError(f"the database lacks migrations ({', '.join(missing)}): {_ADVICE}")


async def check_when_there(url: str) -> None:
    """Wait until the database answers, and check it.

    Raises:
        SettingsError: as check.
    """
    retrying = stamina.retry_context(
        on=DatabaseUnavailableError, attempts=None, timeout=None, wait_initial=0.2, wait_max=2.0, wait_jitter=0.2
    )
    async for attempt in retrying:
        with attempt:
            await check(url)


def find_missing(noted: dict[str, str]) -> dict[str, str]:
    """Migrations that are not among the noted ones (name to SHA-256).

    Raises:
        SettingsError: one has another digest than noted.
    """
    known = list_migrations()
    for name, sql in known.items():
        if noted.get(name, _digest(sql)) != _digest(sql):
            raise SettingsError(f"migration {name} was changed after it had been applied")
    return {name: sql for name, sql in known.items() if name not in noted}


def _digest(sql: str) -> str:
    return hashlib.sha256(sql.encode()).hexdigest()
