"""`make test-postgres`: the tests that need a database, on the PostgreSQL of Debian's package instead of the wheel's.

The server's data lie in a temporary folder; it listens on 127.0.0.1 only and ends with the tests. Root's runs as the
user `postgres`, whom the package made.
"""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import stamina
from psycopg import sql

from local.settings import Ports
from tests.database import FAST, SERVER

TESTS = (
    "tests/integration/jobs",
    *(
        f"tests/integration/accounts/test_{name}.py"
        for name in ("authentication", "leases", "limits", "presets", "rate")
    ),
    *(f"tests/integration/results/test_{name}.py" for name in ("command", "quota", "storages", "store")),
)
"""Those whose statements are the point. What others ask of the database, these ask, too."""
WORKERS = ("-n", "2", "--dist", "loadfile")
START_SECONDS = 60.0


def find_programs() -> Path:
    """Folder of the newest PostgreSQL that Debian's packages have installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        sys.exit("Debian's PostgreSQL is not here: apt-get install postgresql")
    return found[-1].parent


@contextmanager
def running(programs: Path) -> Iterator[str]:
    """A server; gives the URL of a role that may make databases."""
    with tempfile.TemporaryDirectory(prefix="imagegen-debian-") as name:
        folder, password = Path(name), secrets.token_urlsafe()
        secret = folder / "password"
        secret.write_text(password)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
            shutil.chown(secret, "postgres")
        port, data = Ports.free().postgres, str(folder / "data")
        made = [str(programs / "initdb"), "-D", data, "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={secret}"]
        subprocess.run(
            as_owner([*made, "--encoding=UTF8", "--no-locale"]), check=True, stdout=subprocess.DEVNULL, cwd="/"
        )
        options = {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": "", **FAST}
        chosen = [argument for key, value in options.items() for argument in ("-c", f"{key}={value}")]
        with (Path(tempfile.gettempdir()) / "imagegen-debian-postgres.log").open("wb") as log:
            server = subprocess.Popen(
                as_owner([str(programs / "postgres"), "-D", data, *chosen]), stdout=log, stderr=log, cwd="/"
            )
        try:
            yield make_role(f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres", secrets.token_urlsafe())
        finally:
            server.terminate()
            server.wait()


def as_owner(command: list[str]) -> list[str]:
    """The command as somebody who is not root."""
    if os.geteuid():
        return command
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--", *command]


@stamina.retry(on=psycopg.OperationalError, attempts=None, timeout=START_SECONDS, wait_initial=0.05, wait_max=0.2)
def make_role(url: str, password: str) -> str:
    """A role as an operator would make it, and its database; its URL."""
    with psycopg.connect(url, autocommit=True) as connection:
        make = sql.SQL("CREATE ROLE imagegen LOGIN CREATEDB PASSWORD {}")
        connection.execute(make.format(sql.Literal(password)))
        connection.execute("CREATE DATABASE imagegen OWNER imagegen")
        version = connection.info.server_version
    sys.stdout.write(f"PostgreSQL {version // 10000}.{version % 10000} of Debian\n")
    address = url.rpartition("@")[2].partition("/")[0]
    return f"postgresql://imagegen:{password}@{address}/imagegen"


def main() -> int:
    """Run the tests; answers their exit status."""
    command = [sys.executable, "-m", "pytest", "-q", *WORKERS, *(sys.argv[1:] or TESTS)]
    with running(find_programs()) as url:
        return subprocess.run(command, env={**os.environ, SERVER: url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
