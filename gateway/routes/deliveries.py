"""Paths beyond the documented API: what became of an account's webhooks, and sending one again."""

from typing import Annotated

import grpc
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from gateway.contract.answers import ErrorAnswer
from gateway.routes.calls import caller_of, gateway_of
from gateway.routes.openapi import WEBHOOKS_TAG
from gateway.routes.v1 import ERRORS
from gateway.translate import jobs
from gateway.translate.status import api_error
from imagegen.v1 import jobs_pb2, webhooks_pb2

router = APIRouter(prefix="/v1/webhooks")

MAX_PAGE = 100
_STATES = {
    "pending": jobs_pb2.DELIVERY_STATE_PENDING,
    "delivered": jobs_pb2.DELIVERY_STATE_DELIVERED,
    "failed": jobs_pb2.DELIVERY_STATE_FAILED,
}

PageSize = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Deliveries in an answer.")]
PageToken = Annotated[str, Query(max_length=200, description="next_page_token of the answer before.")]
State = Annotated[str | None, Query(pattern=f"^({'|'.join(_STATES)})$", description="Only those in this state.")]


class DeliveryAnswer(BaseModel):
    """What became of a webhook.

    Attributes:
        id: its id, the header webhook-id of every attempt.
        job: the job that ended.
        url: where it is sent.
        created: when the job ended, RFC 3339.
        state: pending, delivered or failed.
        attempts: so far.
        last_status: HTTP status of the last answer; null if there was none.
        last_error: why the last attempt failed; null if it did not.
        next: when it is sent next, RFC 3339; null unless pending.
        delivered: when the receiver accepted it, RFC 3339; null unless delivered.
    """

    id: str
    job: str
    url: str
    created: str
    state: str
    attempts: int
    last_status: int | None
    last_error: str | None
    next: str | None
    delivered: str | None


class DeliveriesAnswer(BaseModel):
    """A page of deliveries.

    Attributes:
        deliveries: newest first.
        next_page_token: asks for what follows; null on the last page.
    """

    deliveries: list[DeliveryAnswer]
    next_page_token: str | None


@router.get(
    "/deliveries",
    tags=[WEBHOOKS_TAG],
    response_model=DeliveriesAnswer,
    responses={400: {"model": ErrorAnswer}, **{key: ERRORS[key] for key in (403, 404, 500, 503)}},
)
async def list_deliveries(
    request: Request, page_size: PageSize = 20, page_token: PageToken = "", state: State = None
) -> Response:
    """List what became of the account's webhooks, newest first."""
    caller = caller_of(request)
    message = webhooks_pb2.ListDeliveriesRequest(page_size=page_size)
    if page_token:
        message.page_token = page_token
    if state is not None:
        message.state = _STATES[state]
    try:
        found = await gateway_of(request).orchestrator.deliveries(message, caller)
    except grpc.aio.AioRpcError as error:
        raise api_error(error, caller.request_id) from None
    shown = [_delivery(each) for each in found.deliveries]
    return JSONResponse(DeliveriesAnswer(deliveries=shown, next_page_token=found.next_page_token or None).model_dump())


@router.post(
    "/deliveries/{delivery}:resend",
    tags=[WEBHOOKS_TAG],
    response_model=DeliveryAnswer,
    responses={key: ERRORS[key] for key in (403, 404, 500, 503)},
)
async def resend_delivery(request: Request, delivery: str) -> Response:
    """Send a webhook again, now, under the same webhook-id, whatever became of it."""
    caller = caller_of(request)
    try:
        sent = await gateway_of(request).orchestrator.resend(delivery, caller)
    except grpc.aio.AioRpcError as error:
        raise api_error(error, caller.request_id) from None
    return JSONResponse(_delivery(sent).model_dump())


def _delivery(found: webhooks_pb2.DeliveryRecord) -> DeliveryAnswer:
    became = found.delivery
    return DeliveryAnswer(
        id=found.delivery_id,
        job=found.job_id,
        url=found.url,
        created=found.create_time.ToJsonString(),
        state=jobs.delivery_word(became.state),
        attempts=became.attempts,
        last_status=became.last_status if became.HasField("last_status") else None,
        last_error=became.last_error if became.HasField("last_error") else None,
        next=became.next_time.ToJsonString() if became.HasField("next_time") else None,
        delivered=became.deliver_time.ToJsonString() if became.HasField("deliver_time") else None,
    )
