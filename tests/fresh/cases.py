"""The cases: each a way in which a new user's machine differs from ours."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.fresh.machines import Machine

PNG = "89504e470d0a1a0a"
_PROGRAMS = ("tritonserver", "supervisor", "-m orchestrator", "-m gateway", "bin/postgres")
_NOBODY = "http://127.0.0.1:9"
_PROXY = {"http_proxy": _NOBODY, "HTTP_PROXY": _NOBODY, "https_proxy": _NOBODY, "no_proxy": "intranet"}
PORTS = (8080, 50051, 9090, 8000, 8001, 8002, 5433)
_TAKE_PORTS = (
    'python3 -c \'import socket, time, sys; all = [socket.create_server(("127.0.0.1", int(p))) for p in sys.argv[1:]]; '
    'open("/tmp/taken", "w"); time.sleep(3600)\' '
)


@dataclass
class Result:
    """What a case has shown.

    Attributes:
        ok: whether everything was as it must be.
        text: what was not; with the output's end.
        first_picture: seconds from the first command to the first picture, installing included.
        disk_mb: of both environments.
    """

    ok: bool = True
    text: str = ""
    first_picture: float = 0.0
    disk_mb: int = 0


class FailedError(Exception):
    """A case found something wrong."""


@dataclass
class Clone:
    """A clone of the source in a machine, and the user who works in it.

    Attributes:
        machine: where.
        folder: of the clone.
        user: who.
        umask: of the user's shell.
        variables: of the user's shell.
        result: filled by what is done.
    """

    machine: Machine
    folder: str
    user: str = "root"
    umask: str = "022"
    variables: dict[str, str] = field(default_factory=dict)
    result: Result = field(default_factory=Result)

    def __post_init__(self) -> None:
        """Clone, by README's line."""
        parent = shlex.quote(str(Path(self.folder).parent))
        self.shell(f"mkdir -p {parent} && git clone -q --depth 1 file:///source {shlex.quote(self.folder)}", where="/")

    def shell(self, script: str, *, status: int = 0, where: str | None = None, seconds: float = 900) -> str:
        """Run a line of shell in the clone; returns what it printed.

        Raises:
            FailedError: its exit status is another.
        """
        line = f"umask {self.umask}; cd {shlex.quote(where or self.folder)} && {script}"
        found, output = self.machine.run(line, self.user, self.variables, seconds)
        if found != status:
            raise FailedError(f"`{script}` ended with {found}, not {status}:\n{output[-3000:]}")
        return output

    def draw(self) -> str:
        """`make up`, and the curl line that it prints; returns what it printed."""
        started = time.monotonic()
        output = self.shell("make up")
        line = next((line for line in output.splitlines() if line.startswith("curl ")), "")
        home = "/root" if self.user == "root" else f"/home/{self.user}"
        self.shell(line, where=home)
        self.result.first_picture = self.result.first_picture or time.monotonic() - started
        kind = self.shell(f"head -c 8 {home}/apple.png | od -An -tx1 | tr -d ' \\n'; rm {home}/apple.png", where="/")
        if kind != PNG:
            raise FailedError(f"the curl line saved no PNG: {kind}\n{output[-2000:]}")
        return output

    def measure(self, home: str | None = None) -> None:
        """Note the disk space of the environments.

        Raises:
            FailedError: it is more than was promised.
        """
        folder = shlex.quote(home or self.folder)
        self.result.disk_mb = int(self.shell(f"du -smc {folder}/.venv {folder}/.triton | tail -1 | cut -f1", where="/"))
        if self.result.disk_mb >= 700:
            raise FailedError(f"the environments take {self.result.disk_mb} MB")

    def down(self) -> None:
        """`make down`, and nothing of the stack is left.

        Raises:
            FailedError: something still runs.
        """
        self.shell("make down")
        programs = self.machine.list_programs().values()
        if left := [each for each in programs if any(name in each for name in _PROGRAMS)]:
            raise FailedError("left after `make down`:\n" + "\n".join(left))


def _simple(
    folder: str, user: str = "root", umask: str = "022", variables: dict[str, str] | None = None
) -> Callable[[Machine], Result]:
    def case(machine: Machine) -> Result:
        clone = Clone(machine, folder, user, umask, variables or {})
        clone.shell("make doctor")
        clone.draw()
        clone.measure()
        clone.down()
        return clone.result

    return case


def run_demo(machine: Machine) -> Result:
    """As root in /root, mode 0700: the whole demo, and then the service, as README has it."""
    machine.run("chmod 700 /root")
    clone = Clone(machine, "/root/imagegen")
    started = time.monotonic()
    with machine.start("cd /root/imagegen && make demo") as demo:
        while demo.poll() is None and not clone.result.first_picture:
            if list((machine.folder / "upper/root/imagegen/demo").glob("*.png")):
                clone.result.first_picture = time.monotonic() - started
            time.sleep(0.1)
        output, _ = demo.communicate(timeout=900)
    if demo.returncode or "contact_sheet.png" not in output or "Next: `make up`" not in output:
        raise FailedError(output[-3000:])
    if not re.search(r"Installing \d+ packages into \.venv and \.triton, once: about \d+ MB to download", output):
        raise FailedError(f"time and disk were not said beforehand:\n{output[:1000]}")
    count = int(clone.shell("ls demo/*.png | wc -l"))
    if count != 22:
        raise FailedError(f"{count} pictures in demo/")
    clone.measure()
    clone.draw()
    clone.down()
    if clone.shell("stat -c %a /root").strip() != "700":
        raise FailedError("/root was opened to others")
    return clone.result


def read_only(machine: Machine) -> Result:
    """The source folder cannot be written: everything goes into the user's home."""
    clone = Clone(machine, "/srv/imagegen")
    machine.run("mount --bind /srv/imagegen /srv/imagegen && mount -o remount,ro,bind /srv/imagegen")
    clone.user = "someone"
    clone.shell("! touch /srv/imagegen/x 2> /dev/null")
    clone.draw()
    clone.measure(clone.shell("echo ~/.local/share/imagegen/*").strip())
    clone.down()
    return clone.result


def take_ports(machine: Machine) -> Result:
    """All default ports are taken: others are used and printed; one that was asked for is an error."""
    with machine.start(_TAKE_PORTS + " ".join(map(str, PORTS))) as other:
        clone = Clone(machine, "/home/someone/imagegen", "someone")
        clone.shell("until [ -e /tmp/taken ]; do sleep 0.1; done")
        output = clone.draw()
        for port in PORTS:
            if f"port {port} is in use by" not in output:
                raise FailedError(f"nothing was printed about port {port}:\n{output}")
        if set(clone.shell("make status").split()[1::2]) != {"ready"}:
            raise FailedError("`make status` does not find the stack")
        clone.down()
        refused = clone.shell("IMAGEGEN_REST_PORT=8080 make up", status=2)
        if not re.search(r"port 8080 is in use by .*: stop that program.*IMAGEGEN_REST_PORT", refused):
            raise FailedError(refused[-2000:])
        other.kill()
    return clone.result


def two_stacks(machine: Machine) -> Result:
    """Two clones, started at the same moment; each draws, and ending one leaves the other."""
    first, second = (Clone(machine, f"/home/someone/{name}", "someone") for name in ("one", "two"))
    for clone in (first, second):
        clone.shell("python3 -m local env")
    with machine.start("cd /home/someone/one && make up", "someone") as one:
        second.draw()
        output, _ = one.communicate(timeout=300)
    if one.returncode:
        raise FailedError(output[-3000:])
    first.draw()
    first.shell("make down")
    second.draw()
    second.down()
    return second.result


def interrupted(machine: Machine) -> Result:
    """`make demo` killed, and interrupted as by Ctrl+C, at several moments; then it is run to its end."""
    clone = Clone(machine, "/home/someone/imagegen", "someone")
    command = "cd ~/imagegen && exec setsid make demo"  # in a group of its own, as in a terminal
    for number, text in (
        (9, "Installing .venv: "),
        (2, "Installing .triton: "),
        (9, "Starting: 1/"),
        (2, "Starting: 2/"),
        (9, "Drawing: "),
    ):
        with machine.start(command, "someone") as demo:
            assert demo.stdout
            for line in demo.stdout:
                if line.startswith(text):
                    break
            (make,) = (pid for pid, command in machine.list_programs().items() if command == "make demo")
            os.killpg(make, number)
            try:
                demo.communicate(timeout=120)
            except subprocess.TimeoutExpired as error:
                demo.kill()
                running = "\n".join(machine.list_programs().values())
                raise FailedError(f"signal {number} at {text!r}: after two minutes these run:\n{running}") from error
    started = time.monotonic()
    output = clone.shell("make demo")
    clone.result.first_picture = time.monotonic() - started
    states = re.findall(r"^[a-z]+ +(ready|not ready|stopped)$", clone.shell("make status", status=2), re.MULTILINE)
    if set(states) != {"stopped"}:
        raise FailedError(f"something runs after the demo:\n{output[-2000:]}")
    clone.draw()
    clone.down()
    return clone.result


@contextmanager
def _limited(machine: Machine) -> Iterator[Callable[[], str]]:
    """Run a machine's commands within 4 GiB of memory, swap included; gives what reads how much they took."""
    group = Path("/sys/fs/cgroup/memory") / machine.folder.name
    group.mkdir()

    def read_peak() -> str:
        peak = int((group / "memory.max_usage_in_bytes").read_text()) >> 20
        killed = (group / "memory.oom_control").read_text().split("oom_kill ")[-1].strip()
        return f"at most {peak} MiB of memory with the page cache, {killed} programs killed for it"

    try:
        (group / "memory.limit_in_bytes").write_text(str(4 << 30))
        machine.group = group
        yield read_peak
    finally:
        machine.group = None
        for pid in (group / "cgroup.procs").read_text().split():
            (group.parent / "cgroup.procs").write_text(pid)
        group.rmdir()


def small(machine: Machine) -> Result:
    """Two cores and 4 GiB of memory."""
    with _limited(machine) as read_peak:
        result = _simple("/home/someone/imagegen", "someone")(machine)
        result.text = read_peak()
    return result


def _switch_off_ipv6(machine: Machine) -> None:
    machine.run("mount -t proc -o rw proc /proc; echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
    if machine.run("cat /proc/net/if_inet6")[1].strip():
        raise FailedError("IPv6 is still there")


def without_ipv6(machine: Machine) -> Result:
    """The kernel of the machine has no IPv6."""
    _switch_off_ipv6(machine)
    return _simple("/home/someone/imagegen", "someone")(machine)


def all_at_once(machine: Machine) -> Result:
    """What is odd on users' machines, together: where this passes, each of it does."""
    _switch_off_ipv6(machine)
    variables = {"TZ": "Pacific/Nowhere", "LC_ALL": "POSIX", **_PROXY}
    with _limited(machine) as read_peak:
        result = _simple("/home/someone/große Bilder ☃/image gen", "someone", "077", variables)(machine)
        result.text = read_peak()
    return result


@dataclass(frozen=True)
class Case:
    """One row of the matrix.

    Attributes:
        name: of the row.
        run: does it.
        everywhere: whether it runs on each system, or on Debian 12 alone.
        shm: size of /dev/shm.
    """

    name: str
    run: Callable[[Machine], Result]
    everywhere: bool = False
    shm: str = "1g"


CASES = [
    Case(
        "blanks and ☃ in the path, umask 077, no IPv6, odd time zone, POSIX locale, proxy, 4 GiB, all at once",
        all_at_once,
        everywhere=True,
        shm="64m",
    ),
    Case("root in /root (0700), demo and service", run_demo, everywhere=True),
    Case("plain user", _simple("/home/someone/imagegen", "someone"), everywhere=True),
    Case(
        "blanks and letters beyond ASCII in the path",
        _simple("/home/someone/große Bilder ☃/image gen", "someone"),
        everywhere=True,
    ),
    Case("umask 077, as root", _simple("/srv/imagegen", umask="077"), everywhere=True),
    Case("default ports taken", take_ports, everywhere=True),
    Case("read-only source folder", read_only, everywhere=True),
    Case("umask 077, plain user", _simple("/home/someone/imagegen", "someone", umask="077")),
    Case("2 cores, 4 GiB", small),
    Case("no IPv6", without_ipv6),
    Case(
        "another time zone, unknown to the system",
        _simple("/home/someone/imagegen", "someone", variables={"TZ": "Pacific/Nowhere"}),
    ),
    Case("a second stack, started at the same time", two_stacks),
    Case("make demo interrupted five times", interrupted),
    Case("64 MB of /dev/shm, as in a container", _simple("/home/someone/imagegen", "someone"), shm="64m"),
    Case("variables of a proxy", _simple("/home/someone/imagegen", "someone", variables=_PROXY)),
    Case("a locale that is not UTF-8", _simple("/home/someone/Grüße", "someone", variables={"LC_ALL": "POSIX"})),
]
