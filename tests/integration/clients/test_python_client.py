"""The Python client against the whole stack."""

import asyncio
import contextlib
import io
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import PIL.Image
import pytest
import pytest_asyncio

import imagegen_client as ig
from imagegen_client import AsyncClient, Client
from imagegen_client.replay import differences
from imagegen_client.v1 import generation_pb2 as pb
from tests.accounts import new_key
from tests.integration.clients.conftest import Endpoints
from tests.integration.pictures import decode, encode, scene
from tests.integration.web import serve_web

pytestmark = pytest.mark.asyncio(loop_scope="module")
Found = TypeVar("Found")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(endpoints: Endpoints) -> AsyncIterator[AsyncClient]:
    """The client for asyncio."""
    async with AsyncClient(endpoints.grpc, endpoints.key, timeout=60, retry_seconds=5) as found:
        yield found


@pytest.fixture
def sync(endpoints: Endpoints) -> Iterator[Client]:
    """The synchronous client, whose calls must be made in a thread: the server is in this one."""
    with Client(endpoints.grpc, endpoints.key, timeout=60, retry_seconds=5) as found:
        yield found


async def test_a_picture(client: AsyncClient) -> None:
    """By its seed the same, byte for byte; and what it says of itself is true."""
    picture = await client.generate("a red apple", width=128, height=64, seed=7)
    assert decode(picture.data).shape == (64, 128, 3)
    assert (picture.width, picture.height, picture.format, picture.seed) == (128, 64, "png", 7)
    assert (picture.family, picture.sampler, picture.steps) == ("small", "ddim", 4)
    assert picture.seconds["denoise"] > 0
    again = await client.generate("a red apple", width=128, height=64, seed=picture.seed)
    assert again.data == picture.data


async def test_the_synchronous_client(client: AsyncClient, sync: Client) -> None:
    """Gives the same."""
    picture = await asyncio.to_thread(sync.generate, "a red apple", seed=3, steps=2, sampler="euler")
    assert picture.sampler == "euler"
    assert (await client.generate("a red apple", seed=3, steps=2, sampler="euler")).data == picture.data


async def test_replaying_a_job(client: AsyncClient, sync: Client, tmp_path: Any) -> None:
    """The same bytes again, of a picture of text and of one whose pictures must be sent again."""
    job = await client.submit("a red apple", negative_prompt="blue", seed=11, format="jpeg")
    first = await job.wait()
    found = await asyncio.to_thread(sync.replay, job.id)
    assert (found.picture.data, found.differences) == (first.data, ())
    assert found.picture.job_id != job.id
    file = tmp_path / "scene.png"
    file.write_bytes(encode(scene(96, 64)))
    painted = await client.submit("apple", ig.ImageToImage(file, strength=0.6), seed=5)
    second = await painted.wait()
    with pytest.raises(ValueError, match=r"must be sent again; their SHA-256: [0-9a-f]{64}"):
        await client.replay(painted.id)
    assert (await client.replay(painted.id, [file])).differences == ()
    assert (await client.replay(painted.id, [encode(scene(96, 64)), file])).picture.data == second.data


async def test_what_differs_in_a_replay(client: AsyncClient) -> None:
    job = await client.submit("apple", seed=1, steps=2)
    await job.wait()
    artifact = job._job.artifact  # what the service answered
    assert differences(artifact, artifact) == ()
    changed = pb.Artifact()
    changed.CopyFrom(artifact)
    changed.models[1].model_sha256, changed.sampler, changed.sha256 = "ab", pb.SAMPLER_EULER, b"\1" * 32
    changed.software = "imagegen 9"
    found = differences(artifact, changed)
    assert [each.partition(":")[0] for each in found] == [
        "software",
        "sampler",
        f"model {artifact.models[1].model}",
        "file",
    ]
    assert "sampler: ddim then, euler now" in found
    del changed.models[1]
    assert f"model {artifact.models[1].model}: took part then, not now" in differences(artifact, changed)


async def test_only_jobs_with_a_picture_can_be_replayed(client: AsyncClient) -> None:
    job = await client.submit("apple", seed=1, steps=150)
    await job.cancel()
    with pytest.raises(ValueError, match="only jobs that succeeded"):
        await client.replay(job.id)
    with pytest.raises(ig.NotFoundError):
        await client.replay("nothing")


async def test_saving(client: AsyncClient, tmp_path: Any) -> None:
    picture = await client.generate("apple", format="jpeg", quality=90)
    assert picture.save(tmp_path / "apple").name == "apple.jpg"
    assert (tmp_path / "apple.jpg").read_bytes() == picture.data
    assert picture.save(str(tmp_path / "b.jpeg")).suffix == ".jpeg"
    with pytest.raises(ValueError, match="the picture is jpeg"):
        picture.save(tmp_path / "apple.png")
    assert picture.pil().size == (96, 64)


async def test_a_stream(client: AsyncClient) -> None:
    """Each kind of event, the picture last."""
    events = [event async for event in client.stream("apple", steps=6, preview_interval=2, seed=1)]
    kinds = [type(event).__name__ for event in events]
    assert kinds[-1] == "Picture"
    assert {"Started", "Progress"} <= set(kinds)
    started = next(event for event in events if isinstance(event, ig.Started))
    assert started.seed == 1
    stages = {event.stage for event in events if isinstance(event, ig.Progress)}
    assert stages <= {"prepare", "encode", "denoise", "decode", "finish"}


MASK = np.zeros((64, 96, 3), np.uint8)
MASK[16:48, 24:72] = 255


def _tasks() -> list[tuple[str, Callable[[bytes], Any]]]:
    return [
        ("image_to_image", lambda data: ig.ImageToImage(data, strength=0.5, edges=ig.Edges(scale=0.2))),
        ("image_to_image", lambda data: ig.ImageToImage(data, references=[data, encode(MASK)], likeness=0.5)),
        ("inpaint", lambda data: ig.Inpaint(data, encode(MASK))),
        ("inpaint", lambda data: ig.Inpaint(data, encode(MASK), references=[data])),
        ("generate_background", ig.GenerateBackground),
        ("face", lambda _: ig.Face(encode(scene(faces=1)))),
        ("face_swap", lambda _: ig.FaceSwap(encode(scene(faces=1)), encode(scene(faces=1)), strength=0.2)),
        ("control", lambda data: ig.Control(data, kind="canny")),
        ("upscale", lambda data: ig.Upscale(data, fidelity=3)),
        ("outpaint", ig.Outpaint),
        ("edit", lambda data: ig.Edit(data, remove_background="auto")),
    ]


@pytest.mark.parametrize(("name", "make"), _tasks(), ids=[name for name, _ in _tasks()])
async def test_every_task(client: AsyncClient, name: str, make: Callable[[bytes], Any]) -> None:
    job = await client.submit("apple", make(encode(scene(64, 64))), width=96, height=64)
    picture = await job.wait()
    assert job.status.task == name
    assert job.status.state == "succeeded"
    assert decode(picture.data).shape[:2] == (64, 96)


async def test_pictures_of_every_kind(client: AsyncClient, tmp_path: Any) -> None:
    """Path, text of one, bytes, Pillow's, and an address."""
    data = encode(scene())
    path = tmp_path / "scene.png"
    path.write_bytes(data)
    async with serve_web() as web:
        sources: list[ig.Source] = [path, str(path), data, PIL.Image.open(io.BytesIO(data)), web.put("/a.png", data)]
        made = [await client.generate(task=ig.Edit(source), width=64, height=64) for source in sources]
    assert len({decode(picture.data).tobytes() for picture in made}) == 1
    with pytest.raises(FileNotFoundError):
        await client.generate(task=ig.Edit(tmp_path / "gone.png"))
    with pytest.raises(TypeError, match="a picture must be a path"):
        await client.generate(task=ig.Edit(7))  # type: ignore[arg-type]


async def test_a_job_is_watched_found_listed_and_deleted(client: AsyncClient) -> None:
    job = await client.submit("apple", priority="low")
    found = await client.job(job.id)
    picture = await found.wait()
    events = [event async for event in job.watch()]
    assert events[-1] == picture
    assert job.id in [each.id async for each in client.jobs("succeeded")]
    assert (await job.refresh()).url
    assert (await job.delete()).state == "deleted"
    with pytest.raises(ig.CancelledError):
        await job.wait()


async def test_the_same_request_id_is_the_same_job(client: AsyncClient) -> None:
    first = await client.submit("apple", seed=1, request_id="order-17")
    assert (await client.submit("apple", seed=1, request_id="order-17")).id == first.id
    with pytest.raises(ig.InvalidRequestError) as caught:
        await client.submit("apple", seed=2, request_id="order-17")
    assert [each.field for each in caught.value.violations] == ["request.request_id"]


async def test_several_at_once(client: AsyncClient, endpoints: Endpoints) -> None:
    """Seeds in a row; the same key again is the same jobs; all are taken, or none."""
    jobs = await client.submit_many(3, "apple", seed=5, request_id="three")
    pictures = [await job.wait() for job in jobs]
    assert [picture.seed for picture in pictures] == [5, 6, 7]
    assert pictures[1].data == (await client.generate("apple", seed=6)).data
    again = await client.submit_many(3, "apple", seed=5, request_id="three")
    assert [job.id for job in again] == [job.id for job in jobs]
    with pytest.raises(ig.InvalidRequestError, match="was already used for another request"):
        await client.submit_many(2, "apple", seed=5, request_id="three")
    with pytest.raises(ig.InvalidRequestError, match="from 1 to 10"):
        await client.submit_many(11, "apple")
    key = await new_key(endpoints.database_url, "client-three", max_active=3, credits=10)
    async with AsyncClient(endpoints.grpc, key, retry_seconds=0) as narrow:
        with pytest.raises(ig.TooManyJobsError):
            await narrow.submit_many(4, "apple")
        assert [job async for job in narrow.jobs()] == []
        account = await narrow.account()
        assert (account.active_jobs, account.credits) == (0, 10)
        picture = encode(np.random.default_rng(1).integers(0, 256, (512, 512, 3), np.uint8))  # more than a row holds
        for job in await narrow.submit_many(3, "apple", ig.ImageToImage(picture), width=96, height=64):
            assert (await job.wait()).width == 96


async def test_an_estimate(client: AsyncClient, endpoints: Endpoints) -> None:
    """What it costs is what is then taken; nothing is queued."""
    key = await new_key(endpoints.database_url, "client-estimates", credits=10)
    async with AsyncClient(endpoints.grpc, key) as counted:
        found = await counted.estimate("apple", n=3)
        assert (found.credits, found.run > 0, found.wait >= 0) == (3, True, True)
        assert [job async for job in counted.jobs()] == []
        with pytest.raises(ig.InvalidRequestError):
            await counted.estimate("apple", family="none")
        for job in await counted.submit_many(3, "apple"):
            await job.wait()
        assert (await counted.account()).credits == 7
    assert (await client.estimate("apple", ig.Edit(encode(scene())))).credits == 0


async def test_families_and_account(client: AsyncClient) -> None:
    families = await client.families()
    assert [family.name for family in families] == ["small", "bare"]
    assert "inpaint" in families[0].tasks
    assert (families[0].width, families[0].height, families[0].steps) == (96, 64, 4)
    assert (await client.account()).name == "test"


@pytest.mark.parametrize(
    ("options", "kind", "field"),
    [
        ({"width": 17_000}, ig.InvalidRequestError, "request.size.width"),
        ({"steps": 151}, ig.InvalidRequestError, "request.steps"),
        ({"family": "none"}, ig.InvalidRequestError, "request.family"),
        ({"task": ig.Inpaint(encode(scene()), encode(0 * MASK))}, ig.PreconditionError, "inpaint.mask"),
        ({"task": ig.Edit(b"not a picture")}, ig.InvalidRequestError, "edit.image"),
        ({"task": ig.Face(encode(scene()), edges=None)}, ig.PreconditionError, "face.image"),
    ],
    ids=str,
)
async def test_wrong_requests(client: AsyncClient, options: Any, kind: type[ig.ImagegenError], field: str) -> None:
    """Refused at once or by the job: the same class, and the field."""
    with pytest.raises(kind) as caught:
        await client.generate("apple", **options)
    assert [each.field for each in caught.value.violations] == [field]
    assert caught.value.code is not None


async def test_what_the_client_itself_refuses(client: AsyncClient) -> None:
    for options, kind, words in (
        ({"sampler": "magic"}, ValueError, "sampler must be one of ddim"),
        ({"format": "gif"}, ValueError, "format must be one of"),
        ({"size": 3}, TypeError, "size is not an option"),
    ):
        with pytest.raises(kind, match=words):
            await client.submit("apple", **options)


async def test_keys_and_limits(endpoints: Endpoints) -> None:
    async with AsyncClient(endpoints.grpc, "wrong", retry_seconds=0) as client:
        with pytest.raises(ig.AuthenticationError) as unknown:
            await client.families()
    assert unknown.value.reason == "API_KEY_UNKNOWN"
    for name, limits, kind in (
        ("client-poor", {"credits": 0}, ig.NotEnoughCreditsError),
        ("client-fast", {"requests_per_minute": 1}, ig.RateLimitedError),
        ("client-busy", {"max_active": 1}, ig.TooManyJobsError),
    ):
        key = await new_key(endpoints.database_url, name, **limits)
        async with AsyncClient(endpoints.grpc, key, retry_seconds=0) as client:
            with pytest.raises(kind) as caught:
                await asyncio.gather(*(client.submit("apple", steps=60) for _ in range(4)))
        assert isinstance(caught.value, ig.LimitError)


async def test_nobody_answers() -> None:
    async with AsyncClient("127.0.0.1:1", "key", retry_seconds=0.5) as client:
        with pytest.raises(ig.UnavailableError):
            await client.generate("apple")


async def test_a_picture_that_is_given_up_is_cancelled(endpoints: Endpoints, client: AsyncClient, sync: Client) -> None:
    """By a deadline, by cancelling, and by closing a stream, of either client."""
    async with AsyncClient(endpoints.grpc, endpoints.key, timeout=0.5) as hurried:
        with pytest.raises(ig.DeadlineError):
            await hurried.generate("apple", steps=150, request_id="hurried")
    waiting = asyncio.create_task(client.generate("apple", steps=150, request_id="given-up"))
    await asyncio.wait([waiting], timeout=0.5)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting

    def leave() -> None:
        stream = sync.stream("apple", steps=150, request_id="left")
        next(stream)
        stream.close()

    await asyncio.to_thread(leave)
    for name in ("hurried", "given-up", "left"):
        job = await client.submit("apple", steps=150, request_id=name)
        assert job.status.state == "cancelled", name


async def test_threads_share_a_client(sync: Client) -> None:
    made: list[ig.Picture] = []
    threads = [threading.Thread(target=lambda n=n: made.append(sync.generate("apple", seed=n))) for n in range(4)]

    def run() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    await asyncio.to_thread(run)
    assert sorted(picture.seed for picture in made) == [0, 1, 2, 3]
