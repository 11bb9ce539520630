"""Structured logs: one JSON object a line on standard error, with the request id of the running call."""

import logging
import re
import sys
from typing import Any

import structlog

_SECRET = re.compile(r"(ig_|whsec_)[A-Za-z0-9_+/=-]{40,}")
"""An API key or a webhook secret. None is logged from where it belongs; this is for those in wrong places: a request
id, a library's error."""


def configure(level: str) -> None:
    """Log from `level` ("debug" ... "error") up. Everything bound to the context, the request id first, is added."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
            mask,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def mask(_logger: object, _method: str, line: Any) -> str:  # noqa: ANN401  # structlog types processors for dictionaries
    """A processor after the renderer: cuts keys and webhook secrets, wherever a client has put them."""
    return _SECRET.sub(r"\1...", line)
