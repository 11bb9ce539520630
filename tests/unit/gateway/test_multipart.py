"""Multipart bodies: the picture as a file, the JSON next to it."""

import contextlib

import httpx
import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from gateway.errors import BadRequestError
from gateway.transport import multipart

PNG = b"\x89PNG\r\n--x\r\n\r\n\x00\xff"
LIMIT = 1000
Part = tuple[str | None, bytes | str, str] | tuple[None, str] | tuple[str, bytes]


def sent(*parts: tuple[str, Part]) -> tuple[bytes, str]:
    """A body and its Content-Type as httpx writes them."""
    request = httpx.Request("POST", "http://a.example/", files=list(parts))
    return request.read(), request.headers["content-type"]


def parse(*parts: tuple[str, Part]) -> multipart.Form:
    return multipart.parse(*sent(*parts), LIMIT)


def by_hand(*parts: str, end: str = "--x--\r\n") -> multipart.Form:
    body = "".join(f"--x\r\n{part}\r\n" for part in parts) + end
    return multipart.parse(body.encode(), "multipart/form-data; boundary=x", LIMIT)


@pytest.mark.parametrize("name", ["image", "fileName", "file", "upload", "parameters2"])
def test_a_file_and_its_parameters(name: str) -> None:
    found = parse((name, ("a.png", PNG, "image/png")), ("parameters", (None, '{"width": 100}')))
    assert found == multipart.Form(b'{"width": 100}', {}, name, PNG)


def test_fields_stand_next_to_parameters_in_any_order() -> None:
    found = parse(
        ("width", (None, "100")),
        ("enhancements", (None, "denoise")),
        ("parameters", (None, "{}")),
        ("image", ("a", b"x")),
        ("enhancements", (None, "light")),
        ("light_parameters", (None, '{"level": 0.5}')),
        ("print_reorientation", (None, "false")),
        ("preset", (None, "{not json")),
    )
    fields = {
        "width": "100",
        "enhancements": ["denoise", "light"],
        "light_parameters": {"level": 0.5},
        "print_reorientation": False,
        "preset": "{not json",
    }
    assert found == multipart.Form(b"{}", fields, "image", b"x")


def test_a_list_may_be_named_as_one_and_a_picture_may_be_an_address() -> None:
    found = parse(("enhancements[]", (None, "denoise")), ("image", (None, "https://a.example/b.png")))
    assert found == multipart.Form(None, {"enhancements": ["denoise"], "url": "https://a.example/b.png"})


def test_objects_may_be_named_by_brackets_and_dots() -> None:
    found = parse(
        ("background[remove]", (None, "auto")),
        ("background[generate][description]", (None, "a fox")),
        ("caption.position", (None, "RB")),
        ("nsfw_parameters[threshold]", (None, "0.5")),
        ("odd..name", (None, "x")),
    )
    assert found.fields == {
        "background": {"remove": "auto", "generate": {"description": "a fox"}},
        "caption": {"position": "RB"},
        "nsfw_parameters": {"threshold": "0.5"},
        "odd..name": "x",
    }


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("background", "background[remove]"), r"background\[remove\] does not go with background"),
        (("background[remove]", "background.remove"), "background.remove comes twice"),
        (("background[remove]", "background"), "background comes twice"),
    ],
)
def test_a_field_in_two_forms_is_refused(names: tuple[str, ...], words: str) -> None:
    with pytest.raises(BadRequestError, match=words):
        parse(*((name, (None, "auto")) for name in names))


def test_parameters_may_come_as_a_file_and_a_picture_as_text() -> None:
    """Some clients give every part a file name, some give none."""
    assert parse(("parameters", ("p.json", b"{}", "application/json"))) == multipart.Form(b"{}")
    found = by_hand('Content-Disposition: form-data; name="image"\r\n\r\nabc')
    assert found == multipart.Form(None, {}, "image", b"abc")


def test_base64_as_a_transfer_encoding() -> None:
    head = 'Content-Disposition: form-data; name="image"; filename="a"\r\nContent-Transfer-Encoding: base64'
    assert by_hand(f"{head}\r\n\r\nQUJD").data == b"ABC"


def test_a_file_that_was_not_chosen_is_none() -> None:
    found = by_hand('Content-Disposition: form-data; name="image"; filename=""\r\n\r\n')
    assert found == multipart.Form()


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([("image", ("a", b"x")), ("fileName", ("b", b"y"))], "fileName does not go with image: send one file"),
        ([("image", ("a", b"x")), ("image", ("b", b"y"))], "image comes twice; send it once"),
        ([("parameters", (None, "{}")), ("parameters", (None, "{}"))], "parameters comes twice; send it once"),
        ([("image", ("a", b"x")), ("mask", ("b", b"y"))], "mask does not go with image: send one file"),
        ([("width", (None, "1" * 131_073))], "width has 131073 bytes; a field may have 131072"),
        ([("image", ("a", b""))], "image is empty"),
        ([("image", ("a", b"x" * 1001))], "image has 1001 bytes; the limit is 1000"),
        ([(f"other{n}", (None, "1")) for n in range(65)], "The body has more than 64 parts"),
    ],
)
def test_what_is_wrong_is_named(parts: list[tuple[str, Part]], said: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        parse(*parts)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("body", "content_type", "said"),
    [
        (b"", "multipart/form-data", "Content-Type: multipart/form-data has no boundary"),
        (b"", "multipart/form-data; boundary=x", "The body is not multipart/form-data: it ends before its last"),
        (b"{}", "multipart/form-data; boundary=x", "The body is not multipart/form-data: "),
        (b"--x\r\n", "multipart/form-data; boundary=x", "The body is not multipart/form-data: it ends before its last"),
        (b"--x\r\n\r\nabc\r\n--x--", "multipart/form-data; boundary=x", "The body is not multipart/form-data: "),
        (b"--y\r\n", "multipart/form-data; boundary=" + "x" * 2000, "The body is not multipart/form-data: "),
    ],
)
def test_what_is_not_a_form(body: bytes, content_type: str, said: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        multipart.parse(body, content_type, LIMIT)
    assert str(caught.value).startswith(said)


@pytest.mark.promise(
    "forms with files",
    "read in memory, of the same length; 32 parts, one file, nothing on disk",
    "gateway/transport/multipart.py",
)
@given(st.binary(max_size=300), st.text('ab;=" -\r\n', max_size=20))
@example(b'--x\r\nContent-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: odd\r\n\r\nx\r\n--x--', "x")
def test_any_bytes_are_read_or_refused(body: bytes, boundary: str) -> None:
    for content_type in (f"multipart/form-data; boundary={boundary}", "multipart/form-data; boundary=x", boundary):
        with contextlib.suppress(BadRequestError):
            multipart.parse(body, content_type, LIMIT)


@given(st.binary(min_size=1, max_size=LIMIT))
def test_any_file_comes_through_as_it_was(data: bytes) -> None:
    assert parse(("image", ("a", data, "application/octet-stream"))).data == data
