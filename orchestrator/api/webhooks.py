"""WebhookService: convert, call, convert."""

from typing import Any

import grpc

from imagegen.v1 import webhooks_pb2 as pb
from imagegen.v1 import webhooks_pb2_grpc
from orchestrator.api import converters
from orchestrator.api.auth import account
from orchestrator.webhooks.deliveries import Deliveries

Context = grpc.aio.ServicerContext[Any, Any]


class WebhookServicer(webhooks_pb2_grpc.WebhookServiceServicer):
    """WebhookService over the deliveries of accounts."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries

    async def ListDeliveries(self, request: pb.ListDeliveriesRequest, _context: Context) -> pb.ListDeliveriesResponse:
        """A page of the account's deliveries."""
        size, after, state = converters.to_delivery_page(request)
        found = await self._deliveries.list_deliveries(account.get().id, size + 1, after, state)
        return converters.to_delivery_list(found, size)

    async def ResendDelivery(self, request: pb.ResendDeliveryRequest, _context: Context) -> pb.DeliveryRecord:
        """Send a delivery again."""
        return converters.to_delivery(await self._deliveries.resend(account.get().id, request.delivery_id))
