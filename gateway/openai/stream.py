"""Events of a request while its pictures are generated, as OpenAI's clients read them (server-sent events)."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import grpc

from gateway.openai.answers import Stored, common, with_picture
from gateway.openai.errors import OpenAIError, from_grpc, from_job, unavailable
from gateway.openai.translate import Asked
from gateway.routes import events
from gateway.routes.calls import Gateway
from gateway.upstream.orchestrator import Caller
from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2

Update = pb.GenerateEvent | jobs_pb2.Job | OpenAIError


@dataclass(frozen=True, slots=True)
class Stream:
    """One request's events.

    Attributes:
        gateway: that serves it.
        asked: what was asked for.
        caller: who asked.
        kind: what events' types begin with: image_generation or image_edit.
    """

    gateway: Gateway
    asked: Asked
    caller: Caller
    kind: str

    async def events(self, jobs: Sequence[jobs_pb2.Job]) -> AsyncIterator[bytes]:
        """Previews, and each picture once it is done; an error ends it."""
        updates: asyncio.Queue[Update] = asyncio.Queue(maxsize=len(jobs))
        followers = [asyncio.create_task(self._follow(job, updates)) for job in jobs]
        stop = asyncio.create_task(self.gateway.shutdown.stopping.wait())
        coming = asyncio.create_task(updates.get())
        left, shown = len(jobs), 0
        try:
            while left:
                await asyncio.wait({coming, stop}, timeout=events.PING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    if stop.done():
                        yield _sent("error", unavailable("The server is stopping; send the request again").body)
                        return
                    yield events.PING
                    continue
                found = coming.result()
                coming = asyncio.create_task(updates.get())
                if isinstance(found, pb.GenerateEvent):
                    if found.HasField("preview") and shown < self.asked.request.partial_images * len(jobs):
                        yield self._partial(found.preview, shown)
                        shown += 1
                    continue
                left -= 1
                async for chunk in self._last(found):
                    yield chunk
                if isinstance(found, OpenAIError):
                    return
        finally:
            for task in (*followers, stop, coming):
                task.cancel()

    async def _follow(self, job: jobs_pb2.Job, updates: asyncio.Queue[Update]) -> None:
        """Report a job's events, and how it ended."""
        try:
            async with aclosing(events.follow(self.gateway.orchestrator, job, self.caller)) as followed:
                async for found in followed:
                    await updates.put(self._checked(found) if isinstance(found, jobs_pb2.Job) else found)
        except grpc.aio.AioRpcError as error:
            await updates.put(from_grpc(error, self.caller.request_id, self.asked.names))

    def _checked(self, job: jobs_pb2.Job) -> jobs_pb2.Job | OpenAIError:
        """The job, if it has a picture."""
        if job.state == jobs_pb2.JOB_STATE_SUCCEEDED:
            return job
        return from_job(job, self.caller.request_id, self.asked.names)

    def _partial(self, preview: pb.Preview, index: int) -> bytes:
        request = self.asked.request
        kind = f"{self.kind}.partial_image"
        return _sent(
            kind,
            {
                "type": kind,
                "b64_json": base64.b64encode(preview.jpeg).decode(),
                "background": "transparent" if request.transparent else "opaque",
                "created_at": int(time.time()),
                "output_format": "jpeg",
                "partial_image_index": index,
                "quality": request.quality,
                "size": request.size,
            },
        )

    async def _last(self, found: jobs_pb2.Job | OpenAIError) -> AsyncIterator[bytes]:
        """The picture, or the error instead of it."""
        if isinstance(found, OpenAIError):
            yield _sent("error", found.body)
            return
        try:
            picture = await Stored.open(self.gateway.orchestrator, found, self.caller)
        except OpenAIError as error:
            yield _sent("error", error.body)
            return
        kind = f"{self.kind}.completed"
        about = common(self.asked.request, found, int(time.time()))
        about["created_at"] = about.pop("created")
        about |= {"type": kind, "seed": found.artifact.seed, "job": found.job_id}
        yield f"event: {kind}\ndata: ".encode()
        async for chunk in with_picture(about, picture):
            yield chunk
        yield b"\n\n"


def _sent(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
