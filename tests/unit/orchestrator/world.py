"""A small world for the rooms above the networks: one family with a tokenizer made here, and the fakes under it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from orchestrator.accounts.account import Account
from orchestrator.arrays import Floats
from orchestrator.decoding.decoders import DecoderProcess, Decoders
from orchestrator.diffusion.pipeline import Pipeline
from orchestrator.errors import ImagegenError, InvalidRequestError, Violation
from orchestrator.generation.events import Artifact, Event
from orchestrator.generation.forecast import Forecaster
from orchestrator.generation.job import Job, new_job_id
from orchestrator.generation.runner import Runner
from orchestrator.imaging.decode import DecodeLimits
from orchestrator.models.contracts import AddedRows
from orchestrator.models.fakes import FakeNetworks
from orchestrator.models.families import Families, Family
from orchestrator.params import ImageFormat, JobOptions, Limits, Priority, RequestParams, SizeParams, TextToImage
from orchestrator.provenance.marking import Marking
from orchestrator.results.sources import Sources
from orchestrator.results.storages import Storages
from orchestrator.results.store import ResultStore, Written
from orchestrator.scheduling.costs import CostModel
from orchestrator.scheduling.turns import Turns
from orchestrator.streams.admission import Admission
from orchestrator.streams.queue import StreamQueue, in_order
from orchestrator.tasks.budget import Budgets
from orchestrator.web.hosts import Hosts

TEXT_LENGTH = 8
PUBLIC_URL = "http://pictures.example"


def account(number: int, name: str) -> Account:
    """An account without limits."""
    return Account(
        id=number,
        name=name,
        email="",
        max_active=None,
        requests_per_minute=None,
        credits_counted=False,
        key_prefix=None,
    )


ALICE, BOB = account(2, "alice"), account(3, "bob")

DECODING = DecoderProcess()
"""Of all tests of this process: it ends with it."""
FAMILIES = f"""
[networks.small]
text_encoder = "small_text_encoder"
unet = "small_unet"
vae_decoder = "small_vae_decoder"
tokenizer = "tokenizer.json"
text_length = {TEXT_LENGTH}
pad_id = 0
scaling_factor = 0.5
buckets = [[32, 32], [64, 32]]

[networks.small.schedule]
prediction_type = "v_prediction"

[networks.small.preview]
factors = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
bias = [0.0, 0.0, 0.0]

[families.small]
networks = "small"
license = "MIT"
prompt_template = "{{prompt}} good"
default_width = 64
default_height = 96
default_sampler = "ddim"
default_steps = 4
default_guidance_scale = 2.0
"""


def write_families(folder: Path, text: str = FAMILIES) -> Path:
    """families.toml in `folder`, its tokenizer.json next to it."""
    words = {word: number for number, word in enumerate(["[PAD]", "[BOS]", "[EOS]", "[UNK]", "red", "house", "good"])}
    tokenizer = tokenizers.Tokenizer(WordLevel(words, unk_token="[UNK]"))  # noqa: S106  # a token of text
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[BOS] $A [EOS]", special_tokens=[("[BOS]", 1), ("[EOS]", 2)])
    tokenizer.save(str(folder / "tokenizer.json"))
    path = folder / "families.toml"
    path.write_text(text, "utf-8")
    return path


@dataclass
class SteppedNetworks(FakeNetworks):
    """Fakes that show each UNet call.

    Attributes:
        rows: number of rows of each UNet call.
        at_call: by the number of a UNet call, from 1, what is done before it answers.
        permits: if set, each UNet call waits for one.
        on_sample: if set, is given the sample of each UNet call.
    """

    rows: list[int] = field(default_factory=list)
    at_call: dict[int, Callable[[], object]] = field(default_factory=dict)
    permits: asyncio.Semaphore | None = None
    on_sample: Callable[[Floats], object] | None = None

    async def _unet(
        self, sample: Floats, timestep: Floats, encoder_hidden_states: Floats, added: AddedRows | None = None
    ) -> Floats:
        if self.permits is not None:
            await self.permits.acquire()
        self.rows.append(len(sample))
        if self.on_sample is not None:
            self.on_sample(sample)
        self.at_call.get(len(self.rows), lambda: None)()
        return await super()._unet(sample, timestep, encoder_hidden_states, added)


@dataclass
class Shelf:
    """Pictures by URL, in place of the web.

    Attributes:
        files: what is fetched.
        opened: a URL that is not among them is waited for until this is set, and then refused.
        waits: set while something is waited for.
        broken_off: URLs whose fetching was cancelled.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    waits: asyncio.Event = field(default_factory=asyncio.Event)
    broken_off: list[str] = field(default_factory=list)

    async def fetch(self, url: str, field: str, _hosts: Hosts | None = None) -> bytes:
        """See results.sources.Fetch."""
        if url in self.files:
            return self.files[url]
        self.waits.set()
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.broken_off.append(url)
            raise
        raise InvalidRequestError(Violation(field, "was not found"))


class Folder(ResultStore):
    """Pictures in a folder, without a database that knows of them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder, self._count = folder, 0

    async def check(self) -> None:
        """It takes every picture."""

    async def write(
        self, account_id: int, data: bytes, image_format: ImageFormat, _job_id: str | None = None
    ) -> Written:
        """A file named by its account."""
        self._count += 1
        name = f"{account_id}-{self._count}.{image_format}"
        (self._folder / name).write_bytes(data)
        return Written(name, datetime.now(UTC))

    def link(self, name: str, _expires: datetime) -> str:
        """An address of the gateway."""
        return f"{PUBLIC_URL}/results/{name}"

    async def delete(self, name: str) -> None:
        """Remove a file."""
        (self._folder / name).unlink(missing_ok=True)


class Copies(Storages):
    """Copies in the same folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def check(self, _account_id: int, url: str, field: str) -> None:
        """A storage called "none" is nobody's."""
        if url.startswith("storage://none/"):
            raise InvalidRequestError(Violation(field, "no storage named none is configured"))

    async def write(self, account_id: int, url: str, data: bytes, _media_type: str, *, name: str = "") -> None:  # noqa: ARG002
        """A file named by its account and the last part of its URL; a storage called "lost" is refused."""
        if url.startswith("storage://lost/"):
            raise InvalidRequestError(Violation("output.target", "cannot be written"))
        (self._folder / f"copy-{account_id}-{url.rpartition('/')[2]}").write_bytes(data)


@dataclass
class World:
    """The queue and all that it uses."""

    networks: SteppedNetworks
    family: Family
    pipeline: Pipeline
    admission: Admission[Job]
    queue: StreamQueue
    runner: Runner
    results: Folder
    folder: Path
    shelf: Shelf

    async def submit(
        self,
        *,
        account: Account = ALICE,
        priority: Priority = Priority.NORMAL,
        deadline: float | None = None,
        **fields: Any,
    ) -> Job:
        """A job of the small family; `fields` are those of RequestParams."""
        options = JobOptions(request_id="r1", priority=priority, deadline_seconds=deadline)
        return await self.queue.submit(account, params(**fields), options, new_job_id())

    async def make(self, **fields: Any) -> Artifact:
        """The picture of a job that runs to its end."""
        last = (await events(await self.submit(**fields)))[-1]
        assert isinstance(last, Artifact)
        return last

    def stored(self) -> list[str]:
        """Names of the files in the result store."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def assert_idle(self) -> None:
        """Nothing runs or waits: every slot is free."""
        assert self.admission._running == {}
        assert self.admission.waiting == []


async def any_host(_account_id: int) -> None:
    """See results.sources.Sources.hosts."""


def build(
    tmp_path: Path,
    *,
    slots: int = 1,
    max_queued: int = 100,
    max_held_bytes: int = 1_000_000,
    picture_memory: int = 1 << 32,
    families: str = FAMILIES,
    wake_seconds: float = 0.0,
) -> World:
    """A world in `tmp_path`."""
    registry = Families.load(write_families(tmp_path, families))
    networks, folder, shelf = SteppedNetworks(), tmp_path / "results", Shelf()
    pipelines = {family.name: Pipeline(family, registry.folder) for family in registry}
    results = Folder(folder)
    turns = Turns(CostModel())
    runner = Runner(
        families=registry,
        pipelines=pipelines,
        source=networks,
        results=results,
        sources=Sources(shelf.fetch, Copies(folder), any_host),
        limits=DecodeLimits(),
        max_input_bytes=1 << 25,
        decoders=Decoders(DECODING, at_once=2, seconds=60),
        budgets=Budgets.of(1 << 30, picture_memory),
        max_pixels=4096 * 4096,
        marking=Marking(version="1.2.3"),
        turns=turns,
        forecaster=Forecaster(turns.costs),
    )
    admission: Admission[Job] = Admission(
        slots, max_queued, max_held_bytes, order=partial(in_order, turns), soon=lambda: 1.0
    )
    queue = StreamQueue(runner, admission, wake_seconds)
    family = registry.get(None)
    return World(networks, family, pipelines[family.name], admission, queue, runner, results, folder, shelf)


def params(**fields: Any) -> RequestParams:
    """A valid request, with `fields` changed."""
    size = SizeParams(**{name: fields.pop(name) for name in ("width", "height") if name in fields})
    common: dict[str, Any] = {
        "task": TextToImage(),
        "prompt": "red house",
        "limits": Limits(),
        "seed": 7,
        "size": size,
    }
    return RequestParams(**common | fields)


async def events(job: Job, after_sequence: int = 0) -> list[Event]:
    """All events of a job that a watcher sees until its end; its error is raised."""
    return [event async for _, event in job.watch(after_sequence)]


async def error_of(job: Job) -> ImagegenError:
    """The error that a watcher of a job that fails gets."""
    try:
        await events(job)
    except ImagegenError as error:
        return error
    raise AssertionError("the job did not fail")


async def until(job: Job, kind: type[Event], count: int = 1) -> Event:
    """Watch until the count-th event of a kind."""
    async with watching(job) as stream:
        async for _, event in stream:
            count -= isinstance(event, kind)
            if count == 0:
                return event
    raise AssertionError(f"the job ended without {kind.__name__}")


@asynccontextmanager
async def watching(job: Job) -> AsyncIterator[AsyncIterator[tuple[int, Event]]]:
    """A watcher that is closed at the end of the block."""
    stream = job.watch()
    try:
        yield stream
    finally:
        await stream.aclose()


def hold(networks: SteppedNetworks) -> asyncio.Semaphore:
    """UNet calls wait from now on; each release lets one through."""
    networks.permits = asyncio.Semaphore(0)
    return networks.permits


def release_all(networks: SteppedNetworks) -> None:
    """Let every UNet call through that a test can make."""
    assert networks.permits is not None
    for _ in range(1000):
        networks.permits.release()
