"""Protobuf to params, events to protobuf. Nothing else touches fields of messages."""

from orchestrator.api.converters.answers import from_event, to_artifact, to_family
from orchestrator.api.converters.jobs import (
    check_hook,
    from_stored,
    to_count,
    to_estimate,
    to_job,
    to_job_request,
    to_list,
    to_page,
)
from orchestrator.api.converters.requests import new_request_id, to_options, to_params
from orchestrator.api.converters.tables import (
    DELIVERIES,
    FITS,
    FORMATS,
    GRAVITIES,
    HORIZONTAL,
    KINDS,
    METHODS,
    PRIORITIES,
    REMOVALS,
    SAMPLERS,
    STAGES,
    STATES,
    VERTICAL,
)
from orchestrator.api.converters.webhooks import to_delivery, to_delivery_list, to_delivery_page

__all__ = [
    "DELIVERIES",
    "FITS",
    "FORMATS",
    "GRAVITIES",
    "HORIZONTAL",
    "KINDS",
    "METHODS",
    "PRIORITIES",
    "REMOVALS",
    "SAMPLERS",
    "STAGES",
    "STATES",
    "VERTICAL",
    "check_hook",
    "from_event",
    "from_stored",
    "new_request_id",
    "to_artifact",
    "to_count",
    "to_delivery",
    "to_delivery_list",
    "to_delivery_page",
    "to_estimate",
    "to_family",
    "to_job",
    "to_job_request",
    "to_list",
    "to_options",
    "to_page",
    "to_params",
]
