"""`python -m local.supervisor`: starts the stack's Triton again where it has ended, or does not infer any more.

What asks it is the liveness probe of the chart (helm/imagegen/files/probe.py): a known tensor through each model. So a
stack on one machine recovers from what a cluster recovers from, and by the same means.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from local import processes, triton
from local.errors import LocalError
from local.settings import HOST, ROOT, Settings, port_variable

NAME = "supervisor"
PROBE = ROOT / "helm" / "imagegen" / "files" / "probe.py"
CHECK_SECONDS = 10.0
"""Between two looks."""
AGAIN_SECONDS = 1.0
"""Until the second check of a Triton that has failed one: only two in a row count."""
ANSWER_SECONDS = 30.0
"""Longest time for a model's answer: a machine that is busy is slow, and a restart would make it slower."""

log = logging.getLogger(NAME)


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables by which the supervisor knows its stack."""
    return {
        **os.environ,
        "IMAGEGEN_STATE_DIR": str(settings.state_dir.resolve()),
        "IMAGEGEN_MODEL_REPOSITORIES": os.pathsep.join(str(each.resolve()) for each in settings.repositories),
        **{port_variable(name): str(number) for name, number in vars(settings.ports).items()},
    }


def ready_file(settings: Settings) -> Path:
    """Return the file that holds the supervisor's process id once it has checked."""
    return settings.state_dir / NAME / "ready"


def find_fault(settings: Settings, process: processes.Process | None) -> str:
    """Return what is wrong with Triton; "" if it infers."""
    if process is None:
        return "it does not run"
    url = f"http://{HOST}:{settings.ports.triton_http}"
    state = ready_file(settings).with_name("answers.json")
    command = [sys.executable, "-I", "-S", str(PROBE), "--url", url, "--seconds", f"{ANSWER_SECONDS:g}"]
    command += ["--state", str(state)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip() if done.returncode else ""


def check(settings: Settings, stopping: threading.Event) -> None:
    """Check once, a second time where that failed, and restart Triton where both did."""
    process = triton.load(settings)
    fault = find_fault(settings, process)
    if fault and process is not None and process.is_alive() and not stopping.wait(AGAIN_SECONDS):
        fault = find_fault(settings, process)
    if not fault or stopping.is_set():
        return
    log.error("Triton fails: %s", fault)
    try:
        if triton.restart(settings, process):
            log.warning("Triton runs again")
    except LocalError:
        log.exception("Triton could not be started; retrying")


def main() -> int:
    """Check periodically, until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings, stopping = Settings.from_env(os.environ), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    ready = ready_file(settings)
    ready.parent.mkdir(parents=True, exist_ok=True)
    while not stopping.is_set():
        check(settings, stopping)
        ready.write_text(str(os.getpid()), encoding="ascii")
        stopping.wait(CHECK_SECONDS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
