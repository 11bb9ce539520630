"""One JSON object a line, on standard error, for our own log and for that of the libraries alike."""

import logging
import re
from collections.abc import MutableMapping, Sequence
from typing import Any

import structlog
from structlog.typing import Processor

from common import tracing

_SECRET = re.compile(r"(ig_|whsec_)[A-Za-z0-9_+/=-]{40,}")
"""An API key or a webhook secret. None is logged from where it belongs; this is for those in wrong places: a request
id, a library's error."""


OWN = "imagegen"
"""Name of the logger that all of our own events go through; libraries have their own names."""


def configure(level: str) -> None:
    """Set up structlog, the standard library's logging and Python's warnings: everything leaves as JSON lines.

    Libraries log from "warning" on, so that their chatter hides nothing; at level "debug" from "debug" on, and asyncio
    from "info" on.

    Args:
        level: of our own events: debug, info, warning or error.
    """
    shared: Sequence[Processor] = (
        structlog.contextvars.merge_contextvars,
        add_trace,
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
        logger_factory=lambda *_: logging.getLogger(OWN),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
                mask,
            ],
        )
    )
    own = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig(handlers=[handler], level=own if level == "debug" else max(own, logging.WARNING), force=True)
    logging.getLogger(OWN).setLevel(own)
    logging.getLogger("asyncio").setLevel(max(own, logging.INFO))  # it names its selector
    logging.captureWarnings(capture=True)


def add_trace(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor: the id of the current trace, where it is recorded."""
    if (found := tracing.trace_id()) is not None:
        line["trace_id"] = found
    return line


def mask(_logger: object, _method: str, line: Any) -> str:  # noqa: ANN401  # structlog types processors for dictionaries
    """A processor after the renderer: cuts keys and webhook secrets, wherever a client has put them."""
    return _SECRET.sub(r"\1...", line)
