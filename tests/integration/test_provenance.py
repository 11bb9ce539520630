"""Marks of origin and the safety filter through gateway, orchestrator and a real Triton, with the shipped networks."""

import asyncio
import base64
import contextlib
import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from local import triton
from orchestrator.provenance import signing, xmp
from orchestrator.provenance.origin import Origin
from tests.integration.stack import REPOSITORY, TINY, TINY_FAMILIES
from tests.integration.test_rest import generate, rest
from tests.unit.provenance import credentials, services

SHIPPED = ("nsfw", "watermark_encoder", "watermark_decoder")
MARK = "1A2B3C4D"
OWN = credentials.create()


@pytest.fixture(scope="module")
def marks_triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """GRPC port of one with the tiny family and the shipped networks of provenance and safety."""
    shipped = tmp_path_factory.mktemp("shipped")
    for name in SHIPPED:
        (shipped / name).symlink_to(REPOSITORY / "model_repository" / name)
    with triton.running([TINY, shipped], tmp_path_factory.mktemp("triton")) as server:
        yield server.grpc_port


@pytest.fixture
def families(tmp_path: Path) -> Path:
    """families.toml of both."""
    tokenizer = (REPOSITORY / "tests/golden/tokenizer.json").as_posix()
    text = TINY_FAMILIES.read_text("utf-8").replace("../golden/tokenizer.json", tokenizer)
    tools = "".join(f'{name} = "{name}"\n' for name in SHIPPED)
    file = tmp_path / "families.toml"
    file.write_text(f"{text}\n[tools]\n{tools}", "utf-8")
    return file


@pytest.fixture
async def client(marks_triton: int, families: Path, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that marks pictures in every way."""
    certificate, key, anchors = (tmp_path / name for name in ("cert.pem", "key.pem", "anchors.pem"))
    certificate.write_bytes(OWN.chain)
    key.write_bytes(OWN.key)
    anchors.write_bytes(OWN.anchor)
    changes: dict[str, Any] = {
        "families": families,
        "c2pa_cert_file": certificate,
        "c2pa_key_file": key,
        "c2pa_trust_file": anchors,
        "invisible_mark": MARK,
    }
    async with rest(marks_triton, tmp_path, **changes) as found:
        async with asyncio.timeout(60):
            await until_ready(found)
        yield found


async def until_ready(client: httpx.AsyncClient) -> None:
    """The tools become ready one after another."""
    safe = {"url": data_uri(scene()), "safe": True}
    for path in ("/v1/verify", "/rest_api/process_result"):
        while (await client.post(path, json=safe)).status_code == 503:  # noqa: ASYNC110  # nothing announces it
            await asyncio.sleep(0.02)


def scene(width: int = 400, height: int = 300) -> bytes:
    """Smooth shades with some detail, as a PNG of no particular origin."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:height, :width]
    shades = np.stack([rows / height, columns / width, 0.5 + 0.3 * np.sin(rows / 17)], axis=2) * 180 + 30
    pixels = np.clip(shades + rng.normal(0, 6, shades.shape), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def data_uri(data: bytes) -> str:
    """A file inside a request."""
    return "base64," + base64.b64encode(data).decode()


async def picture(client: httpx.AsyncClient, **fields: object) -> bytes:
    """The result of a request."""
    answer = await client.post("/rest_api/process_result", json=fields)
    assert answer.status_code == 200, answer.text
    return (await client.get(answer.json()["result_url"])).content


async def verified(client: httpx.AsyncClient, data: bytes) -> dict[str, Any]:
    """What POST /v1/verify says of a file, sent as a form and inside JSON alike."""
    as_form = await client.post("/v1/verify", files={"image": ("a.png", data, "image/png")})
    as_json = await client.post("/v1/verify", json={"url": data_uri(data)})
    assert as_form.status_code == as_json.status_code == 200, as_form.text
    assert as_form.json() == as_json.json()
    found: dict[str, Any] = as_form.json()
    return found


async def test_a_generated_picture_bears_every_mark(client: httpx.AsyncClient) -> None:
    data = await picture(client, **generate(), output_format="jpeg")
    found = await verified(client, data)
    assert found["origin"] == "generated"
    assert found["xmp"]["digital_source_type"] == "trainedAlgorithmicMedia"
    assert found["xmp"]["software"].startswith("imagegen ")
    manifest = found["manifest"]
    assert (manifest["valid"], manifest["trusted"], manifest["origin"]) == (True, True, "generated")
    assert (manifest["issuer"], manifest["common_name"], manifest["problems"]) == (
        "Example Org",
        "Example Pictures",
        [],
    )
    for path in ("/rest_api/me", "/v1/families"):
        assert (await client.get(path)).json()["marks"] == {"xmp": True, "c2pa": True, "invisible": True}


async def test_jobs_wait_while_the_service_that_signs_is_unreachable(
    tiny_triton: int, tmp_path: Path, free_port: int
) -> None:
    """It is killed before a job's picture is written, and is started again: the one job ends with a signed picture."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.write_bytes(OWN.chain)
    key.write_bytes(OWN.key)
    service = ("sign", str(key), "--port", str(free_port))
    with contextlib.ExitStack() as first:
        url = first.enter_context(services.running(*service))
        changes: dict[str, Any] = {"c2pa_cert_file": certificate, "c2pa_signer_url": url}
        async with rest(tiny_triton, tmp_path, **changes) as client:
            first.close()
            job = (await client.post("/rest_api/process", json=generate())).json()["job"]
            async with asyncio.timeout(120):
                for state in ("running", "queued"):  # begun, and put back
                    while (await client.get(f"/v1/jobs/{job}")).json()["state"] != state:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
            waiting = await client.get(f"/rest_api/result/{job}")
            assert (waiting.status_code, waiting.json()["status"]) == (200, "not_started")
            with services.running(*service):
                async with asyncio.timeout(120), client.stream("GET", f"/v1/jobs/{job}/events") as events:
                    assert "event: complete" in [line async for line in events.aiter_lines()]
            found = (await client.get(f"/rest_api/result/{job}")).json()
            manifest = signing.read((await client.get(found["result_url"])).content, OWN.anchor.decode())
            assert manifest is not None
            assert (manifest.valid, manifest.trusted) == (True, True)
            (only,) = (await client.get("/v1/jobs")).json()["jobs"]
            assert (only["job"], only["state"]) == (job, "succeeded")
            assert only["attempts"] == 1  # to wait for a service is no attempt


async def test_a_picture_of_no_known_origin(client: httpx.AsyncClient) -> None:
    found = await verified(client, scene())
    assert (found["origin"], found["xmp"], found["manifest"]) == (None, None, None)
    assert found["invisible"]["found"] is False
    edited = await picture(client, url=data_uri(scene()), width=200)
    assert xmp.read(edited) == xmp.Statement()  # a plain edit adds nothing that a network invented
    assert signing.read(edited) is None


async def test_an_edit_of_a_signed_picture_names_it_as_its_parent(client: httpx.AsyncClient) -> None:
    first = await picture(client, **generate())
    second = await picture(client, url=data_uri(first), width=64, output_format="webp")
    found = await verified(client, second)
    assert (found["origin"], found["manifest"]["valid"]) == ("generated", True)
    assert b"c2pa.opened" in second


async def test_a_copy_without_metadata_still_bears_the_invisible_mark(client: httpx.AsyncClient) -> None:
    """What a site does that shows the picture: JPEG of quality 70, half the size, without metadata."""
    first = await picture(client, **{**generate(), "width": 512, "height": 512})
    with Image.open(io.BytesIO(first)) as opened:
        copy = io.BytesIO()
        opened.convert("RGB").resize((256, 256), Image.Resampling.LANCZOS).save(copy, "JPEG", quality=70)
    found = await verified(client, copy.getvalue())
    assert (found["xmp"], found["manifest"]) == (None, None)
    assert found["invisible"]["found"] is True
    assert found["origin"] == "generated"


async def test_what_cannot_be_verified_is_refused_by_name(client: httpx.AsyncClient) -> None:
    bodies: tuple[object, ...] = ({}, {"url": ""}, {"url": None}, [])
    for body in bodies:
        answer = await client.post("/v1/verify", json=body)
        assert (answer.status_code, answer.json()["message"]) == (400, "File or image url is required")
    answer = await client.post("/v1/verify", json={"url": data_uri(b"no picture")})
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("Unidentified image")
    assert (
        await client.post("/v1/verify", json={"url": data_uri(scene())}, headers={"x-api-key": ""})
    ).status_code == 403


async def test_the_documents_safe_example(client: httpx.AsyncClient) -> None:
    """A threshold of 0 always fails, and the given picture is the result, in its own size and without a mark."""
    blurred = scene(120, 80)
    given = {"thresold": 0.0, "image_url": data_uri(blurred)}
    answer = await client.post(
        "/rest_api/process_result", json={"url": data_uri(scene()), "safe": True, "nsfw_parameters": given}
    )
    assert (answer.status_code, answer.json()["status"], answer.json()["filtered"]) == (200, "complete", True)
    assert 0 <= answer.json()["nsfw_score"] < 0.5
    result = (await client.get(answer.json()["result_url"])).content
    with Image.open(io.BytesIO(result)) as got, Image.open(io.BytesIO(blurred)) as expected:
        assert np.array_equal(np.asarray(got.convert("RGB")), np.asarray(expected))
    assert xmp.read(result).origin is None


async def test_a_harmless_picture_passes_the_filter_with_its_score(client: httpx.AsyncClient) -> None:
    answer = await client.post("/rest_api/process_result", json={**generate(), "safe": True})
    assert answer.status_code == 200, answer.text
    assert 0 <= answer.json()["nsfw_score"] < 0.8
    assert "filtered" not in answer.json()
    assert xmp.read((await client.get(answer.json()["result_url"])).content).origin is Origin.GENERATED


async def test_a_filtered_picture_without_a_replacement_is_a_failed_job(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/rest_api/process_result", json={**generate(), "safe": True, "nsfw_parameters": {"threshold": 0}}
    )
    assert (answer.status_code, answer.json()["status"]) == (400, "failed")
    assert answer.json()["message"].startswith("the safety filter stopped the generated picture")
