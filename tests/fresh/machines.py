"""A machine: a system's root with a writable layer, in namespaces of its own, thrown away afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.fresh import wheels

_SETUP = """
set -e
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$BASE/upper,workdir=$BASE/work" "$BASE/root"
cd "$BASE/root"
mount -t proc proc proc
mount -t tmpfs -o mode=755 dev dev
for device in null zero full random urandom tty; do touch dev/$device; mount --bind /dev/$device dev/$device; done
ln -s /proc/self/fd dev/fd
mkdir dev/shm dev/pts
mount -t tmpfs -o "mode=1777,size=$SHM" shm dev/shm
mkdir -p packages source
mount --bind "$PACKAGES" packages; mount -o remount,ro,bind packages
mount --bind "$SOURCE" source; mount -o remount,ro,bind source
ip link set lo up
touch "$BASE/ready"
exec sleep infinity
"""
_START_SECONDS = 60


@dataclass
class Machine:
    """A machine that runs.

    Attributes:
        folder: its layer's, outside of it.
        pid: a process inside, whose namespaces are the machine's.
        environment: variables of each command.
        group: a control group that commands are run in; None: the caller's.
    """

    folder: Path
    pid: int
    environment: dict[str, str] = field(default_factory=dict)
    group: Path | None = None

    def start(
        self, script: str, user: str = "root", variables: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a line of shell as a user, with a login's plain environment; what it prints goes to one pipe."""
        home = "/root" if user == "root" else f"/home/{user}"
        plain = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": home, "USER": user}
        plain |= {**wheels.variables(), **self.environment, **(variables or {})}
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--net", "--ipc"]
        change = ["chroot", str(self.folder / "root"), "setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        command = [
            *enter,
            *change,
            "env",
            "-i",
            *(f"{name}={value}" for name, value in plain.items()),
            "bash",
            "-c",
            script,
        ]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=self._join_group if self.group else None,  # noqa: PLW1509 - no thread here
        )

    def run(
        self, script: str, user: str = "root", variables: Mapping[str, str] | None = None, seconds: float = 600
    ) -> tuple[int, str]:
        """Run a line of shell; returns its exit status and what it printed."""
        with self.start(script, user, variables) as process:
            try:
                output, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                output, _ = process.communicate()
                return 124, output
        return process.returncode, output

    def list_programs(self) -> dict[int, str]:
        """Return the command lines of the machine's programs, by their process ids outside of it."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended meanwhile
                if (process / "ns/pid").readlink() == Path(f"/proc/{self.pid}/ns/pid").readlink():
                    words = (process / "cmdline").read_bytes().decode("utf-8", "replace")  # empty of what has ended
                    found[int(process.name)] = words.replace("\0", " ").strip()
        return {pid: command for pid, command in found.items() if command}

    def _join_group(self) -> None:
        (self.group / "cgroup.procs").write_text(str(os.getpid()))  # type: ignore[operator]  # there is one


@contextmanager
def running(lower: Path, work: Path, packages: Path, source: Path, shm: str = "1g") -> Iterator[Machine]:
    """Run a machine for the length of a `with` block; everything in it is killed and removed afterwards.

    Args:
        lower: root of the system.
        work: folder for the layer.
        packages: seen as /packages, read-only.
        source: a bare repository, seen as /source, read-only.
        shm: size of /dev/shm, as mount takes it.
    """
    base = work / f"machine-{os.getpid()}-{time.monotonic_ns()}"
    for name in ("upper", "work", "root"):
        (base / name).mkdir(parents=True)
    environment = {**os.environ, "BASE": str(base), "LOWER": str(lower), "SHM": shm}
    environment |= {"PACKAGES": str(packages), "SOURCE": str(source)}
    unshare = ["unshare", "--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child", "sh", "-c", _SETUP]
    log = (base / "log").open("w")
    holder = subprocess.Popen(unshare, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not (base / "ready").exists():
            assert holder.poll() is None, (base / "log").read_text()
            assert time.monotonic() < deadline, "the machine did not start"
            time.sleep(0.05)
        yield Machine(base, _find_child(holder.pid))
    finally:
        holder.kill()
        holder.wait()
        log.close()
        shutil.rmtree(base, ignore_errors=True)


def _find_child(parent: int) -> int:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[1]) == parent:
            return int(stat.parent.name)
    raise AssertionError("the machine has no process")
