"""Databases for tests: fresh and migrated, on a PostgreSQL that each test process starts for itself, or on a given one.

IMAGEGEN_TEST_DATABASE_URL names a server for them, by the URL of a database on it whose role may make others. Else the
embedded PostgreSQL is started under a temporary folder, once, and stopped when the process ends. It does not wait for
the disk (fsync off): what survives a crash of the machine is nothing that a test could see.
"""

import atexit
import contextlib
import functools
import itertools
import os
import shutil
import tempfile
from pathlib import Path

import psycopg
from psycopg import sql

from local import postgres
from orchestrator.database.migrate import migrate

SERVER = "IMAGEGEN_TEST_DATABASE_URL"

FAST = {"fsync": "off", "full_page_writes": "off", "max_connections": "400", "shared_buffers": "32MB"}
"""Options of a PostgreSQL for tests."""

_numbers = itertools.count(1)
_ending = contextlib.ExitStack()
atexit.register(_ending.close)


def new_url() -> str:
    """URL of a fresh, migrated database; gone with the server, or when this process ends."""
    return _make(_template())


def new_empty_url() -> str:
    """URL of a fresh database that is not migrated."""
    return _make("template0")


@functools.cache
def server_url() -> str:
    """URL of the server's first database."""
    if given := os.environ.get(SERVER):
        return given
    folder = Path(tempfile.mkdtemp(prefix="imagegen-test-"))
    _ending.callback(shutil.rmtree, folder)
    folder.chmod(0o711)  # where root runs the tests, PostgreSQL runs as another user
    settings, _ = _ending.enter_context(postgres.running(folder, options=FAST))
    return postgres.read_url(settings)


@functools.cache
def _template() -> str:
    """Name of a migrated database to be copied."""
    url = new_empty_url()
    migrate(url)
    return url.partition("?")[0].rpartition("/")[2]


def _make(template: str) -> str:
    """Copy a database; dropped at the end where the server is not ours."""
    server = server_url()
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(copy.format(sql.Identifier(name), sql.Identifier(template)))
    if SERVER in os.environ:
        _ending.callback(_drop, server, name)
    address, question, options = server.partition("?")
    return f"{address.rpartition('/')[0]}/{name}{question}{options}"


def _drop(server: str, name: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
