"""Wiring: builds the rooms, serves them, watches Triton, and stops gracefully."""

import asyncio
import os
import signal
from dataclasses import asdict
from decimal import Decimal
from functools import partial

import grpc
import prometheus_client
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common import VERSION
from common.errors import SettingsError
from imagegen.v1 import (
    accounts_pb2,
    accounts_pb2_grpc,
    generation_pb2,
    generation_pb2_grpc,
    jobs_pb2,
    jobs_pb2_grpc,
    provenance_pb2,
    provenance_pb2_grpc,
    webhooks_pb2,
    webhooks_pb2_grpc,
)
from orchestrator import metrics
from orchestrator.accounts.authentication import Accounts
from orchestrator.accounts.engine_usage import EngineUsage
from orchestrator.api import reflection, status, tls, transport
from orchestrator.api.accounts import AccountServicer
from orchestrator.api.auth import EdgeInterceptor
from orchestrator.api.converters import from_stored
from orchestrator.api.generation import GenerationServicer
from orchestrator.api.health import HealthServicer
from orchestrator.api.jobs import JobServicer
from orchestrator.api.provenance import ProvenanceServicer
from orchestrator.api.receiving import large_at_once
from orchestrator.api.webhooks import WebhookServicer
from orchestrator.cancellation import cancel_and_wait
from orchestrator.config import Settings
from orchestrator.database.cost_store import CostKeeper
from orchestrator.database.listen import ACCOUNTS, Listener
from orchestrator.database.pool import Database
from orchestrator.decoding.decoders import DecoderProcess, Decoders
from orchestrator.diffusion.pipeline import Pipeline
from orchestrator.generation.forecast import Forecaster
from orchestrator.generation.job import Job
from orchestrator.generation.runner import Runner
from orchestrator.generation.verification import Verifier
from orchestrator.imaging.decode import DecodeLimits
from orchestrator.jobs.service import link
from orchestrator.jobs.system import JobSystem, new_process_id
from orchestrator.jobs.thumbnails import Thumbnails
from orchestrator.memory import PictureMemory
from orchestrator.models.embeddings import Embeddings
from orchestrator.models.endpoint import Probing
from orchestrator.models.families import NEEDS, Families
from orchestrator.models.measuring import Measuring
from orchestrator.models.pool import TritonPool
from orchestrator.models.readiness import TritonNetworks
from orchestrator.params import Limits, TaskName
from orchestrator.provenance import signing
from orchestrator.provenance.marking import Marking
from orchestrator.results.quota import Quota
from orchestrator.results.sources import Sources, source_hosts
from orchestrator.results.storages import Storages
from orchestrator.results.store import ResultStore
from orchestrator.scheduling.costs import CostModel
from orchestrator.scheduling.scheduled import Load
from orchestrator.scheduling.turns import Turns
from orchestrator.streams.admission import Admission
from orchestrator.streams.leases import Leases
from orchestrator.streams.queue import StreamQueue, in_order
from orchestrator.tasks import memory_needs
from orchestrator.tasks.budget import Budgets
from orchestrator.web.fetching import Fetcher, FetchSettings
from orchestrator.web.posting import Poster
from orchestrator.webhooks.deliveries import Deliveries
from orchestrator.webhooks.delivery import MAX_CONCURRENT, POST_SECONDS, Deliverer

GENERATION = generation_pb2.DESCRIPTOR.services_by_name["GenerationService"].full_name
ACCOUNT = accounts_pb2.DESCRIPTOR.services_by_name["AccountService"].full_name
PROVENANCE = provenance_pb2.DESCRIPTOR.services_by_name["ProvenanceService"].full_name
JOBS = jobs_pb2.DESCRIPTOR.services_by_name["JobService"].full_name
WEBHOOKS = webhooks_pb2.DESCRIPTOR.services_by_name["WebhookService"].full_name

HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

LIVE = "live"
"""Health of this process alone: what a liveness probe asks for. Nothing that it calls has a part in it."""

LOAD_SECONDS = 10.0
"""For the costs that were stored, before networks are measured."""
MEASURE_SECONDS = 2.0
"""Between two looks whether an engine has networks that were not measured."""

log = structlog.get_logger()


class Orchestrator:
    """The service. `start`, then `stop` once; or `run`, which does both by signals."""

    def __init__(self, settings: Settings) -> None:
        """Build everything that needs no network.

        Raises:
            SettingsError, FamilyConfigError: misconfiguration.
        """
        self._memory = PictureMemory.of(settings)
        settings = self._settings = memory_needs.fitted(settings, self._memory)
        self._families = Families.load(settings.families)
        self._pipelines = {f.name: Pipeline(f, self._families.folder) for f in self._families}
        self._database = Database(settings.database_url, settings.database_connections)
        self._process_id = new_process_id()
        self._listener = Listener(settings.database_url, self._process_id)
        self._accounts = Accounts(self._database, anonymous=settings.anonymous)
        self._listener.subscribe(ACCOUNTS, self._accounts.forget)
        self._usage = EngineUsage(self._database)
        self._leases = Leases(self._database, Decimal(str(settings.price)))
        self._marking = Marking.from_settings(settings, VERSION)
        if self._marking.invisible is not None and self._families.tools.watermark_encoder is None:
            raise SettingsError("IMAGEGEN_INVISIBLE_MARK needs watermark_encoder in table [tools] of families.toml")
        self._trust_anchors = signing.read_anchors(settings.c2pa_trust_file)
        self._results = ResultStore.from_settings(settings, self._database, os.environ)
        for family in self._families:
            if family.default_width * family.default_height > settings.max_pixels:
                raise SettingsError(f"IMAGEGEN_MAX_PIXELS is less than the default size of family {family.name!r}")
        self._decoding = DecoderProcess()
        self._decoders = Decoders(self._decoding, at_once=settings.decoders, seconds=settings.decode_seconds)
        self._thumbnails = Thumbnails(
            self._results, Decoders(self._decoding, at_once=1, seconds=settings.decode_seconds)
        )
        self._costs = CostModel()
        self._keeper = CostKeeper(self._database, self._costs)
        self._measure: asyncio.Task[None] | None = None
        self._health = HealthServicer()
        self.grpc_port = 0
        self.metrics_port = 0

    @property
    def in_flight(self) -> int:
        """Pictures that are being generated."""
        return self._queue.in_flight + self._system.in_flight

    async def start(self) -> None:
        """Listen. Returns when calls are answered; families become ready as Triton's models do.

        Raises:
            SettingsError: an address is taken.
        """
        settings = self._settings
        probing = Probing(idle_seconds=settings.probe_seconds, timeout_seconds=settings.probe_timeout_seconds)
        self._turns = Turns(self._costs, settings.engine_requests)
        self._triton = TritonPool(settings.triton_url, settings.triton_timeout_seconds, probing, self._turns)
        self._networks = TritonNetworks(self._triton, self._families, Embeddings(settings.embedding_cache_bytes))
        await self._decoders.prove()
        await self._database.open()
        await self._listener.start()
        await self._keeper.start()
        await self._usage.start()
        self._wire()
        largest = transport.max_message_bytes(settings)
        edge = EdgeInterceptor(self._accounts, largest, large=large_at_once(self._memory.arriving, largest))
        self._server = grpc.aio.server(interceptors=[edge], options=transport.options(settings))
        self._register()
        self._listen()
        await self._check_models()
        await self._leases.start()
        await self._system.start()
        await self._deliverer.start()
        await self._server.start()
        self._watch = asyncio.create_task(self._watch_triton(), name="watch Triton")
        self._measure = asyncio.create_task(self._measure_costs(), name="measure networks")
        log.info("memory for pictures", **asdict(self._memory))
        log.info("started", grpc=settings.grpc_address, metrics=settings.metrics_address, triton=settings.triton_url)

    async def stop(self) -> bool:
        """Take no new work, let running work end within the grace time, and close. Returns whether all of it ended."""
        await cancel_and_wait(self._watch, self._measure)
        self._health.stop()
        log.info("stopping", grace_seconds=self._settings.grace_seconds)
        grace = self._settings.grace_seconds
        drained = all(await asyncio.gather(self._queue.drain(grace), self._system.drain(grace)))
        await self._system.close()
        await self._deliverer.close()
        await self._server.stop(grace=5.0 if drained else 0.0)  # streams still send what their jobs generated
        await self._leases.close()
        await self._fetcher.close()
        await asyncio.to_thread(self._decoding.close)
        await self._listener.close()
        await self._keeper.close()
        await self._usage.close()
        await self._accounts.close()
        await self._database.close()
        await self._triton.close()
        await asyncio.to_thread(self._metrics.shutdown)
        self._metrics.server_close()
        log.info("stopped", drained=drained)
        return drained

    async def run(self) -> bool:
        """Serve until SIGTERM or SIGINT; returns what `stop` returns."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        await self.start()
        await stopping.wait()
        return await self.stop()

    def _wire(self) -> None:
        """Build the two kinds of work, streams and durable jobs, over what generates their pictures."""
        settings = self._settings
        self._limits = Limits(max_pixels=settings.max_pixels, max_input_bytes=settings.max_input_bytes)
        fetching = FetchSettings(
            seconds=settings.fetch_seconds,
            max_bytes=settings.max_input_bytes,
            allow_private=settings.fetch_private,
            ports=settings.source_ports,
        )
        self._fetcher = Fetcher(fetching)
        storages = Storages(self._database, settings.max_input_bytes, seconds=settings.fetch_seconds)
        runner = Runner(
            families=self._families,
            pipelines=self._pipelines,
            source=self._networks,
            results=self._results,
            quota=Quota(self._database, settings.max_stored_bytes, settings.max_account_stored_bytes),
            sources=Sources(self._fetcher.fetch, storages, partial(source_hosts, self._database)),
            limits=DecodeLimits(max_pixels=settings.max_input_pixels),
            max_input_bytes=settings.max_input_bytes,
            decoders=self._decoders,
            budgets=Budgets.of(self._memory.fetched, self._memory.working),
            max_pixels=settings.max_pixels,
            marking=self._marking,
            turns=self._turns,
            forecaster=Forecaster(self._costs),
            usage=self._usage,
        )
        self._verifier = Verifier(runner=runner, trust_anchors=self._trust_anchors)
        admission = Admission[Job](
            settings.max_in_flight,
            settings.max_queued,
            self._memory.held,
            order=partial(in_order, self._turns),
            soon=self._soon,
        )
        self._queue = StreamQueue(runner, admission, settings.wake_seconds)
        for family in self._families:  # from the start, so that a scaler finds them
            metrics.JOB_BACKLOG.labels(family.name).set(0)
            metrics.STREAM_BACKLOG.labels(family.name).set(0)
            metrics.RUNNING.labels(family.name).set(0)
            metrics.ENGINE_REQUESTS.labels(family.name).set(0)
            metrics.ENGINE_BACKLOG.labels(family.name).set(0)
        parse = partial(from_stored, limits=self._limits)
        self._system = JobSystem(
            settings,
            self._database,
            self._listener,
            runner,
            self._results,
            parse,
            process_id=self._process_id,
            may_start=self._can_generate,
            streams=lambda: self._queue.in_flight,
        )
        poster = Poster(
            seconds=POST_SECONDS,
            max_connections=MAX_CONCURRENT,
            allow_private=settings.webhook_private,
            ports=settings.receiver_ports,
        )
        self._deliverer = Deliverer(
            self._database, self._listener, poster, partial(link, self._results), status.message
        )

    def _listen(self) -> None:
        """Take the ports of gRPC and of the metrics."""
        settings = self._settings
        self.grpc_port = tls.add_port(self._server, settings)
        host, _, port = settings.metrics_address.rpartition(":")
        try:
            self._metrics, _ = prometheus_client.start_http_server(int(port), host.strip("[]"))
        except OSError as error:
            raise SettingsError(f"IMAGEGEN_METRICS_ADDRESS={settings.metrics_address!r}: {error}") from error
        self.metrics_port = self._metrics.server_port

    def _register(self) -> None:
        server, jobs, limits = self._server, self._system.jobs, self._limits
        marks = generation_pb2.Marks(
            xmp=self._marking.xmp,
            c2pa=self._marking.signer is not None,
            invisible=self._marking.invisible is not None,
        )
        generation = GenerationServicer(
            self._queue,
            jobs,
            self._leases,
            self._families,
            self._networks,
            limits,
            marks,
            charge_filtered=self._settings.charge_filtered,
        )
        generation_pb2_grpc.add_GenerationServiceServicer_to_server(generation, server)
        jobs_pb2_grpc.add_JobServiceServicer_to_server(
            JobServicer(
                jobs,
                self._results,
                self._thumbnails,
                limits,
                webhook_private=self._settings.webhook_private,
                webhook_ports=self._settings.receiver_ports,
            ),
            server,
        )
        webhooks_pb2_grpc.add_WebhookServiceServicer_to_server(WebhookServicer(Deliveries(self._database)), server)
        accounts_pb2_grpc.add_AccountServiceServicer_to_server(AccountServicer(self._database, marks), server)
        provenance_pb2_grpc.add_ProvenanceServiceServicer_to_server(ProvenanceServicer(self._verifier, limits), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.add((GENERATION, JOBS, WEBHOOKS, ACCOUNT, PROVENANCE, HEALTH), server)

    def _soon(self) -> float:
        """Seconds until about the next request ends."""
        return min((each.end for each in self._turns.forecast().values()), default=0.0)

    def _can_generate(self) -> bool:
        return any(self._networks.is_ready(family.name) for family in self._families)

    async def _watch_triton(self) -> None:
        while True:
            await asyncio.sleep(self._settings.health_interval_seconds)
            self._report_load()
            try:
                await self._check_models()
            except Exception:
                log.exception("watching_triton_failed")

    async def _measure_costs(self) -> None:
        """Measure what nothing is known of, also of engines that come later."""
        settings = self._settings
        measuring = Measuring(self._triton, self._families, self._costs, settings.measure_seconds, self._turns.idle)
        await self._keeper.loaded(LOAD_SECONDS)
        while settings.measure_seconds:
            try:
                await measuring.run()
            except Exception:
                log.exception("measuring_failed")
            await asyncio.sleep(MEASURE_SECONDS)

    def _report_load(self) -> None:
        """Set the gauges that Tritons are scaled by."""
        load = self._turns.load()
        for family in self._families:
            found = load.get(family.name, Load())
            metrics.ENGINE_REQUESTS.labels(family.name).set(found.working)
            metrics.ENGINE_BACKLOG.labels(family.name).set(found.waiting_seconds)

    async def _check_models(self) -> None:
        """Set the health of every feature: a task of a family by "task/family", a service, "" for the whole, LIVE."""
        await self._networks.refresh()
        ready = {family.name: self._networks.is_ready(family.name) for family in self._families}
        waiting = self._networks.tools().waiting
        states = {
            f"{task}/{family.name}": (ready[family.name] or task == TaskName.EDIT) and not NEEDS[task] & waiting
            for family in self._families
            for task in family.tasks
        }
        serves = any(ready.values()) or self._settings.wake_seconds > 0  # it takes requests that wait for a Triton
        states |= dict.fromkeys(("", GENERATION, JOBS), serves)
        states[LIVE] = True
        for name, is_ready in states.items():
            self._health.set(name, serving=is_ready)
