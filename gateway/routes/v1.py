"""Paths beyond the documented API: a job's events, its end, and the families of models."""

from typing import Annotated, Any, Final

import grpc
from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import JSONResponse, Response, StreamingResponse

from gateway.contract.answers import ErrorAnswer, MarksAnswer
from gateway.errors import ApiError
from gateway.routes import events, results
from gateway.routes.calls import JobId, call_for_job, caller_of, gateway_of
from gateway.routes.openapi import JOBS_TAG, SERVICE_TAG, job_answers
from gateway.translate import jobs, listing
from gateway.translate.listing import JobsView, JobView, ManifestView, State
from gateway.translate.status import api_error
from gateway.transport import methods
from imagegen.v1 import generation_pb2 as pb


class _JobIdConvertor(Convertor[str]):
    """Ids have no colon: with one, a path names what is done to a job."""

    regex = "[^/:]+"

    def convert(self, value: str) -> str:
        """As it is."""
        return value

    def to_string(self, value: str) -> str:
        """As it is."""
        return value


register_url_convertor("job_id", _JobIdConvertor())
router = APIRouter(prefix="/v1")

PageSize = Annotated[int, Query(ge=1, le=100, description="Jobs in an answer.")]
PageToken = Annotated[str | None, Query(description="next_page_token of the answer before. Default: the newest jobs.")]
StateQuery = Annotated[State | None, Query(description="Jobs in this state alone. Default: any.")]
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", description="Id of the last event that was seen.")]

ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": ErrorAnswer, "description": text}
    for status, text in {
        403: "No key.",
        404: "Unknown key, or no such job.",
        500: "Something broke here.",
        503: "The service cannot be reached right now. Retry-After says when to try again.",
        504: "The service did not answer in time.",
    }.items()
}


class StateAnswer(BaseModel):
    """State of a job.

    Attributes:
        job: the job's id.
        state: queued, running, succeeded, failed, cancelled or deleted.
    """

    job: str
    state: str


class SizeAnswer(BaseModel):
    """A size.

    Attributes:
        width: pixels.
        height: pixels.
    """

    width: int
    height: int


class ModelAnswer(BaseModel):
    """A network, exactly.

    Attributes:
        model: its name on the inference server.
        sha256: of its graph, hex; empty where that is not stated.
        engine: what runs it, and in which precision.
    """

    model: str
    sha256: str
    engine: str


class LoraAnswer(BaseModel):
    """A LoRA of a family.

    Attributes:
        name: what imagegen.loras takes.
        license: of its weights, SPDX where there is one.
        commercial: whether that allows commercial use.
        weight: where the request names none.
    """

    name: str
    license: str
    commercial: bool
    weight: float


class FamilyAnswer(BaseModel):
    """A family of models.

    Attributes:
        name: what model_type takes.
        ready: whether its networks are ready now.
        license: of its weights, SPDX where there is one.
        commercial: whether that allows commercial use.
        tasks: that it serves, by the names of the gRPC schema.
        control_kinds: of control pictures that it can be steered by.
        width: of a picture where the request names none, pixels.
        height: the same.
        sampler: where the request names none.
        steps: the same.
        guidance_scale: the same.
        samplers: that it takes.
        guidance: how guidance_scale works: classifier_free, embedding, or none (at most 1).
        prompt_weights: whether brackets in prompts are weights where the request does not say.
        max_clip_skip: the most that imagegen.clip_skip may be, layers.
        max_prompt_tokens: of the longest prompt that is taken whole.
        loras: that imagegen.loras may name.
        embeddings: words that stand for textual inversions in prompts.
        sizes: at which its networks work, the native one first.
        models: its networks; empty while they are not ready.
    """

    name: str
    ready: bool
    license: str
    commercial: bool
    tasks: list[str]
    control_kinds: list[str]
    width: int
    height: int
    sampler: str
    steps: int
    guidance_scale: float
    samplers: list[str]
    guidance: str
    prompt_weights: bool
    max_clip_skip: int
    max_prompt_tokens: int
    loras: list[LoraAnswer]
    embeddings: list[str]
    sizes: list[SizeAnswer]
    models: list[ModelAnswer]


class FamiliesAnswer(BaseModel):
    """All families; the first is the default.

    Attributes:
        families: of this server.
        marks: how it marks pictures as generated.
    """

    families: list[FamilyAnswer]
    marks: MarksAnswer


@router.get(
    "/jobs/{job}/events",
    tags=[JOBS_TAG],
    response_class=Response,
    responses={
        **ERRORS,
        200: {
            "description": "Server-sent events: queued, started, progress, preview (imagegen.preview_interval), and "
            "last complete, failed, cancelled or deleted with the answer of GET /rest_api/result.",
            "content": {events.MEDIA_TYPE: {"schema": events.OPENAPI}},
        },
        204: {"description": "The last event was seen already: do not come back."},
    },
)
async def get_events(request: Request, job: JobId, last_event_id: LastEventId = None) -> Response:
    """Follow a job while it happens. A client that comes back with Last-Event-ID goes on where it was."""
    gateway, caller = gateway_of(request), caller_of(request)
    found = await call_for_job(gateway.orchestrator.get(job, caller), caller)
    after = events.read_last_id(last_event_id)
    if after is None:
        return Response(status_code=204)
    if methods.is_head(request):
        return Response(headers=dict(events.HEADERS), media_type=events.MEDIA_TYPE)
    followed = events.stream(gateway.orchestrator, found, caller, after, gateway.shutdown.draining)
    return StreamingResponse(followed, headers=dict(events.HEADERS), media_type=events.MEDIA_TYPE)


@router.get("/jobs", tags=[JOBS_TAG], response_model=JobsView, responses={400: {"model": ErrorAnswer}, **ERRORS})
async def list_jobs(
    request: Request, page_size: PageSize = 20, page_token: PageToken = None, state: StateQuery = None
) -> Response:
    """List the account's jobs, newest first, in pages."""
    caller = caller_of(request)
    try:
        found = await gateway_of(request).orchestrator.list_jobs(listing.request(page_size, page_token, state), caller)
    except grpc.aio.AioRpcError as error:
        raise api_error(error, caller.request_id) from None
    return JSONResponse(listing.page(found).model_dump(mode="json"))


@router.get("/jobs/{job:job_id}", tags=[JOBS_TAG], response_model=JobView, responses=ERRORS)
async def get_job(request: Request, job: JobId) -> Response:
    """Describe a job, whatever became of it."""
    caller = caller_of(request)
    found = await call_for_job(gateway_of(request).orchestrator.get(job, caller), caller)
    return JSONResponse(listing.view(found).model_dump(mode="json"))


@router.get(
    "/jobs/{job}/manifest",
    tags=[JOBS_TAG],
    response_model=ManifestView,
    responses={409: {"model": ErrorAnswer}, **ERRORS},
)
async def get_manifest(request: Request, job: JobId) -> Response:
    """Describe all that a job's picture came from: what generates it again, byte for byte (docs/jobs.md)."""
    caller = caller_of(request)
    found = await call_for_job(gateway_of(request).orchestrator.get(job, caller), caller)
    if not found.HasField("artifact"):
        raise ApiError(409, f"Job {found.job_id} has no picture: only jobs that succeeded have a manifest")
    return JSONResponse(listing.manifest(found).model_dump(mode="json"))


@router.get(
    "/jobs/{job}/thumbnail", tags=[JOBS_TAG], response_class=Response, responses={**ERRORS, **results.THUMBNAIL_OPENAPI}
)
async def get_thumbnail(request: Request, job: JobId) -> Response:
    """Give a small copy of a job's picture, for lists of many."""
    return await results.respond_small(gateway_of(request).orchestrator, job, request, caller_of(request))


@router.post("/jobs/{job}:cancel", tags=[JOBS_TAG], **job_answers(posts=False, model=StateAnswer))
async def cancel_job(request: Request, job: JobId) -> Response:
    """Stop a job that waits or runs. One that has ended stays as it is."""
    caller = caller_of(request)
    found = await call_for_job(gateway_of(request).orchestrator.cancel(job, caller), caller)
    return JSONResponse(StateAnswer(job=found.job_id, state=jobs.state_name(found.state)).model_dump())


@router.get(
    "/families",
    tags=[SERVICE_TAG],
    response_model=FamiliesAnswer,
    responses={key: ERRORS[key] for key in (403, 404, 500, 503)},
)
async def list_families(request: Request) -> Response:
    """List the families of models, and what each can do."""
    caller = caller_of(request)
    try:
        found = await gateway_of(request).orchestrator.families(caller)
    except grpc.aio.AioRpcError as error:
        raise api_error(error, caller.request_id) from None
    families = [_family(each) for each in found.families]
    return JSONResponse(FamiliesAnswer(families=families, marks=MarksAnswer.of(found.marks)).model_dump())


def _family(family: pb.Family) -> FamilyAnswer:
    return FamilyAnswer(
        name=family.name,
        ready=family.ready,
        license=family.license,
        commercial=family.commercial,
        tasks=list(family.tasks),
        control_kinds=list(family.control_kinds),
        width=family.default_size.width,
        height=family.default_size.height,
        sampler=_sampler(family.default_sampler),
        steps=family.default_steps,
        guidance_scale=family.default_guidance_scale,
        samplers=[name for name in map(_sampler, family.samplers) if name],
        guidance=family.guidance,
        prompt_weights=family.prompt_weights,
        max_clip_skip=family.max_clip_skip,
        max_prompt_tokens=family.max_prompt_tokens,
        loras=[
            LoraAnswer(name=lora.name, license=lora.license, commercial=lora.commercial, weight=lora.default_weight)
            for lora in family.loras
        ],
        embeddings=list(family.embeddings),
        sizes=[SizeAnswer(width=size.width, height=size.height) for size in family.network_sizes],
        models=[ModelAnswer(model=m.model, sha256=m.model_sha256, engine=m.engine) for m in family.models],
    )


def _sampler(number: int) -> str:
    """Its name; empty of one that came into the schema after this gateway was built."""
    known = pb.Sampler.DESCRIPTOR.values_by_number.get(number)
    return "" if known is None else known.name.removeprefix("SAMPLER_").lower()
