"""One JSON object a line, on standard error, for our own log and for that of the libraries alike."""

import logging
import re
from collections.abc import Sequence
from typing import Any

import structlog
from structlog.typing import Processor

_SECRET = re.compile(r"(ig_|whsec_)[A-Za-z0-9_+/=-]{40,}")
"""An API key or a webhook secret. None is logged from where it belongs; this is for those in wrong places: a request
id, a library's error."""


def configure(level: str) -> None:
    """Set up structlog and the standard library's logging.

    Args:
        level: debug, info, warning or error.
    """
    shared: Sequence[Processor] = (
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
                mask,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


def mask(_logger: object, _method: str, line: Any) -> str:  # noqa: ANN401  # structlog types processors for dictionaries
    """A processor after the renderer: cuts keys and webhook secrets, wherever a client has put them."""
    return _SECRET.sub(r"\1...", line)
