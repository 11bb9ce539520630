"""Structured logs: one JSON object a line on standard error, with the request id of the running call."""

import logging
import sys

import structlog


def configure(level: str) -> None:
    """Log from `level` ("debug" ... "error") up. Everything bound to the context, the request id first, is added."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
