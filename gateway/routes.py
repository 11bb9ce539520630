"""The paths. Each function converts, calls the orchestrator, and converts back."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

import grpc
import structlog
from fastapi import APIRouter, Path, Request
from starlette.responses import JSONResponse, Response

from gateway import account, body, contract, errors, idempotency, jobs, multipart, results, translate, waiting, webhooks
from gateway.account import AccountAnswer
from gateway.answers import ErrorAnswer, HealthAnswer, JobAnswer, MessageAnswer
from gateway.config import Settings
from gateway.jobs import RETRY_AFTER_SECONDS
from gateway.names import Names
from gateway.openapi import POST_BODY, account_answers, job_answers
from gateway.preset import Presets
from gateway.status import api_error
from gateway.upstream import Caller, Orchestrator
from imagegen.v1 import jobs_pb2

router = APIRouter()

JobId = Annotated[str, Path(description="The job, as an answer named it.")]
ResultName = Annotated[str, Path(description="Last part of a result_url. It cannot be guessed, and is the permission.")]


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the paths share: app.state.gateway.

    Attributes:
        settings: of this process.
        orchestrator: behind it.
        stopping: set when waiting requests have to answer now, because the process stops.
        presets: that requests may name.
        large_bodies: one slot for each large body that may be in memory.
    """

    settings: Settings
    orchestrator: Orchestrator
    stopping: asyncio.Event
    presets: Presets
    large_bodies: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(body.LARGE_BODIES))


@router.post("/rest_api/process_result", openapi_extra=POST_BODY, **job_answers(posts=True))
async def process_result(request: Request) -> Response:
    """Queue a request and wait for its picture; past the wait, answer with the job. The job outlives the connection."""
    gateway, caller = _gateway(request), _caller(request)
    job, names = await _create(request, gateway, caller)
    if job.state not in waiting.ENDED:
        try:
            job = await waiting.wait_for_end(
                gateway.orchestrator,
                job,
                caller,
                gateway.settings.wait_seconds,
                waiting.client_gone(request),
                waiting.stopping(gateway.stopping),
            )
        except grpc.aio.AioRpcError as error:
            raise api_error(error, caller.request_id) from None
    return _answer(jobs.answer_to_waiting(job, names))


@router.post("/rest_api/process", openapi_extra=POST_BODY, **job_answers(posts=True))
async def process(request: Request) -> Response:
    """Queue a request and answer at once."""
    job, _ = await _create(request, _gateway(request), _caller(request))
    return _answer(jobs.answer(job, just_made=True))


@router.get("/rest_api/result/{job}", **job_answers(posts=False))
async def get_result(request: Request, job: JobId) -> Response:
    """Tell the state of a job, and where its picture is."""
    caller = _caller(request)
    try:
        found = await _gateway(request).orchestrator.get(job, caller)
    except grpc.aio.AioRpcError as error:
        raise _about_a_job(error, caller) from None
    return _answer(jobs.answer(found))


@router.delete("/rest_api/result/{job}", **job_answers(posts=False, model=MessageAnswer))
async def delete_result(request: Request, job: JobId) -> Response:
    """Remove a job's picture. A job that waits or runs is stopped. Doing it again changes nothing."""
    caller = _caller(request)
    try:
        await _gateway(request).orchestrator.delete(job, caller)
    except grpc.aio.AioRpcError as error:
        raise _about_a_job(error, caller) from None
    return JSONResponse({"message": "Image deleted"})


@router.get("/rest_api/me", **account_answers(AccountAnswer))
async def get_me(request: Request) -> Response:
    """Tell the account of the key."""
    caller = _caller(request)
    try:
        found = await _gateway(request).orchestrator.account(caller)
    except grpc.aio.AioRpcError as error:
        raise api_error(error, caller.request_id) from None
    return JSONResponse(account.answer(found).model_dump())


@router.get("/results/{name}", response_class=Response, responses=results.OPENAPI)
async def read_result(request: Request, name: ResultName) -> Response:
    """Give a picture. No key is asked for."""
    known = request.headers.get("if-none-match")
    return await results.respond(_gateway(request).orchestrator, name, _request_id(request), known)


@router.head("/results/{name}", include_in_schema=False)
async def head_result(request: Request, name: ResultName) -> Response:
    """Tell type and size of a picture."""
    known = request.headers.get("if-none-match")
    return await results.respond(_gateway(request).orchestrator, name, _request_id(request), known, head=True)


@router.get("/healthz", response_model=HealthAnswer)
async def healthz() -> Response:
    """Answer while the process lives and its event loop turns."""
    return JSONResponse(HealthAnswer(status="ok").model_dump())


@router.get("/readyz", response_model=HealthAnswer, responses={503: {"model": ErrorAnswer}})
async def readyz(request: Request) -> Response:
    """Answer 200 while the orchestrator says that it serves, else 503."""
    try:
        serving = await _gateway(request).orchestrator.serving()
    except grpc.aio.AioRpcError as error:
        structlog.get_logger().info("not ready", code=error.code().name)
        serving = False
    if not serving:
        raise errors.unavailable("The orchestrator does not serve", RETRY_AFTER_SECONDS)
    return JSONResponse(HealthAnswer(status="ready").model_dump())


async def _create(request: Request, gateway: Gateway, caller: Caller) -> tuple[jobs_pb2.Job, Names]:
    """Make a job of the request's body; also tells what the client calls the fields in it."""
    key = idempotency.read_key(request.headers.get(idempotency.HEADER))
    async with AsyncExitStack() as held:
        content = await body.read(request, gateway.settings.max_body_bytes, gateway.large_bodies, held)
        form = request.headers["content-type"] if body.is_multipart(request) else None
        work = partial(_to_proto, content, form, key, gateway)
        message, names = await body.apart(len(content), work)
        try:
            job = await gateway.orchestrator.create(message, caller, gateway.settings.retry_seconds)
        except grpc.aio.AioRpcError as error:
            raise api_error(error, caller.request_id, names) from None
    structlog.contextvars.bind_contextvars(job=job.job_id)
    return job, names


def _to_proto(content: bytes, form: str | None, key: str, gateway: Gateway) -> tuple[jobs_pb2.CreateJobRequest, Names]:
    """Turn a body into proto; `form` is its Content-Type where it is a form with files."""
    max_input_bytes = gateway.settings.max_input_bytes
    if form is None:
        sent, document = multipart.Form(), body.parse_json(content)
    else:
        sent = multipart.parse(content, form, max_input_bytes)
        document = {} if not sent.parameters else body.parse_json(sent.parameters, multipart.PARAMETERS)
    asked = contract.parse(gateway.presets.under(document))
    if sent.data is not None:
        asked = asked.with_file(sent.name, sent.data)
    message = translate.to_proto(asked, key, max_input_bytes)
    return jobs_pb2.CreateJobRequest(request=message, webhook=webhooks.to_proto(asked, document)), Names.of(asked)


def _gateway(request: Request) -> Gateway:
    found = request.app.state.gateway
    assert isinstance(found, Gateway)  # noqa: S101  # state is untyped; app.py puts it there
    return found


def _request_id(request: Request) -> str:
    return str(request.state.request_id)  # middleware.RequestContext puts it there


def _caller(request: Request) -> Caller:
    """Who asks. Whether the key is known is for the orchestrator to say.

    Raises:
        ApiError: there is no key, or one that gRPC metadata could not carry and so nobody can have.
    """
    key = request.headers.get("x-api-key", "").strip()
    if not key:
        raise errors.key_missing()
    if len(key) > 256 or not (key.isascii() and key.isprintable()):
        raise errors.key_unknown()
    return Caller(key, _request_id(request))


def _about_a_job(error: grpc.aio.AioRpcError, caller: Caller) -> errors.ApiError:
    """A failed call as an answer. An id that cannot be one of a job's is one of no job."""
    if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
        return errors.job_not_found()
    return api_error(error, caller.request_id)


def _answer(found: JobAnswer) -> Response:
    return JSONResponse(found.model_dump(exclude_none=True))
