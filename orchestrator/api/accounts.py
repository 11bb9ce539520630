"""AccountService: who the caller is."""

from typing import Any

import grpc

from imagegen.v1 import accounts_pb2 as pb
from imagegen.v1 import accounts_pb2_grpc
from imagegen.v1.generation_pb2 import Marks
from orchestrator.accounts import presets, standing, webhook_secrets
from orchestrator.api.auth import account
from orchestrator.database.pool import Database

Context = grpc.aio.ServicerContext[Any, Any]


class AccountServicer(accounts_pb2_grpc.AccountServiceServicer):
    """AccountService over the database."""

    def __init__(self, database: Database, marks: Marks) -> None:
        self._database, self._marks = database, marks

    async def GetAccount(self, _request: pb.GetAccountRequest, _context: Context) -> pb.Account:
        """The caller's account, as it is now."""
        now = await standing.read(self._database, account.get())
        return pb.Account(
            name=now.account.name,
            email=now.account.email,
            credits=None if now.credits is None else float(now.credits),
            max_active_jobs=now.account.max_active,
            active_jobs=now.active,
            requests_per_minute=now.account.requests_per_minute,
            key_prefix=now.account.key_prefix,
            webhook_secret=webhook_secrets.encode(now.webhook_secret),
            marks=self._marks,
            presets=now.presets,
            webhook_url=now.webhook_url,
        )

    async def GetPreset(self, request: pb.GetPresetRequest, _context: Context) -> pb.Preset:
        """A preset of the caller's account."""
        document = await presets.find(self._database, account.get().id, request.name)
        return pb.Preset(name=request.name, document=document)
