"""The paths. Each function converts, calls the orchestrator, and converts back."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import grpc
import structlog
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import JSONResponse, Response

from gateway import errors
from gateway.contract import request as contract
from gateway.contract import spellings
from gateway.contract.answers import ErrorAnswer, HealthAnswer, JobAnswer, MessageAnswer
from gateway.errors import BadRequestError
from gateway.routes import account, results
from gateway.routes.account import AccountAnswer
from gateway.routes.calls import (
    Gateway,
    JobId,
    account_of,
    call_for_job,
    caller_of,
    gateway_of,
    own_preset,
    receive,
    request_id_of,
)
from gateway.routes.openapi import (
    ESTIMATE_BODY,
    JOBS_TAG,
    PICTURES_TAG,
    POST_BODY,
    SERVICE_TAG,
    account_answers,
    job_answers,
)
from gateway.translate import jobs, listing, webhooks
from gateway.translate import presets as preset
from gateway.translate import request as translate
from gateway.translate.jobs import RETRY_AFTER_SECONDS
from gateway.translate.listing import EstimateAnswer
from gateway.translate.names import Names
from gateway.translate.status import api_error
from gateway.transport import body, idempotency, multipart
from gateway.upstream import waiting
from gateway.upstream.orchestrator import Caller
from imagegen.v1 import jobs_pb2

router = APIRouter()

Include = Annotated[
    str | None, Query(description="webhook_secret: answer the secret that webhooks are signed with, too.")
]
ResultName = Annotated[str, Path(description="Last part of a result_url. It cannot be guessed, and is the permission.")]


@router.post("/rest_api/process_result", tags=[PICTURES_TAG], openapi_extra=POST_BODY, **job_answers(posts=True))
async def process_result(request: Request) -> Response:
    """Queue a request and wait for its picture; past the wait, answer with the job. The job outlives the connection."""
    gateway, caller = gateway_of(request), caller_of(request)
    made, order = await _create(request, gateway, caller)
    try:
        ended = await waiting.wait_for_all(
            gateway.orchestrator,
            made,
            caller,
            gateway.settings.rest_wait_seconds,
            waiting.client_gone(request),
            waiting.stopping(gateway.shutdown.stopping),
        )
    except grpc.aio.AioRpcError as error:
        raise api_error(error, caller.request_id) from None
    return _answer([jobs.blocking_answer(job, order.names) for job in ended])


@router.post("/rest_api/process", tags=[PICTURES_TAG], openapi_extra=POST_BODY, **job_answers(posts=True))
async def process(request: Request) -> Response:
    """Queue a request and answer at once."""
    made, _ = await _create(request, gateway_of(request), caller_of(request))
    return _answer([jobs.answer(job, just_created=True) for job in made])


@router.post(
    "/v1/jobs:estimate", tags=[JOBS_TAG], openapi_extra=ESTIMATE_BODY, **job_answers(posts=True, model=EstimateAnswer)
)
async def estimate_job(request: Request) -> Response:
    """Estimate what a request would cost, and how long it would take. Nothing is queued or paid."""
    gateway, caller = gateway_of(request), caller_of(request)
    async with AsyncExitStack() as held:
        order = await _read(request, gateway, caller, idempotency.read_key(None), held)
        asked = jobs_pb2.EstimateJobRequest(request=order.message.request, n=order.message.n or None)
        try:
            found = await gateway.orchestrator.estimate(asked, caller)
        except grpc.aio.AioRpcError as error:
            raise api_error(error, caller.request_id, order.names) from None
    return JSONResponse(listing.estimate(found, asked, order.warnings).model_dump())


@router.get("/rest_api/result/{job}", tags=[PICTURES_TAG], **job_answers(posts=False))
async def get_result(request: Request, job: JobId) -> Response:
    """Return the state of a job, and where its picture is."""
    caller = caller_of(request)
    found = await call_for_job(gateway_of(request).orchestrator.get(job, caller), caller)
    return _answer([jobs.answer(found)])


@router.delete("/rest_api/result/{job}", tags=[PICTURES_TAG], **job_answers(posts=False, model=MessageAnswer))
async def delete_result(request: Request, job: JobId) -> Response:
    """Remove a job's picture. A job that waits or runs is stopped. Doing it again changes nothing."""
    caller = caller_of(request)
    await call_for_job(gateway_of(request).orchestrator.delete(job, caller), caller)
    return JSONResponse({"message": "Image deleted"})


@router.get("/rest_api/me", tags=[SERVICE_TAG], **account_answers(AccountAnswer))
async def get_me(request: Request, include: Include = None) -> Response:
    """Return the account of the key."""
    caller = caller_of(request)
    try:
        found = await gateway_of(request).orchestrator.account(caller)
    except grpc.aio.AioRpcError as error:
        raise api_error(error, caller.request_id) from None
    return JSONResponse(account.answer(found, with_secret=include == "webhook_secret").model_dump())


@router.get("/results/{name}", tags=[PICTURES_TAG], response_class=Response, responses=results.OPENAPI)
async def read_result(request: Request, name: ResultName) -> Response:
    """Give a picture, or a part of it. No key is asked for."""
    return await results.respond(gateway_of(request).orchestrator, name, request, request_id_of(request))


@router.get("/healthz", tags=[SERVICE_TAG], response_model=HealthAnswer)
async def healthz() -> Response:
    """Answer while the process lives and its event loop turns."""
    return JSONResponse(HealthAnswer(status="ok").model_dump())


@router.get("/readyz", tags=[SERVICE_TAG], response_model=HealthAnswer, responses={503: {"model": ErrorAnswer}})
async def readyz(request: Request) -> Response:
    """Answer 200 while the orchestrator says that it serves, else 503."""
    try:
        serving = await gateway_of(request).orchestrator.serving()
    except grpc.aio.AioRpcError as error:
        structlog.get_logger().info("not ready", code=error.code().name)
        serving = False
    if not serving:
        raise errors.unavailable("The orchestrator does not serve", RETRY_AFTER_SECONDS)
    return JSONResponse(HealthAnswer(status="ready").model_dump())


@dataclass(frozen=True, slots=True)
class _Order:
    """A job that is asked for, how its client names fields, and what it is to be warned of."""

    message: jobs_pb2.CreateJobRequest
    names: Names
    warnings: tuple[str, ...]


async def _create(request: Request, gateway: Gateway, caller: Caller) -> tuple[list[jobs_pb2.Job], _Order]:
    """Create the jobs of the request's body."""
    key = idempotency.read_key(request.headers.get(idempotency.HEADER))
    async with AsyncExitStack() as held:
        order = await _read(request, gateway, caller, key, held)
        try:
            job = await gateway.orchestrator.create(order.message, caller, gateway.settings.rest_retry_seconds)
        except grpc.aio.AioRpcError as error:
            raise api_error(error, caller.request_id, order.names) from None
    structlog.contextvars.bind_contextvars(job=job.job_id)
    if order.warnings:
        structlog.get_logger().info("fields are not used", warnings=order.warnings)
    return [job, *job.siblings], order


async def _read(request: Request, gateway: Gateway, caller: Caller, key: str, held: AsyncExitStack) -> _Order:
    """Read the request's body, once its key is known; `held` is closed when it is done with."""
    content = await receive(request, gateway, await account_of(gateway, caller), held)
    form = request.headers["content-type"] if body.is_multipart(request) else None
    document, sent = await body.run_off_loop(len(content), partial(_parts, content, form, gateway))
    own = await own_preset(preset.named(document), gateway, caller)
    return await body.run_off_loop(len(content), partial(_to_proto, document, sent, own, key, gateway))


def _parts(content: bytearray, form: str | None, gateway: Gateway) -> tuple[object, multipart.Form]:
    """The JSON and the file of a body; `form` is its Content-Type where it is a form with files."""
    max_input_bytes = gateway.settings.max_input_bytes
    if form is None:
        sent, document = multipart.Form(), body.parse_json(content)
    else:
        sent = multipart.parse(content, form, max_input_bytes)
        document = {} if not sent.parameters else body.parse_json(sent.parameters, multipart.PARAMETERS)
        if document is None or isinstance(document, dict):
            document = preset.merged(sent.fields, document or {})
    return document, sent


def _to_proto(document: object, sent: multipart.Form, own: str | None, key: str, gateway: Gateway) -> _Order:
    """Turn a request into proto; `own` is the preset of its account that it names."""
    present, sent_as = spellings.present(document)
    names = Names(sent_as=sent_as)
    try:
        asked = contract.parse(gateway.presets.under(present, own))
        if sent.data is not None:
            asked = asked.with_file(sent.name, sent.data)
        names = Names.of(asked, sent_as)
        found = translate.translated(asked, key, gateway.settings.max_input_bytes)
        names = Names.of(found.request, sent_as)
        webhook = webhooks.to_proto(asked, document)
    except BadRequestError as error:
        raise BadRequestError(names.reworded(error.body["message"]), error.body.get("code")) from None
    count = None if asked.imagegen is None else asked.imagegen.n
    warnings = tuple(map(names.reworded, found.warnings))
    notes = jobs_pb2.ClientNotes(warnings=warnings, field_names=names.sent_as)
    message = jobs_pb2.CreateJobRequest(request=found.message, webhook=webhook, n=count, notes=notes)
    return _Order(message, names, warnings)


def _answer(found: Sequence[JobAnswer]) -> Response:
    """The answer about the first job; with those about all where there are several."""
    answer = found[0] if len(found) == 1 else found[0].model_copy(update={"results": list(found)})
    return JSONResponse(answer.model_dump(exclude_none=True))
