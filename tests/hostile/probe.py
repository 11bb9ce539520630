"""Another client, in a process of its own: asks again and again, and writes how long each answer took.

`python -m tests.hostile.probe REST_PORT GRPC_PORT KEY`: a line of JSON for each question, until it is killed.
"""

import asyncio
import json
import sys
import time

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from imagegen.v1 import accounts_pb2, accounts_pb2_grpc

PAUSE_SECONDS, SECONDS = 0.05, 30.0


async def main(rest_port: int, grpc_port: int, key: str) -> None:
    """Ask."""
    metadata = (("x-api-key", key),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
        accounts, health = accounts_pb2_grpc.AccountServiceStub(channel), health_pb2_grpc.HealthStub(channel)

        async def rest(path: str) -> None:
            async with httpx.AsyncClient(timeout=SECONDS) as client:  # a connection of its own each time
                answer = await client.get(f"http://127.0.0.1:{rest_port}{path}", headers={"x-api-key": key})
                answer.raise_for_status()

        async def account() -> None:
            await accounts.GetAccount(accounts_pb2.GetAccountRequest(), metadata=metadata, timeout=SECONDS)

        async def check() -> None:
            await health.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)

        asked = {
            "rest": lambda: rest("/rest_api/me"),
            "rest health": lambda: rest("/healthz"),
            "grpc": account,
            "grpc health": check,
        }

        async def repeat(name: str) -> None:
            while True:
                started, fault = time.time(), ""
                try:
                    await asked[name]()
                except (grpc.aio.AioRpcError, httpx.HTTPError) as error:
                    fault = f"{type(error).__name__}: {error}"[:300]
                line = {"name": name, "at": started, "seconds": time.time() - started, "fault": fault}
                print(json.dumps(line), flush=True)  # noqa: T201 - what it is for
                await asyncio.sleep(PAUSE_SECONDS)

        await asyncio.gather(*map(repeat, asked))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
