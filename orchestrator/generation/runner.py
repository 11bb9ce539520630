"""Generates a job's picture: the task, its events, and where the picture goes."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from orchestrator import metrics
from orchestrator.accounts.account import Account
from orchestrator.accounts.engine_usage import EngineUsage
from orchestrator.arrays import Pixels
from orchestrator.decoding.decoders import Decoders
from orchestrator.diffusion.pipeline import Pipeline
from orchestrator.diffusion.stages import Stage, StageTime, StepDone, Timer
from orchestrator.generation.events import Artifact, Preview, Progress, Started
from orchestrator.generation.forecast import Forecaster
from orchestrator.generation.job import Job
from orchestrator.generation.recording import recording
from orchestrator.imaging import codec, geometry
from orchestrator.imaging.decode import DecodeLimits
from orchestrator.models.families import Families
from orchestrator.models.source import ModelDigest, NetworkSource
from orchestrator.params import Delivery, ImageFormat, JobOptions, OutputParams, RequestParams
from orchestrator.provenance.marking import Marking
from orchestrator.results.keeping import Keeping
from orchestrator.results.quota import Quota
from orchestrator.results.sources import Sources
from orchestrator.results.store import ResultStore, Written
from orchestrator.scheduling.scheduled import Work
from orchestrator.scheduling.turns import Turn, Turns
from orchestrator.tasks.budget import Budgets, JobMemory
from orchestrator.tasks.context import PrepareResult, TaskContext, TaskResult
from orchestrator.tasks.plan import Plan, with_prompts
from orchestrator.tasks.plan import plan as plan_task
from orchestrator.tasks.run import run as run_task
from orchestrator.tasks.safety import score_of

PREVIEW = OutputParams(format=ImageFormat.JPEG, quality=80)
PREVIEW_SIDE = 256
"""Longer side of previews, pixels: large enough to see, small enough (about 6 KB) to send at every step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Plans requests and generates their pictures.

    Attributes:
        families: that can be asked for.
        pipelines: of each family, by its name.
        source: of the networks.
        results: where pictures go.
        sources: where the client's pictures come from, and copies of results go.
        limits: of the client's pictures.
        max_input_bytes: of a file that is fetched.
        decoders: read them.
        budgets: of the memory that they take, over all jobs.
        max_pixels: of generated pictures.
        marking: of their files.
        turns: of the requests, at the engines.
        forecaster: of their work.
        quota: of stored pictures; None for no limit.
        keeping: of pictures whose store is unreachable.
        usage: of the engines, by account; None where nobody asks.
    """

    families: Families
    pipelines: Mapping[str, Pipeline]
    source: NetworkSource
    results: ResultStore
    sources: Sources
    limits: DecodeLimits
    max_input_bytes: int
    decoders: Decoders
    budgets: Budgets
    max_pixels: int
    marking: Marking
    turns: Turns
    forecaster: Forecaster
    quota: Quota | None = None
    keeping: Keeping = field(default_factory=Keeping)
    usage: EngineUsage | None = None

    async def plan(self, account: Account, params: RequestParams) -> Plan:
        """Decide what an account's request left open.

        Raises:
            InvalidRequestError: the family is unknown, or cannot do what is asked; the account lacks a storage.
            UnsupportedTaskError: the family lacks a network for the task.
            DatabaseUnavailableError: a storage is named, and nobody knows whether there is one.
        """
        await self.sources.check(account.id, params)
        family = self.families.get(params.family)
        return plan_task(params, family, self.pipelines[family.name])

    async def tokenize(self, plan: Plan, params: RequestParams) -> Plan:
        """The plan of a request with its prompts, which is what `generate` needs."""
        return await with_prompts(plan, params, self.families.get(plan.family), self.pipelines[plan.family])

    def open_turn(
        self, account: Account, plan: Plan, options: JobOptions, tag: float | None = None, age: float = 0.0
    ) -> Turn:
        """A place in the order for a request that came `age` seconds ago.

        `tag` is its start tag, if the database has given it one.
        """
        engines = partial(self.source.engines, plan.family)
        deadline = None if options.deadline_seconds is None else options.deadline_seconds - age
        spend = None if self.usage is None else partial(self.usage.add, account.id, account.name, plan.family)
        return self.turns.open(
            account.id,
            options.priority,
            self.work(plan),
            engines,
            tag=tag,
            deadline=deadline,
            spend=spend,
            family=plan.family,
        )

    def work(self, plan: Plan) -> Work:
        """What the engines will have to do for a plan."""
        return self.forecaster.work(plan, self.families.get(plan.family))

    def check_ready(self, plan: Plan) -> None:
        """Raise EngineUnavailableError if the networks that a plan needs are not ready."""
        if plan.paints:
            self.source.networks(plan.family)
        self.source.tools().check(plan.needs)

    async def check_store(self, account: Account) -> None:
        """Find out whether a picture of the account could be stored now.

        Raises:
            ResultsFullError: the account has as many bytes stored as it may.
            ResultStoreUnavailableError: the store is full, or cannot be written.
            DatabaseUnavailableError: nobody knows what is stored.
        """
        await self.check_quota(account)
        await self.results.check()

    async def check_quota(self, account: Account) -> None:
        """Find out whether the account, and all together, may store more; as check_store, without the store itself."""
        if self.quota is not None:
            await self.quota.check(account.id)

    async def generate(self, job: Job) -> Artifact:
        """Generate the picture of a job, publishing events on the way; not its end.

        Raises:
            ImagegenError: the job's stop_reason; no network was called after the running step.
            ResultsFullError: as check_store.
            ResultStoreUnavailableError: its picture could not be stored: found out before the first step, or after
                the last, once it had waited for the store as long as may be.
            Whatever the task raises.
        """
        job.check_wanted()
        job.start()
        if _is_stored(job):
            await job.unless_stopped(self.check_store(job.account))
        plan, timer, roles = job.plan, Timer(job.family), set[str]()
        digests = self.source.digests(plan.family)

        def models() -> tuple[ModelDigest, ...]:
            return tuple(dict.fromkeys(digest for role, digest in digests.items() if role in roles))

        running = metrics.RUNNING.labels(job.family)
        with running.track_inprogress(), self.budgets.job(job.unless_stopped) as memory:
            result = await run_task(plan, self._task_context(job, plan, timer, roles, memory, models))
        job.turn.release()
        self.forecaster.learn(plan, job.turn.request.work, job.turn.request.done)
        return await self._artifact(job, result, models(), timer.stages)

    async def discard(self, job: Job) -> None:
        """Remove a job's picture from the result store, if it is there."""
        if job.picture is not None:
            await self.results.delete(job.picture)

    def _task_context(
        self,
        job: Job,
        plan: Plan,
        timer: Timer,
        roles: set[str],
        memory: JobMemory,
        models: Callable[[], tuple[ModelDigest, ...]],
    ) -> TaskContext:
        pipeline = self.pipelines[plan.family]

        async def fetch(url: str, field: str) -> bytes:
            return await job.unless_stopped(self.sources.fetch(job.account.id, url, field))

        async def listener(done: StepDone) -> None:
            job.check_wanted()
            if done.stage is Stage.DECODE and not done.tick:
                job.turn.release()  # what follows is the file, for which no engine is kept waiting
            if not done.tick:
                job.publish(Progress(done.stage, done.step, done.total))
                await self._preview(job, plan, pipeline, done)

        async def begin(prepared: PrepareResult) -> None:
            job.check_wanted()
            if plan.paints:
                waited = job.turn.waited
                await job.turn.start()
                timer.exclude(job.turn.waited - waited)
            job.publish(Started(plan.seed, *prepared.network_size, plan.prompt_tokens_cut, prepared.edges))

        return TaskContext(
            family=self.families.get(plan.family),
            pipeline=pipeline,
            networks=recording(self.source.networks(plan.family, plan.loras, job.turn), roles) if plan.paints else None,
            tools=recording(self.source.tools(job.turn), roles),
            fetch=fetch,
            memory=memory,
            decoders=self.decoders,
            limits=self.limits,
            max_input_bytes=self.max_input_bytes,
            max_pixels=self.max_pixels,
            listener=listener,
            timer=timer,
            begin=begin,
            marking=self.marking,
            models=models,
        )

    async def _artifact(
        self, job: Job, result: TaskResult, models: tuple[ModelDigest, ...], timings: tuple[StageTime, ...]
    ) -> Artifact:
        output, file = job.plan.output, result.encoded
        inline = output.delivery is Delivery.INLINE
        if job.confirm is not None:
            await job.confirm()
        if output.target is not None:
            name = f"{job.id}.{output.format.value}"
            media_type = output.format.media_type
            target = output.target
            write = self.sources.storages.write
            copy = partial(write, job.account.id, target, file.data, media_type, name=name)
            await job.unless_stopped(self.keeping.until_stored(len(file.data), copy))
        uri = await self._keep(job, file.data) if _is_stored(job) else None
        return Artifact(
            data=file.data if inline and not job.durable else None,
            uri=uri,
            file_size=len(file.data),
            format=output.format,
            quality=file.quality,
            width=result.width,
            height=result.height,
            seed=job.seed,
            family=job.family,
            sampler=result.sampler,
            steps=result.steps,
            guidance_scale=job.plan.guidance_scale,
            guidance=job.plan.guidance,
            skip_tolerance=job.plan.skip_tolerance,
            models=models,
            timings=timings,
            nsfw_score=result.nsfw_score,
            filtered=result.filtered,
            sha256=(await asyncio.to_thread(hashlib.sha256, file.data)).hexdigest(),
            software=f"imagegen {self.marking.version}",
        )

    async def _keep(self, job: Job, data: bytes) -> str:
        durable_id = job.id if job.durable else None

        async def write() -> Written:
            written = await self.results.write(job.account.id, data, job.plan.output.format, durable_id)
            job.picture = written.name  # noted at once: a job that is stopped now has a picture to remove
            return written

        return self.results.link(*await job.unless_stopped(self.keeping.until_stored(len(data), write)))

    async def _preview(self, job: Job, plan: Plan, pipeline: Pipeline, done: StepDone) -> None:
        interval = plan.preview_interval
        if not interval or done.stage is not Stage.DENOISE or done.x0 is None or done.step % interval:
            return
        small = await asyncio.to_thread(pipeline.preview, done.x0)
        if small is not None:
            scale = PREVIEW_SIDE / max(small.shape[:2])
            size = round(small.shape[1] * scale), round(small.shape[0] * scale)
            pixels = await asyncio.to_thread(geometry.cover, small, *size)
            if plan.safety is not None:
                score = await score_of(self.source.tools().need("nsfw"), pixels)
                if score >= plan.safety.threshold:
                    return
            jpeg = await asyncio.to_thread(self._encode_preview, pixels, plan)
            job.publish(Preview(jpeg, done.step))

    def _encode_preview(self, pixels: Pixels, plan: Plan) -> bytes:
        return self.marking.mark_preview(codec.encode(pixels, PREVIEW).data, plan.origin)


def _is_stored(job: Job) -> bool:
    """Whether the job's picture goes to the result store."""
    return job.durable or job.plan.output.delivery is not Delivery.INLINE
