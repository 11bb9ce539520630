"""Commands of the operator, `python -m orchestrator ...`, run in this process.

A process of its own spends most of its time on imports; that the program is started so, with its exit status, is tested
once, by test_commands.test_it_is_a_program.
"""

import contextlib
import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import structlog

from orchestrator import __main__ as program


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a process with these arguments, and these variables too, would say and return."""
    output, errors = io.StringIO(), io.StringIO()
    with (
        _unchanged_logs(),
        mock.patch.dict(os.environ, environment),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
        ThreadPoolExecutor(1) as thread,  # commands run an event loop, and an asynchronous test has one in this thread
    ):
        status = thread.submit(_status, arguments).result(60)
    return subprocess.CompletedProcess(arguments, status, output.getvalue(), errors.getvalue())


def _status(arguments: tuple[str, ...]) -> int:
    try:
        return program.run(arguments)
    except SystemExit as end:  # as Python itself ends a process
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)  # noqa: T201
            return 1
        return end.code or 0


@contextlib.contextmanager
def _unchanged_logs() -> Iterator[None]:
    """Commands set up logs, as a program does; afterwards they are the tests' again."""
    root, config = logging.getLogger(), structlog.get_config()
    loggers = [root, *map(logging.getLogger, ("imagegen", "asyncio"))]
    handlers, levels = root.handlers[:], [logger.level for logger in loggers]
    root.handlers = []  # what commands replace they also close
    try:
        yield
    finally:
        structlog.configure(**config)
        logging.captureWarnings(capture=False)
        root.handlers = handlers
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
