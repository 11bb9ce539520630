"""What browsers and HTTP's own tools ask for: CORS, OPTIONS, HEAD, ranges, compressed bodies."""

import contextlib
import gzip
import json
import zlib
from collections.abc import AsyncIterator

import brotli  # type: ignore[import-untyped]  # published without types
import httpx
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ApiError
from gateway.transport import encodings
from gateway.transport.ranges import Part, UnsatisfiableError, wanted
from tests.contract import rest_stack
from tests.contract.rest_fake import JOB
from tests.contract.rest_stack import MAX_BODY_BYTES, NOW, RESULT, TEXT_ONLY, Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = "https://app.example"
FILE = bytes(range(256)) * 1024  # more than one chunk
PATHS = {
    RESULT: "OPTIONS, POST",
    NOW: "OPTIONS, POST",
    f"/rest_api/result/{JOB}": "DELETE, GET, HEAD, OPTIONS",
    "/rest_api/me": "GET, HEAD, OPTIONS",
    "/results/name.png": "GET, HEAD, OPTIONS",
    "/healthz": "GET, HEAD, OPTIONS",
    "/readyz": "GET, HEAD, OPTIONS",
    "/openapi.json": "GET, HEAD, OPTIONS",
    "/": "GET, HEAD, OPTIONS",
    f"/v1/jobs/{JOB}/events": "GET, HEAD, OPTIONS",
    f"/v1/jobs/{JOB}:cancel": "OPTIONS, POST",
    "/v1/families": "GET, HEAD, OPTIONS",
}
NO_BODY = "GET, HEAD"


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="open_stack")
async def _open_stack() -> AsyncIterator[Stack]:
    """A gateway that pages of one origin may call."""
    async with rest_stack.stack(rest_wait_seconds=0.5, cors_origins=(PAGE,)) as running:
        running.script.files["name.png"] = ("image/png", [FILE])
        yield running


# --- methods


@pytest.mark.parametrize(("path", "allow"), PATHS.items())
async def test_a_wrong_method_is_answered_with_the_right_ones(stack: Stack, path: str, allow: str) -> None:
    for method in ("PUT", "PATCH", "TRACE"):
        answer = await stack.client.request(method, path)
        assert (answer.status_code, answer.headers["Allow"]) == (405, allow)


@pytest.mark.parametrize(("path", "allow"), PATHS.items())
async def test_options_are_answered(stack: Stack, path: str, allow: str) -> None:
    answer = await stack.anonymous.options(path)
    assert (answer.status_code, answer.headers["Allow"], answer.content) == (204, allow, b"")


@pytest.mark.parametrize("path", [path for path, allow in PATHS.items() if NO_BODY in allow])
async def test_head_is_get_without_a_body(stack: Stack, path: str) -> None:
    """Also of a stream of events, which would not end."""
    stack.script.files["name.png"] = ("image/png", [FILE])
    stack.script.ended = None
    head = await stack.client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    if not path.endswith("/events"):
        whole = await stack.client.get(path)
        for name in ("content-type", "etag", "content-length"):
            assert head.headers.get(name) == whole.headers.get(name)


async def test_the_description_has_no_head(stack: Stack) -> None:
    paths = (await stack.client.get("/openapi.json")).json()["paths"]
    assert not [path for path, operations in paths.items() if "head" in operations]


# --- pages of other origins


async def test_without_a_setting_no_page_may_call(stack: Stack) -> None:
    for answer in (
        await stack.anonymous.options(NOW, headers={"Origin": PAGE, "Access-Control-Request-Method": "POST"}),
        await stack.client.post(NOW, json=TEXT_ONLY, headers={"Origin": PAGE}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
async def test_a_preflight_of_a_known_origin(open_stack: Stack, path: str, method: str) -> None:
    asked = {
        "Origin": PAGE,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type,x-api-key,idempotency-key,range,x-stainless-os,traceparent",
    }
    answer = await open_stack.anonymous.options(path, headers=asked)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert answer.headers["Access-Control-Allow-Headers"] == asked["Access-Control-Request-Headers"]
    assert method in answer.headers["Access-Control-Allow-Methods"].split(", ")
    assert "access-control-allow-credentials" not in answer.headers


async def test_another_origin_may_not(open_stack: Stack) -> None:
    for origin in ("https://evil.example", "https://app.example.evil.example", "http://app.example", "null"):
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        assert "access-control-allow-origin" not in (await open_stack.anonymous.options(NOW, headers=asked)).headers
        answer = await open_stack.client.post(NOW, json=TEXT_ONLY, headers={"Origin": origin})
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", [RESULT, "/results/name.png", "/results/none.png", f"/v1/jobs/{JOB}/events", "/none"])
async def test_answers_and_errors_can_be_read_by_the_page(open_stack: Stack, path: str) -> None:
    method = "POST" if path == RESULT else "GET"
    answer = await open_stack.client.request(
        method, path, headers={"Origin": PAGE}, json={} if path == RESULT else None
    )
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    seen = {name.strip() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
    assert {"x-request-id", "retry-after", "content-range", "etag"} <= seen


# --- parts of a picture


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=70000-", 70000, len(FILE)),
        ("bytes=-5", len(FILE) - 5, len(FILE)),
        ("Bytes = 65535-65536", 65535, 65537),
        (f"bytes=10-{10**17}", 10, len(FILE)),
        ("bytes=0-0", 0, 1),
    ],
)
async def test_a_part_of_a_picture(stack: Stack, asked: str, start: int, end: int) -> None:
    stack.script.files["name.png"] = ("image/png", [FILE[:70000], FILE[70000:]])
    answer = await stack.anonymous.get("/results/name.png", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, FILE[start:end])
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(FILE)}"
    assert answer.headers["Content-Length"] == str(end - start)
    assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "items=0-1", "bytes=5-1", "bytes=a-b", "bytes=-", "bytes", ""])
async def test_what_is_not_a_single_range_gets_the_whole(stack: Stack, asked: str) -> None:
    stack.script.files["name.png"] = ("image/png", [FILE])
    answer = await stack.anonymous.get("/results/name.png", headers={"Range": asked})
    assert (answer.status_code, len(answer.content)) == (200, len(FILE))


@pytest.mark.parametrize("asked", [f"bytes={len(FILE)}-", f"bytes={10**17}-", "bytes=-0"])
async def test_a_range_beyond_the_picture(stack: Stack, asked: str) -> None:
    stack.script.files["name.png"] = ("image/png", [FILE])
    answer = await stack.anonymous.get("/results/name.png", headers={"Range": asked})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{len(FILE)}")
    assert answer.json()["code"] == "RANGE_NOT_SATISFIABLE"


async def test_a_part_of_another_picture_is_not_sent(stack: Stack) -> None:
    stack.script.files["name.png"] = ("image/png", [FILE])
    etag = (await stack.anonymous.head("/results/name.png")).headers["ETag"]
    for condition, status in (
        (etag, 206),
        ('"other"', 200),
        (f"W/{etag}", 200),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 200),
    ):
        headers = {"Range": "bytes=1-2", "If-Range": condition}
        assert (await stack.anonymous.get("/results/name.png", headers=headers)).status_code == status
    known = {"Range": "bytes=1-2", "If-None-Match": etag}
    assert (await stack.anonymous.get("/results/name.png", headers=known)).status_code == 304


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 30))
async def test_any_range_is_a_part_of_the_file_or_refused(first: int, last: int, size: int) -> None:
    file = bytes(range(size))
    try:
        part = wanted(f"bytes={first}-{last}", None, '"e"', size)
    except UnsatisfiableError:
        assert first >= size
        return
    assert part == (None if last < first else Part(first, min(last + 1, size)))
    if part is not None:
        assert file[part.start : part.end] == file[first : last + 1]


# --- compressed bodies

CODINGS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP": lambda data: gzip.compress(data[:10]) + gzip.compress(data[10:]),
    "deflate": zlib.compress,
    "br": brotli.compress,
    "identity": bytes,
}


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_compressed_body_is_read(stack: Stack, coding: str) -> None:
    content = CODINGS[coding](json.dumps(TEXT_ONLY).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    answer = await stack.client.post(NOW, content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    assert stack.script.requests[0].size.width == 2048


async def test_a_compressed_form_is_read(stack: Stack) -> None:
    form = httpx.Request("POST", "http://a.example", files={"image": ("a.png", b"x" * 9000)})
    headers = {"Content-Type": form.headers["content-type"], "Content-Encoding": "br"}
    assert (await stack.client.post(NOW, content=brotli.compress(form.read()), headers=headers)).status_code == 200
    assert stack.script.requests[0].edit.image.data == b"x" * 9000


@pytest.mark.parametrize("coding", ["compress", "zstd", "aws-chunked", "gzip, br", "utf-8"])
async def test_an_unknown_coding_is_refused_with_those_that_are_read(stack: Stack, coding: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    answer = await stack.client.post(NOW, content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert answer.headers["Accept-Encoding"] == "gzip, x-gzip, deflate, br"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
async def test_a_body_that_grows_without_end_is_refused_on_the_way(stack: Stack, coding: str) -> None:
    content = CODINGS[coding](b" " * (MAX_BODY_BYTES * 100))
    assert len(content) < MAX_BODY_BYTES / 2
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    answer = await stack.client.post(NOW, content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
async def test_a_lying_or_broken_body_is_refused(stack: Stack, coding: str) -> None:
    whole = CODINGS[coding](json.dumps(TEXT_ONLY).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    for content in (json.dumps(TEXT_ONLY).encode(), whole[: len(whole) // 2], whole[:-1], b""):
        answer = await stack.client.post(NOW, content=content, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST"), content


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "br"]))
async def test_any_bytes_are_decompressed_or_refused(body: bytes, coding: str) -> None:
    with contextlib.suppress(ApiError):
        assert len(encodings.decompressed(bytearray(body), coding, 1000)) <= 1000


@given(st.binary(max_size=3000), st.sampled_from(["gzip", "deflate", "br"]))
async def test_what_was_compressed_comes_back(data: bytes, coding: str) -> None:
    assert encodings.decompressed(bytearray(CODINGS[coding](data)), coding, 3000) == data
