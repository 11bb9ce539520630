"""Paths of our own: events of a job, its end, families."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from gateway.routes import events
from gateway.sentences import FAILED
from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2, webhooks_pb2
from tests.contract.rest_fake import JOB, KEY, finished, in_state
from tests.contract.rest_stack import Stack, http_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENTS = f"/v1/jobs/{JOB}/events"
JPEG = b"\xff\xd8picture"
WORK = [
    pb.GenerateEvent(sequence=2, queued=pb.Queued(job_id=JOB, position=0, estimated_wait_seconds=1.5)),
    pb.GenerateEvent(sequence=3, started=pb.Started(seed=2**53 + 1, prompt_tokens_cut=4)),
    pb.GenerateEvent(sequence=4, progress=pb.Progress(stage=pb.STAGE_DENOISE, step=1, total=20)),
    pb.GenerateEvent(sequence=5, preview=pb.Preview(jpeg=JPEG, step=1)),
    pb.GenerateEvent(sequence=6, artifact=pb.Artifact(uri="https://pictures.example/a.png")),
]
Event = tuple[str, str, dict[str, Any]]


def read(text: str) -> list[Event]:
    """Events of a stream: id, name, data."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["id"], lines["event"], json.loads(lines["data"])))
    return found


async def events_of(stack: Stack, **headers: str) -> list[Event]:
    answer = await stack.client.get(EVENTS, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    return read(answer.text)


async def test_everything_that_happens_is_reported(stack: Stack) -> None:
    stack.script.events = WORK
    found = await events_of(stack)
    assert found[:-1] == [
        ("1", "queued", {"job": JOB, "queue": 2}),
        ("2", "queued", {"job": JOB, "queue": 0, "estimated_wait_seconds": 1.5}),
        ("3", "started", {"seed": 2**53 + 1, "prompt_tokens_cut": 4}),
        ("4", "progress", {"stage": "denoise", "step": 1, "total": 20}),
        ("5", "preview", {"step": 1, "image": f"data:image/jpeg;base64,{base64.b64encode(JPEG).decode()}"}),
    ]
    number, name, data = found[-1]
    assert (number, name) == ("end", "complete")
    assert data == (await stack.client.get(f"/rest_api/result/{JOB}")).json()


@pytest.mark.parametrize(
    ("ended", "name", "data"),
    [
        (
            in_state(jobs_pb2.JOB_STATE_FAILED, 13, "the network answered nothing"),
            "failed",
            {"message": f"{FAILED} (the network answered nothing)", "status": "failed", "job": JOB},
        ),
        (
            in_state(jobs_pb2.JOB_STATE_CANCELLED),
            "cancelled",
            {"message": "The job was cancelled", "status": "failed", "job": JOB},
        ),
        (in_state(jobs_pb2.JOB_STATE_DELETED), "deleted", {"message": "Image deleted", "status": "complete"}),
    ],
)
async def test_each_end_has_its_name(stack: Stack, ended: jobs_pb2.Job, name: str, data: dict[str, Any]) -> None:
    stack.script.ended = ended
    assert (await events_of(stack))[-1] == ("end", name, data)


async def test_who_comes_back_goes_on_where_it_was(stack: Stack) -> None:
    stack.script.events = WORK
    found = await events_of(stack, **{"Last-Event-ID": "3"})
    assert [number for number, _, _ in found] == ["4", "5", "end"]
    for odd in ("-1", "x", "", "9" * 20, "2.0"):
        assert len(await events_of(stack, **{"Last-Event-ID": odd})) == 6
    answer = await stack.client.get(EVENTS, headers={"Last-Event-ID": "end"})
    assert (answer.status_code, answer.content) == (204, b"")  # at which a browser does not reconnect


async def test_a_stream_that_breaks_goes_on_after_its_last_event(stack: Stack) -> None:
    """The job goes on; its orchestrator went away for a moment, twice."""
    stack.script.events, stack.script.breaks = WORK, 2
    stack.script.ended = None
    stack.script.created = in_state(jobs_pb2.JOB_STATE_RUNNING)
    found = await first(stack, 4)
    assert [number for number, _, _ in found] == ["1", "2", "3", "4"]
    assert stack.script.asked_after[:3] == [0, 1, 2]


async def first(stack: Stack, count: int) -> list[Event]:
    """The first `count` events of a stream that goes on."""
    text = ""
    async with stack.client.stream("GET", EVENTS) as answer:
        async for part in answer.aiter_text():
            text += part
            if len(read(text.rpartition("\n\n")[0])) >= count:
                break
    return read(text)[:count]


async def test_a_client_that_hangs_up_is_not_served_on(stack: Stack) -> None:
    stack.script.ended = None
    await first(stack, 1)
    await asyncio.wait_for(stack.script.hung_up.wait(), 10)


async def test_a_silent_stream_is_kept_open(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PING_SECONDS", 0.01)
    stack.script.ended = None
    async with stack.client.stream("GET", EVENTS) as answer:
        text = ""
        async for part in answer.aiter_text():
            text += part
            if text.count(": \n\n") > 2 and "id: 1\n" in text:
                break
    assert text.replace(": \n\n", "").startswith("id: 1\n")  # a slow first event comes after the first sign of life


async def test_a_gateway_that_stops_ends_its_streams(stack: Stack) -> None:
    stack.script.ended = None
    async with http_server(stack.orchestrator_port) as address:
        headers = {"X-API-KEY": stack.client.headers["X-API-KEY"]}
        call = stack.anonymous.stream("GET", f"http://{address}{EVENTS}", headers=headers)
        answer = await call.__aenter__()
        parts: AsyncIterator[str] = answer.aiter_text()
        assert read(await anext(parts))[0][1] == "queued"
    assert [part async for part in parts] == []  # the server is gone, and had ended the stream in good order
    await call.__aexit__(None, None, None)


async def test_an_orchestrator_that_refuses_to_tell_ends_the_stream(stack: Stack) -> None:
    stack.script.ended = None
    stack.script.created = in_state(jobs_pb2.JOB_STATE_RUNNING)
    stack.script.breaks = 1

    async def refuses() -> None:
        await stack.script.watched.wait()
        stack.script.refusal = (grpc.StatusCode.INTERNAL, "inner words")

    answer, _ = await asyncio.gather(stack.client.get(EVENTS), refuses())
    number, name, data = read(answer.text)[-1]
    assert (number, name) == ("end", "failed")
    assert "inner" not in data["message"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/jobs/{}/events"), ("POST", "/v1/jobs/{}:cancel")])
async def test_of_which_job_and_whose(stack: Stack, method: str, path: str) -> None:
    answer = await stack.client.request(method, path.format("another"))
    assert (answer.status_code, answer.json()) == (404, {"message": "Job not found"})
    answer = await stack.anonymous.request(method, path.format(JOB))
    assert (answer.status_code, answer.json()) == (403, {"message": "No x-api-key header is provided"})
    for headers in ({"X-API-KEY": "unknown"}, {"Authorization": "Bearer unknown"}):
        answer = await stack.anonymous.request(method, path.format(JOB), headers=headers)
        assert (answer.status_code, answer.json()) == (404, {"message": "No user found for provided token"})


@pytest.mark.parametrize("path", ["/rest_api/me", "/v1/families", "/v1/jobs"])
async def test_a_key_may_be_a_bearers(stack: Stack, path: str) -> None:
    """The documented header wins: a proxy before a gateway may have put its own token into the other."""
    for headers in (
        {"Authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY}"},
        {"X-API-KEY": KEY, "Authorization": "Bearer of.something.else"},
    ):
        assert (await stack.anonymous.get(path, headers=headers)).status_code == 200
    for wrong in (f"Basic {KEY}", "Bearer", KEY):
        assert (await stack.anonymous.get(path, headers={"Authorization": wrong})).status_code == 403


async def test_a_job_is_stopped(stack: Stack) -> None:
    stack.script.ended = None
    answer = await stack.client.post(f"/v1/jobs/{JOB}:cancel")
    assert (answer.status_code, answer.json()) == (200, {"job": JOB, "state": "cancelled"})
    answer = await stack.client.get(f"/rest_api/result/{JOB}")
    assert (answer.status_code, answer.json()["message"]) == (500, "The job was cancelled")


async def test_a_job_that_has_ended_stays_as_it_is(stack: Stack) -> None:
    answer = await stack.client.post(f"/v1/jobs/{JOB}:cancel")
    assert answer.json() == {"job": JOB, "state": "succeeded"}


async def test_families_are_listed(stack: Stack) -> None:
    size = pb.Size(width=512, height=384)
    stack.script.families = [
        pb.Family(
            name="realistic",
            ready=True,
            license="MIT",
            commercial=True,
            tasks=["face"],
            control_kinds=["canny", "depth"],
            default_size=size,
            default_sampler=pb.SAMPLER_DPMPP_2M,
            default_steps=25,
            default_guidance_scale=1.5,
            samplers=[pb.SAMPLER_DPMPP_2M, pb.SAMPLER_HEUN, 99],  # type: ignore[list-item]  # of a newer schema
            guidance="embedding",
            prompt_weights=True,
            max_clip_skip=4,
            max_prompt_tokens=600,
            loras=[pb.FamilyLora(name="ink", license="MIT", commercial=True, default_weight=0.8)],
            embeddings=["<cat>"],
            network_sizes=[pb.Size(width=128, height=96), size],
            models=[pb.ModelDigest(model="starter_unet", model_sha256="ab", engine="python bf16")],
        ),
        pb.Family(name="newer", default_sampler=99),  # type: ignore[arg-type]  # of a newer schema
    ]
    answer = await stack.client.get("/v1/families")
    assert answer.json() == {
        "families": [
            {
                "name": "realistic",
                "ready": True,
                "license": "MIT",
                "commercial": True,
                "tasks": ["face"],
                "control_kinds": ["canny", "depth"],
                "width": 512,
                "height": 384,
                "sampler": "dpmpp_2m",
                "steps": 25,
                "guidance_scale": 1.5,
                "samplers": ["dpmpp_2m", "heun"],
                "guidance": "embedding",
                "prompt_weights": True,
                "max_clip_skip": 4,
                "max_prompt_tokens": 600,
                "loras": [{"name": "ink", "license": "MIT", "commercial": True, "weight": 0.8}],
                "embeddings": ["<cat>"],
                "sizes": [{"width": 128, "height": 96}, {"width": 512, "height": 384}],
                "models": [{"model": "starter_unet", "sha256": "ab", "engine": "python bf16"}],
            },
            {
                "name": "newer",
                "ready": False,
                "license": "",
                "commercial": False,
                "tasks": [],
                "control_kinds": [],
                "width": 0,
                "height": 0,
                "sampler": "",
                "steps": 0,
                "guidance_scale": 0.0,
                "samplers": [],
                "guidance": "",
                "prompt_weights": False,
                "max_clip_skip": 0,
                "max_prompt_tokens": 0,
                "loras": [],
                "embeddings": [],
                "sizes": [],
                "models": [],
            },
        ],
        "marks": {"xmp": True, "c2pa": False, "invisible": False},
    }
    assert (await stack.anonymous.get("/v1/families")).status_code == 403
    stack.script.refusal = (grpc.StatusCode.UNAVAILABLE, "away")
    assert (await stack.client.get("/v1/families")).status_code == 503


async def test_a_job_is_described(stack: Stack) -> None:
    """Whatever became of it: with the picture, or with the error, in the words of the JSON."""
    stack.script.ended = finished(task="text_to_image", family="realistic", priority=pb.PRIORITY_LOW, attempts=1)
    answer = await stack.client.get(f"/v1/jobs/{JOB}")
    found = answer.json()
    assert (answer.status_code, found["state"], found["priority"]) == (200, "succeeded", "low")
    assert (found["result_url"], found["width"]) == ("https://pictures.example/results/name.png", 2048)
    assert found["error"] is None
    stack.script.ended = in_state(jobs_pb2.JOB_STATE_FAILED, 3, "wrong")
    stack.script.ended.error.violations.add(field="family", description="is not one of these")
    stack.script.ended.error.reason = "INVALID_REQUEST"
    found = (await stack.client.get(f"/v1/jobs/{JOB}")).json()
    assert found["error"] == {
        "message": "background.generate.model_type is not one of these",
        "reason": "INVALID_REQUEST",
    }
    gone = await stack.client.get(f"/v1/jobs/{'K' * 22}")
    assert (gone.status_code, gone.json()["message"]) == (404, "Job not found")


async def test_the_thumbnail_of_a_job(stack: Stack) -> None:
    """A small copy for whoever has the account's key; the browser keeps it, for this key alone."""
    stack.script.thumbnail = b"RIFF small"
    path = f"/v1/jobs/{JOB}/thumbnail"
    answer = await stack.client.get(path)
    assert (answer.status_code, answer.content) == (200, b"RIFF small")
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["cache-control"] == "private, max-age=86400, immutable"
    assert answer.headers["vary"] == "x-api-key, authorization"
    again = await stack.client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await stack.anonymous.get(path)).status_code == 403
    assert (await stack.client.get(f"/v1/jobs/{'K' * 22}/thumbnail")).status_code == 404
    stack.script.thumbnail = None
    refused = await stack.client.get(path)
    assert (refused.status_code, refused.json()["message"].partition(":")[0]) == (409, f"Job {JOB} has no thumbnail")
    stack.script.refusal = (grpc.StatusCode.UNAVAILABLE, "away")
    assert (await stack.client.get(path)).status_code == 503


async def test_the_manifest_of_a_job(stack: Stack) -> None:
    """All that its picture came from; a job without a picture has none."""
    ended = finished(task="text_to_image", family="realistic")
    ended.request.MergeFrom(pb.GenerateRequest(text_to_image=pb.TextToImage(), prompt="a fox", seed=7))
    ended.request.loras.add(name="ink", weight=0.5)
    made = ended.artifact
    made.models.add(model="unet", model_sha256="ab", engine="python f32")
    made.family, made.seed, made.steps, made.sampler = "realistic", 7, 9, pb.SAMPLER_EULER
    made.sha256, made.software = bytes(31) + b"\1", "imagegen 1.0"
    stack.script.ended = ended
    assert (await stack.client.get(f"/v1/jobs/{JOB}")).json()["sha256"] == "00" * 31 + "01"
    answer = await stack.client.get(f"/v1/jobs/{JOB}/manifest")
    found = answer.json()
    assert answer.status_code == 200
    assert found["request"] == {
        "background": {"generate": {"description": "a fox", "sample_num": 7}},
        "imagegen": {"loras": [{"name": "ink", "weight": 0.5}]},
    }
    assert (found["model_type"], found["seed"], found["sampler"], found["steps"]) == ("realistic", 7, "euler", 9)
    assert (found["sha256"], found["software"]) == ("00" * 31 + "01", "imagegen 1.0")
    assert {"model": "unet", "sha256": "ab", "engine": "python f32"} in found["models"]
    stack.script.ended = in_state(jobs_pb2.JOB_STATE_FAILED, 3, "wrong")
    refused = await stack.client.get(f"/v1/jobs/{JOB}/manifest")
    assert (refused.status_code, refused.json()["message"].partition(":")[0]) == (409, f"Job {JOB} has no picture")
    assert (await stack.client.get(f"/v1/jobs/{'K' * 22}/manifest")).status_code == 404
    assert (await stack.anonymous.get(f"/v1/jobs/{JOB}/manifest")).status_code == 403


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("page_size=0", "page_size"),
        ("page_size=101", "page_size"),
        ("state=done", "state"),
        ("page_size=x", "page_size"),
    ],
)
async def test_wrong_pages_are_refused(stack: Stack, query: str, words: str) -> None:
    answer = await stack.client.get(f"/v1/jobs?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    assert words in answer.json()["message"]


async def test_deliveries_are_listed_in_pages_and_sent_again(stack: Stack) -> None:
    record = webhooks_pb2.DeliveryRecord(
        delivery_id="msg_1",
        job_id=JOB,
        url="https://a.example/hook",
        delivery=jobs_pb2.WebhookDelivery(state=jobs_pb2.DELIVERY_STATE_FAILED, attempts=10, last_status=500),
    )
    record.create_time.FromJsonString("2026-01-02T03:04:05Z")
    stack.script.deliveries = [record]
    shown = {
        "id": "msg_1",
        "job": JOB,
        "url": "https://a.example/hook",
        "created": "2026-01-02T03:04:05Z",
        "state": "failed",
        "attempts": 10,
        "last_status": 500,
        "last_error": None,
        "next": None,
        "delivered": None,
    }
    path = "/v1/webhooks/deliveries"
    found = await stack.client.get(path, params={"page_size": 7, "page_token": "x", "state": "failed"})
    assert (found.status_code, found.json()) == (200, {"deliveries": [shown], "next_page_token": "next"})
    (asked,) = stack.script.delivery_pages
    assert (asked.page_size, asked.page_token, asked.state) == (7, "x", jobs_pb2.DELIVERY_STATE_FAILED)
    again = await stack.client.post(f"{path}/msg_1:resend")
    assert (again.status_code, again.json()) == (200, shown)
    assert (await stack.client.post(f"{path}/msg_2:resend")).status_code == 404
    for wrong in ({"page_size": 0}, {"page_size": 101}, {"state": "lost"}):
        assert (await stack.client.get(path, params=wrong)).status_code == 400
