"""Addresses in storages: their form, and that every field that takes one refuses another with its name."""

import pytest

from imagegen.v1 import generation_pb2 as pb
from orchestrator.api import converters
from orchestrator.errors import InvalidRequestError
from orchestrator.params import (
    Edit,
    ImageSource,
    Limits,
    OutputParams,
    RequestParams,
    StorageUrl,
    StorageUrlError,
    is_storage,
)


@pytest.mark.parametrize(
    ("url", "name", "path"),
    [
        ("storage://shop/a.png", "shop", "a.png"),
        ("STORAGE://Shop.of-A_1/2026/a b/ä ☃.png", "Shop.of-A_1", "2026/a b/ä ☃.png"),
        ("storage://shop/%2e%2e/x", "shop", "%2e%2e/x"),
        ("storage://shop/a?b#c", "shop", "a?b#c"),
        (f"storage://{'n' * 64}/{'p' * 1024}", "n" * 64, "p" * 1024),
    ],
)
def test_what_is_one(url: str, name: str, path: str) -> None:
    assert is_storage(url)
    assert StorageUrl.parse(url) == StorageUrl(name, path)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://shop/a.png", "must begin with storage://"),
        (" storage://shop/a.png", "must begin with storage://"),
        ("storage:/shop/a.png", "must begin with storage://"),
        ("storage://", "must name a storage"),
        ("storage://ä/a", "must name a storage"),
        (f"storage://{'n' * 65}/p", "must name a storage"),
        ("storage://shop\n/a", "must name a storage"),
        ("storage://shop", "must have a path of 1 to 1024"),
        (f"storage://shop/{'p' * 1025}", "must have a path of 1 to 1024"),
        *[
            (f"storage://shop/{path}", "without empty parts")
            for path in ("/", "a//b", "a//", ".", "..", "a/../b", "./a")
        ],
        ("storage://shop/a/", "must name a file, not a folder"),
        *[(f"storage://shop/{path}", "without control") for path in ("a\0", "a\n", "\x7f", "a\x85b", "\x1b[2J")],
    ],
)
def test_what_is_none(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        StorageUrl.parse(url)


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("storage://shop", "job.png"),
        ("storage://shop/", "job.png"),
        ("storage://shop/a/b/", "a/b/job.png"),
        ("storage://shop/a.png", "a.png"),
    ],
)
def test_a_target_may_be_a_folder(url: str, file: str) -> None:
    assert request(target=url).output.target == url
    assert StorageUrl.parse(url, or_folder=True).with_file("job.png") == StorageUrl("shop", file)


@pytest.mark.parametrize("path", ["//", "a//", "../", "a/./", f"{'p' * 992}/", "a\n/"])
def test_a_folder_has_the_form_of_one(path: str) -> None:
    with pytest.raises(StorageUrlError):
        StorageUrl.parse(f"storage://shop/{path}", or_folder=True)


def request(url: str = "http://shop.example/a.png", target: str | None = None) -> RequestParams:
    output = OutputParams(target=target)
    return RequestParams(task=Edit(image=ImageSource(url=url)), limits=Limits(), output=output)


def test_a_request_may_name_storages() -> None:
    assert request("storage://shop/a.png", "storage://shop/b.png").output.target == "storage://shop/b.png"


def test_a_request_that_names_them_wrongly_gets_every_field_named() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        request("Storage://shop/../a.png", "")
    said = {violation.field: violation.description for violation in caught.value.violations}
    assert list(said) == ["edit.image.url", "output.target"]
    assert "without empty parts" in said["edit.image.url"]
    assert said["output.target"] == "must begin with storage://"


def test_the_message_says_where_a_copy_goes() -> None:
    message = pb.GenerateRequest(edit=pb.Edit(image=pb.ImageSource(url="storage://shop/a.png")))
    assert converters.to_params(message, Limits()).output.target is None
    message.output.target = "storage://shop/b.png"
    assert converters.to_params(message, Limits()).output.target == "storage://shop/b.png"
