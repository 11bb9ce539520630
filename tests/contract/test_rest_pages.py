"""REST beyond the contract: unknown paths, probes, pictures, the description of itself."""

import json
import re

import pytest
from grpc_health.v1 import health_pb2

from gateway.contract import request as contract
from tests.contract.rest_stack import NOW, RESULT, Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")


# --- paths


@pytest.mark.parametrize(
    ("method", "path", "code", "body"),
    [
        ("GET", "/nothing", 404, {"message": "Not Found", "code": "NOT_FOUND"}),
        ("GET", "/rest_api/process", 405, {"message": "Method Not Allowed", "code": "METHOD_NOT_ALLOWED"}),
        ("POST", "/rest_api/process/", 404, {"message": "Not Found", "code": "NOT_FOUND"}),
    ],
)
async def test_no_such_path(stack: Stack, method: str, path: str, code: int, body: dict[str, str]) -> None:
    answer = await stack.client.request(method, path)
    assert (answer.status_code, answer.json()) == (code, body)
    assert answer.headers["X-Request-ID"]


async def test_probes(stack: Stack) -> None:
    assert (await stack.client.get("/healthz")).json() == {"status": "ok"}
    assert (await stack.client.get("/readyz")).json() == {"status": "ready"}
    await stack.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    answer = await stack.client.get("/readyz")
    await stack.health.set("", health_pb2.HealthCheckResponse.SERVING)
    assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert (await stack.client.get("/healthz")).status_code == 200


# --- pictures

PICTURE = [b"\x89PNG" + b"a" * 65_532, b"b" * 65_536, b"c"]


@pytest.mark.parametrize(
    ("stored", "served"),
    [
        ("image/png", "image/png"),
        ("image/jpeg", "image/jpeg"),
        ("image/webp", "image/webp"),
        ("text/html", "application/octet-stream"),
    ],
)
async def test_a_picture_and_its_headers(stack: Stack, stored: str, served: str) -> None:
    stack.script.files["name.png"] = (stored, PICTURE)
    whole, head = await stack.anonymous.get("/results/name.png"), await stack.anonymous.head("/results/name.png")
    assert (whole.content, head.content) == (b"".join(PICTURE), b"")
    assert "x-api-key" not in stack.script.metadata
    for answer in (whole, head):
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == served
        assert answer.headers["Content-Length"] == str(sum(map(len, PICTURE)))
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Disposition"] == "inline"
        assert answer.headers["Cache-Control"] == "private, max-age=86400, immutable"


async def test_no_such_picture(stack: Stack) -> None:
    answer = await stack.client.get("/results/gone.png")
    assert (answer.status_code, answer.json()) == (404, {"message": "Image not found"})
    assert (await stack.client.head("/results/gone.png")).status_code == 404


async def test_the_description_names_what_is_served(stack: Stack) -> None:
    described = (await stack.client.get("/openapi.json")).json()
    assert set(described["paths"]) == {
        *(RESULT, NOW, "/rest_api/result/{job}", "/rest_api/me"),
        *("/v1/jobs/{job}/events", "/v1/jobs/{job}:cancel", "/v1/families", "/v1/jobs", "/v1/jobs/{job}"),
        *("/v1/jobs:estimate", "/v1/jobs/{job}/manifest", "/v1/jobs/{job}/thumbnail"),
        "/v1/verify",
        *("/v1/webhooks/deliveries", "/v1/webhooks/deliveries/{delivery}:resend"),
        *("/v1/images/generations", "/v1/images/edits", "/v1/models", "/v1/models/{model}"),
        *("/results/{name}", "/healthz", "/readyz"),
    }
    assert "422" not in json.dumps(described)
    fields = described["components"]["schemas"]["ProcessRequest"]["properties"]
    assert {"url", "width", "height", "background", "output_format", "quality"} <= set(fields)
    assert described["components"]["schemas"]["ProcessRequest"]["examples"] == contract.EXAMPLES


async def test_the_description_says_what_is_not_served_yet(stack: Stack) -> None:
    schemas = (await stack.client.get("/openapi.json")).json()["components"]["schemas"]
    fields = {
        name: field["description"]
        for schema in ("ProcessRequest", "Background", "Generate", "Webhooks")
        for name, field in schemas[schema]["properties"].items()
        if "description" in field
    }
    unserved = {name for name, words in fields.items() if words.endswith("Not served yet.")}
    assert unserved == set()


async def test_every_operation_has_a_tag_that_is_described(stack: Stack) -> None:
    described = (await stack.client.get("/openapi.json")).json()
    tags = {tag["name"] for tag in described["tags"] if tag["description"]}
    operations = [operation for path in described["paths"].values() for operation in path.values()]
    assert {tuple(operation["tags"]) for operation in operations} == {(tag,) for tag in tags}
    assert described["servers"] == [{"url": "/", "description": "This server."}]


async def test_the_reference_asks_no_other_host(stack: Stack) -> None:
    """One page, one script, of this host: the policy lets nothing else in."""
    page = await stack.anonymous.get("/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert re.findall(r"(?:src|href|spec-url)=\"([^\"]*)\"", page.text) == [
        "data:,",
        "/docs/rapidoc.js",
        "/openapi.json",
    ]
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'" in policy
    assert "http" not in policy
    script = await stack.anonymous.get("/docs/rapidoc.js")
    assert (script.status_code, script.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
