"""Deliveries of webhooks: records to messages, pages of a list."""

from datetime import datetime

from imagegen.v1 import webhooks_pb2 as pb
from orchestrator.api.converters.jobs import (
    DELIVERY_STATES,
    page_size,
    read_token,
    to_timestamp,
    to_webhook,
    write_token,
)
from orchestrator.api.converters.tables import choice
from orchestrator.webhooks.deliveries import Delivery


def to_delivery(delivery: Delivery) -> pb.DeliveryRecord:
    """A delivery as the database has it."""
    return pb.DeliveryRecord(
        delivery_id=delivery.id,
        job_id=delivery.job_id,
        url=delivery.url,
        create_time=to_timestamp(delivery.created),
        delivery=to_webhook(delivery.state),
    )


def to_delivery_page(request: pb.ListDeliveriesRequest) -> tuple[int, tuple[datetime, str] | None, str | None]:
    """Deliveries of a page, the delivery before them, and their state: None for the newest, and for any.

    Raises:
        InvalidRequestError: a field is out of range, or a token that no answer had.
    """
    size = page_size(request.page_size if request.HasField("page_size") else None)
    return size, read_token(request.page_token), choice(DELIVERY_STATES, request.state, "state")


def to_delivery_list(deliveries: list[Delivery], size: int) -> pb.ListDeliveriesResponse:
    """A page of at most `size` deliveries, of records that are one more where others follow."""
    shown = deliveries[:size]
    token = write_token(shown[-1].created, shown[-1].id) if len(deliveries) > size else None
    return pb.ListDeliveriesResponse(deliveries=[to_delivery(each) for each in shown], next_page_token=token)
