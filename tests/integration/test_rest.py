"""The REST API through gateway, orchestrator and a real Triton, by the documentation's own JSON."""

import asyncio
import base64
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from gateway.__main__ import listen, make_server
from gateway.config import Address
from gateway.config import Settings as GatewaySettings
from local import triton
from local.settings import Ports
from tests.accounts import new_key
from tests.integration.jobs.receiver import receiving
from tests.integration.pictures import encode, scene
from tests.integration.stack import TINY, serving, settings

PROMPT = (
    "woman in a futuristic suit holding a gun in her hand, looking at the camera, cyberpunk art, neo-figurative, anime"
)
# The page's two text-only requests (shared/seed/image-generation.txt); "tiny" is the only family of these tests.
DOCUMENTED = {"width": 2048, "height": 1024, "background": {"generate": {"description": PROMPT}}}


@contextlib.asynccontextmanager
async def rest(triton_port: int, folder: Path, **changes: object) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway before an orchestrator, both on real sockets."""
    listener = listen(Address("127.0.0.1", 0))
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = settings(triton_port, folder, anonymous=False, public_url=base, **changes)
    key = await new_key(config.database_url, "test")
    async with serving(config) as (orchestrator, _):
        server = make_server(GatewaySettings(orchestrator=Address("127.0.0.1", orchestrator.grpc_port)))
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with httpx.AsyncClient(base_url=base, headers={"X-API-KEY": key}, timeout=60) as client:
                yield client
        finally:
            server.should_exit = True
            await running


@pytest.fixture
async def client(tiny_triton: int, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key."""
    async with rest(tiny_triton, tmp_path) as found:
        yield found


def generate(**fields: object) -> dict[str, object]:
    """A small request."""
    return {"width": 96, "height": 64, "background": {"generate": {"description": "apple", **fields}}}


async def picture(client: httpx.AsyncClient, answer: Mapping[str, str]) -> bytes:
    """The picture of an answer, fetched without a key."""
    got = await client.get(answer["result_url"], headers={"X-API-KEY": ""})
    assert got.status_code == 200
    return got.content


async def ended(client: httpx.AsyncClient, job: str) -> Mapping[str, str]:
    """What a job is answered with once it is complete."""
    async with asyncio.timeout(60):
        while (state := (await client.get(f"/rest_api/result/{job}")).json())["status"] != "complete":
            assert state["status"] in {"received", "not_started", "in_progress"}
    return dict(state)


async def test_the_documented_request(client: httpx.AsyncClient) -> None:
    """2048 x 1024 comes back complete, with a picture of just that size behind an unguessable URL."""
    answer = (await client.post("/rest_api/process_result", json=DOCUMENTED)).json()
    assert answer["status"] == "complete"
    got = await client.get(answer["result_url"])
    assert got.headers["content-type"] == "image/png"
    pixels = cv2.imdecode(np.frombuffer(got.content, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    assert pixels.shape == (1024, 2048, 3)
    assert len(answer["result_url"].rsplit("/", 1)[1]) > 22


async def test_the_seed_gives_the_picture_again(client: httpx.AsyncClient) -> None:
    """sample_num is the seed; without it one is drawn and reported."""
    first = (await client.post("/rest_api/process_result", json=generate())).json()
    again = (await client.post("/rest_api/process_result", json=generate(sample_num=first["seed"]))).json()
    assert await picture(client, first) == await picture(client, again)


async def test_process_then_result(client: httpx.AsyncClient) -> None:
    """The job is answered at once, polled until complete, and deleted."""
    answer = (await client.post("/rest_api/process", json=generate())).json()
    state = await ended(client, answer["job"])
    assert (await picture(client, state)).startswith(b"\x89PNG")
    path = f"/rest_api/result/{answer['job']}"
    assert (await client.delete(path)).status_code == 200
    gone = await client.get(path)
    assert (gone.status_code, gone.json()) == (404, {"message": "Image deleted", "status": "complete"})
    assert (await client.get(state["result_url"])).status_code == 404


async def test_several_pictures_of_one_request(client: httpx.AsyncClient) -> None:
    """Seeds in a row, each picture what its seed alone gives; at once or when all are done."""
    body = {**generate(sample_num=2**63 - 2), "imagegen": {"n": 3}}
    found = (await client.post("/rest_api/process_result", json=body)).json()
    assert [each["seed"] for each in found["results"]] == [2**63 - 2, 2**63 - 1, 0]
    assert found["job"] == found["results"][0]["job"]
    alone = (await client.post("/rest_api/process_result", json=generate(sample_num=0))).json()
    assert await picture(client, alone) == await picture(client, found["results"][2])
    key = {"Idempotency-Key": "three"}
    queued, again = [(await client.post("/rest_api/process", json=body, headers=key)).json() for _ in range(2)]
    assert len({each["job"] for each in queued["results"]}) == 3
    assert [each["job"] for each in again["results"]] == [each["job"] for each in queued["results"]]
    for wrong in (0, 11):
        refused = await client.post("/rest_api/process", json={**generate(), "imagegen": {"n": wrong}})
        assert (refused.status_code, refused.json()["message"]) == (
            400,
            f"imagegen.n must be from 1 to 10, not {wrong}",
        )


async def test_an_estimate_takes_nothing(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/jobs:estimate", json={**generate(), "imagegen": {"n": 2}})
    found = answer.json()
    assert (answer.status_code, found["pictures"], found["task"], found["model_type"]) == (
        200,
        2,
        "text_to_image",
        "tiny",
    )
    assert found["credits"] == 0  # this account's are not counted
    assert found["run_seconds"] > 0
    assert found["wait_seconds"] >= 0
    assert (found["warnings"], found["grpc"]["prompt"]) == ([], "apple")
    assert found["grpc"]["text_to_image"] == {}
    assert (await client.get("/v1/jobs")).json()["jobs"] == []
    refused = await client.post("/v1/jobs:estimate", json=generate(model_type="nope"))
    assert (refused.status_code, "model_type" in refused.json()["message"]) == (400, True)


async def test_jobs_are_listed_in_pages(client: httpx.AsyncClient) -> None:
    """Newest first, each once, by state; what a page does not hold the next one does."""
    made = [(await client.post("/rest_api/process_result", json=generate())).json()["job"] for _ in range(3)]
    first = (await client.get("/v1/jobs", params={"page_size": 2})).json()
    rest = (await client.get("/v1/jobs", params={"page_token": first["next_page_token"]})).json()
    found = [*first["jobs"], *rest["jobs"]]
    assert [job["job"] for job in found] == made[::-1]
    assert rest["next_page_token"] is None
    assert {(job["state"], job["task"], job["model_type"]) for job in found} == {("succeeded", "text_to_image", "tiny")}
    assert (await client.get(f"/v1/jobs/{made[0]}")).json() == found[-1]
    assert (await client.get("/v1/jobs", params={"state": "failed"})).json() == {"jobs": [], "next_page_token": None}
    assert (await client.get("/v1/jobs", params={"page_token": "nonsense"})).status_code == 400


async def test_a_job_can_be_asked_for_again(client: httpx.AsyncClient) -> None:
    """Its request, from the list, gives the same picture; a file that came in it is named by its digest."""
    body = {**generate(), "imagegen": {"steps": 3, "preview_interval": 1}}
    first = (await client.post("/rest_api/process_result", json=body)).json()
    (job,) = (await client.get("/v1/jobs")).json()["jobs"]
    assert job["request"]["background"]["generate"]["sample_num"] == first["seed"]
    again = (await client.post("/rest_api/process_result", json=job["request"])).json()
    assert await picture(client, again) == await picture(client, first)
    file = encode(scene())
    url = f"base64,{base64.b64encode(file).decode()}"
    made = (await client.post("/rest_api/process_result", json={"url": url, "width": 64})).json()["job"]
    kept = (await client.get(f"/v1/jobs/{made}")).json()["request"]
    assert kept == {"url": f"sha256:{hashlib.sha256(file).hexdigest()}", "width": 64}


async def test_a_deadline_that_cannot_be_met_is_refused_at_once(client: httpx.AsyncClient) -> None:
    body = {**generate(), "imagegen": {"steps": 150, "deadline_seconds": 0.1}}
    refused = await client.post("/rest_api/process", json=body)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert "deadline_seconds is 0.1" in refused.text
    assert (await client.get("/v1/jobs")).json()["jobs"] == []
    wrong = await client.post("/rest_api/process", json={**generate(), "imagegen": {"deadline_seconds": 0}})
    assert wrong.status_code == 400
    assert "imagegen.deadline_seconds" in wrong.text


async def test_a_webhook_reports_the_end(tiny_triton: int, tmp_path: Path) -> None:
    """Signed by the secret that GET /rest_api/me returns, with the request as it was sent, and a link that works."""
    async with receiving() as receiver, rest(tiny_triton, tmp_path, webhook_private=True) as client:
        body = {**generate(), "webhooks": {"complete": receiver.url}}
        job = (await client.post("/rest_api/process", json=body)).json()["job"]
        await receiver.wait(1)
        (reported,) = receiver.bodies
        assert (reported["job"], reported["data"], reported["results"]) == (job, body, None)
        assert (await picture(client, reported)).startswith(b"\x89PNG")
        account = (await client.get("/rest_api/me?include=webhook_secret")).json()
        receiver.verify(0, base64.b64decode(account["webhook_secret"].removeprefix("whsec_")))
        assert (account["username"], account["email"], account["active_jobs"]) == ("test", "", 0)


async def test_a_request_may_be_sent_again(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "order-17"}
    first, again = [(await client.post("/rest_api/process", json=generate(), headers=key)).json() for _ in range(2)]
    assert first["job"] == again["job"]
    other = await client.post("/rest_api/process", json=generate(sample_num=1), headers=key)
    assert (other.status_code, other.json()["message"]) == (400, "Idempotency-Key was already used for another request")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (generate(description=""), 400, "description is empty"),
        ({"width": 64}, 400, "File or image url is required"),
        (generate(description="x" * 10_000), 200, ""),
        (generate(model_type="nope"), 400, "model_type"),
        (generate(sample_num=-1), 400, "sample_num"),
        ({**generate(), "width": 0}, 400, "width"),
        ({**generate(), "width": -5}, 400, "width"),
        ({**generate(), "width": 63}, 400, "width"),
        ({**generate(), "width": 10**9}, 400, "width"),
        ({**generate(), "width": "abc"}, 400, "width"),
        ({**generate(), "height": 16_705}, 400, "height"),
        ({**generate(), "output_format": "tiff"}, 400, "output_format"),
        ({**generate(), "quality": 101}, 400, "quality"),
        ({**generate(), "max_file_size": "1kb", "output_format": "jpeg", "quality": 0, "width": 2000}, 400, "fit"),
        ({"url": "https://example.com/a.png", **generate()}, 400, "generate_background"),
        (None, 400, "object"),
        ([], 400, "object"),
    ],
)
async def test_bad_input(client: httpx.AsyncClient, body: object, status: int, words: str) -> None:
    """Flat JSON that names the field."""
    answer = await client.post(
        "/rest_api/process_result", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert answer.status_code == status, answer.text
    assert words in answer.json().get("message", "")
    assert "detail" not in answer.json()


async def test_bodies_that_are_no_json(client: httpx.AsyncClient) -> None:
    """Not JSON, too large, or another type: refused, and the server goes on."""
    path, as_json = "/rest_api/process_result", {"content-type": "application/json"}
    assert (await client.post(path, content=b"{nope", headers=as_json)).status_code == 400
    assert (await client.post(path, content=b"\xff\xfe", headers=as_json)).status_code == 400
    assert (await client.post(path, content=b"a=b", headers={"content-type": "text/plain"})).status_code == 415
    assert (await client.post(path, content=b" " * 80_000_000, headers=as_json)).status_code == 413
    assert (await client.post(path, json=generate())).status_code == 200


async def test_keys(client: httpx.AsyncClient) -> None:
    """The documented answers for a missing and an unknown key."""
    for key, status, words in (
        ("", 403, "No x-api-key header is provided"),
        ("guess", 404, "No user found for provided token"),
    ):
        answer = await client.post("/rest_api/process", json=generate(), headers={"x-api-key": key})
        assert (answer.status_code, answer.json()["message"]) == (status, words)


async def test_triton_down_and_back(tmp_path: Path) -> None:
    """A job is taken all the same, and made when it is back."""
    ports = Ports.free()
    async with contextlib.AsyncExitStack() as stack:
        with triton.running([TINY], tmp_path / "triton", ports=ports):
            client = await stack.enter_async_context(rest(ports.triton_grpc, tmp_path))
            assert (await client.post("/rest_api/process_result", json=generate())).status_code == 200
        down = await client.post("/rest_api/process", json=generate())
        assert down.status_code == 200
        with triton.running([TINY], tmp_path / "triton", ports=ports):
            await picture(client, await ended(client, down.json()["job"]))


async def test_events_of_a_job_from_its_making_to_its_end(client: httpx.AsyncClient) -> None:
    """With previews, which the request asked for; the last one is what GET answers; then there is nothing more."""
    body = {**generate(sample_num=1), "imagegen": {"preview_interval": 2}}
    job = (await client.post("/rest_api/process", json=body)).json()["job"]
    blocks = [block for block in (await client.get(f"/v1/jobs/{job}/events")).text.split("\n\n") if "event: " in block]
    reported = [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]
    names = [each["event"] for each in reported]
    assert names[-1] == "complete"
    assert {"started", "progress", "preview"} <= set(names) | {"queued"}
    assert json.loads(reported[-1]["data"]) == (await client.get(f"/rest_api/result/{job}")).json()
    numbers = [int(each["id"]) for each in reported[:-1]]
    assert numbers == sorted(set(numbers))
    (preview, *_) = [json.loads(each["data"]) for each in reported if each["event"] == "preview"]
    jpeg = base64.b64decode(preview["image"].removeprefix("data:image/jpeg;base64,"))
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) is not None
    again = await client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": str(numbers[-1])})
    assert again.text.count("event: ") == 1
    assert (await client.get(f"/v1/jobs/{job}/events", headers={"Last-Event-ID": "end"})).status_code == 204


async def test_a_job_is_cancelled(slow_triton: int, tmp_path: Path) -> None:
    """One that runs stops; its stream and its state say so."""
    async with rest(slow_triton, tmp_path) as client:
        job = (await client.post("/rest_api/process", json=generate())).json()["job"]
        async with client.stream("GET", f"/v1/jobs/{job}/events") as stream:
            text = ""
            async for part in stream.aiter_text():
                if "event: started" in text and "event: cancelled" not in text and "progress" in text:
                    answer = await client.post(f"/v1/jobs/{job}:cancel")
                    assert answer.status_code == 200
                text += part
        assert "event: cancelled" in text
        found = await client.get(f"/rest_api/result/{job}")
        assert (found.status_code, found.json()["message"]) == (500, "The job was cancelled")
        assert (await client.post(f"/v1/jobs/{job}:cancel")).json() == {"job": job, "state": "cancelled"}


async def test_families_and_the_page(client: httpx.AsyncClient) -> None:
    families = (await client.get("/v1/families")).json()["families"]
    assert [family["name"] for family in families] == ["tiny"]
    assert "text_to_image" in families[0]["tasks"]
    page = await client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "imagegen playground" in page.text
