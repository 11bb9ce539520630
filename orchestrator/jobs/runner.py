"""Makes a job's picture: the task, its events, and where the picture goes."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

from orchestrator import metrics
from orchestrator.diffusion.pipeline import Pipeline, Stage, StepDone, Timer
from orchestrator.imaging import codec, geometry
from orchestrator.imaging.codec import Encoded
from orchestrator.jobs.events import Artifact, Preview, Progress, Started
from orchestrator.jobs.job import Job
from orchestrator.jobs.results import ResultStore
from orchestrator.models.contracts import NetworkSource
from orchestrator.models.families import Families
from orchestrator.params import Delivery, ImageFormat, OutputParams, RequestParams
from orchestrator.tasks import text_to_image
from orchestrator.tasks.text_to_image import Plan

PREVIEW = OutputParams(format=ImageFormat.JPEG, quality=80)
PREVIEW_SIDE = 256
"""Longer side of previews, pixels: large enough to see, small enough (about 6 KB) to send at every step."""


class Runner:
    """Plans requests and makes their pictures."""

    def __init__(
        self, families: Families, pipelines: Mapping[str, Pipeline], source: NetworkSource, results: ResultStore
    ) -> None:
        self._families, self._pipelines = families, pipelines
        self._source, self._results = source, results

    async def plan(self, params: RequestParams) -> Plan:
        """Decide what a request left open.

        Raises:
            InvalidRequestError: the family is unknown, or cannot do what is asked.
            EngineUnavailableError: the family's networks are not ready.
        """
        family = self._families.get(params.family)
        self._source.networks(family.name)
        return await text_to_image.plan(params, family, self._pipelines[family.name])

    async def make(self, job: Job) -> Artifact:
        """Make the picture of a job, publishing events on the way; not its end.

        Raises:
            ImagegenError: the job's stop_reason; no network was called after the running step.
            Whatever the task raises.
        """
        _check_wanted(job)
        plan = job.plan
        pipeline, timer = self._pipelines[plan.family], Timer(plan.family)
        wait = (datetime.now(UTC) - job.created).total_seconds()
        metrics.QUEUE_WAIT.labels(job.options.priority.value).observe(wait)
        job.publish(Started(plan.inputs.seed, *plan.inputs.size, plan.prompt_tokens_cut))

        async def listener(done: StepDone) -> None:
            _check_wanted(job)
            if done.tick:
                return
            job.publish(Progress(done.stage, done.step, done.total))
            await self._preview(job, pipeline, done)

        encoded = await text_to_image.run(plan, pipeline, self._source.networks(plan.family), listener, timer)
        return await self._artifact(job, encoded, timer)

    async def discard(self, artifact: Artifact) -> None:
        """Remove a picture from the result store, if it is there."""
        if artifact.uri is not None:
            await self._results.delete(artifact.uri)

    async def _artifact(self, job: Job, encoded: Encoded, timer: Timer) -> Artifact:
        plan, output = job.plan, job.plan.output
        inline = output.delivery is Delivery.INLINE
        stored = not inline or job.options.detach_on_disconnect
        uri = await self._results.put(encoded.data, output.format) if stored else None
        return Artifact(
            data=encoded.data if inline else None,
            uri=uri,
            file_size=len(encoded.data),
            format=output.format,
            quality=encoded.quality,
            width=plan.size[0],
            height=plan.size[1],
            seed=plan.inputs.seed,
            family=plan.family,
            sampler=plan.inputs.sampler,
            steps=plan.inputs.steps,
            models=self._source.digests(plan.family),
            timings=tuple(timer.stages),
        )

    async def _preview(self, job: Job, pipeline: Pipeline, done: StepDone) -> None:
        interval = job.plan.preview_interval
        if not interval or done.stage is not Stage.DENOISE or done.x0 is None or done.step % interval:
            return
        small = pipeline.preview(done.x0)
        if small is not None:
            scale = PREVIEW_SIDE / max(small.shape[:2])
            size = round(small.shape[1] * scale), round(small.shape[0] * scale)
            pixels = await asyncio.to_thread(geometry.cover, small, *size)
            encoded = await asyncio.to_thread(codec.encode, pixels, PREVIEW)
            job.publish(Preview(encoded.data, done.step))


def _check_wanted(job: Job) -> None:
    if job.stop_reason is not None:
        raise job.stop_reason
