"""Where a picture is, in each documented form, and what is not a picture's place."""

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequestError
from gateway.translate import pictures
from imagegen.v1 import generation_pb2 as pb

LIMIT = 1000
FILE = b"\x89PNG\r\n\x1a\n and more"
TEXT = base64.b64encode(FILE).decode()


@pytest.mark.parametrize(
    "url", ["http://pictures.example/a.png", "https://pictures.example/a?b=c,d", "HTTPS://pictures.example/", "http://"]
)
def test_a_url_goes_on_as_it_is(url: str) -> None:
    assert pictures.source(f" {url} ", "url", LIMIT) == pb.ImageSource(url=url)


@pytest.mark.parametrize(
    "form",
    [
        "base64,{}",
        "BASE64,{}",
        "data:image/png;base64,{}",
        "data:;base64,{}",
        "data:image/svg+xml;charset=utf-8;base64,{}",
        "Data:text/plain;BASE64,{}",
    ],
)
def test_data_is_decoded_whatever_it_says_it_is(form: str) -> None:
    assert pictures.source(form.format(TEXT), "url", LIMIT) == pb.ImageSource(data=FILE)


@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_come_through(data: bytes) -> None:
    assert pictures.source(f"base64,{base64.b64encode(data).decode()}", "url", len(data)).data == data


@pytest.mark.parametrize("size", [998, 999, 1000])
def test_a_picture_of_the_limit_passes_and_one_byte_more_is_refused(size: int) -> None:
    text = f"base64,{base64.b64encode(bytes(size)).decode()}"
    assert len(pictures.source(text, "url", size).data) == size
    with pytest.raises(BadRequestError, match=rf"^url has {size} bytes; the limit is {size - 1}$"):
        pictures.source(text, "url", size - 1)


def test_the_size_is_checked_before_anything_is_decoded() -> None:
    with pytest.raises(BadRequestError, match=r"^url has 1497 bytes"):
        pictures.source("base64," + "!" * 1996, "url", LIMIT)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("base64,", "has no data"),
        ("base64,Q", "is not base64"),
        ("base64,QUJDR", "is not base64"),
        ("base64,=QQ=", "is not base64"),
        ("base64,QQ==QQ==", "is not base64"),
        ("base64,QUÄD", "is not base64"),
        ("data:image/png,abc", "must be a data URI in base64"),
        ("data:image/png;base64", "must be a data URI in base64"),
        ("data:" + "x" * 500 + ";base64,QQ==", "must be a data URI in base64"),
        ("file:///etc/passwd", "must be an http or https URL"),
        ("ftp://pictures.example/a.png", "must be an http or https URL"),
        ("//pictures.example/a.png", "must be an http or https URL"),
        ("a.png", "must be an http or https URL"),
        (" ", "must be an http or https URL"),
        (TEXT, "must be an http or https URL"),
    ],
)
def test_what_is_none_is_named(value: str, reason: str) -> None:
    with pytest.raises(BadRequestError, match=f"^background.replace {reason}") as caught:
        pictures.source(value, "background.replace", LIMIT)
    assert len(caught.value.body["message"]) < 200
    caught.value.body["message"].encode()


@given(st.text(max_size=60) | st.text(max_size=60).map("base64,{}".format) | st.text(max_size=60).map("data:{}".format))
def test_any_text_is_a_source_or_a_bad_request(text: str) -> None:
    try:
        found = pictures.source(text, "url", LIMIT)
    except BadRequestError:
        return
    assert bool(found.data) != bool(found.url)


@given(st.binary(min_size=1, max_size=200), st.booleans(), st.booleans(), st.sampled_from(["", "\n", "\r\n", " "]))
def test_base64_is_read_however_it_is_written(data: bytes, url_safe: bool, padded: bool, between: str) -> None:
    """RFC 4648 sections 4 and 5, padded or not, in lines as RFC 2045 has them or in one."""
    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(data).decode()
    text = text if padded else text.rstrip("=")
    lines = between.join(text[start : start + 76] for start in range(0, len(text), 76)) + between
    for head in ("base64,", "data:image/png;base64,"):
        assert pictures.source(head + lines, "url", LIMIT).data == data


def test_a_data_uri_may_be_percent_encoded() -> None:
    """As any URL may be (RFC 2397)."""
    data = bytes(range(256))
    text = quote(base64.b64encode(data).decode(), safe="")
    assert "%2B" in text
    assert pictures.source(f"data:image/png;base64,{text}", "url", LIMIT).data == data
