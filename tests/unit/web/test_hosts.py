"""Lists of hosts that an operator allows."""

import pytest

from orchestrator.web.hosts import allows, parse_hosts
from orchestrator.web.urls import UrlError, parse

LIST = "Pictures.example, *.cdn.example,bücher.example,192.0.9.9,[2606:4700::7],xn--bcher-kva.example"


def test_a_list_is_kept_in_one_form() -> None:
    assert parse_hosts(LIST) == (
        *("pictures.example", "*.cdn.example", "xn--bcher-kva.example", "192.0.9.9", "2606:4700::7"),
    )


@pytest.mark.parametrize(
    ("url", "is_allowed"),
    [
        ("https://pictures.example/a", True),
        ("https://PICTURES.example./a", True),
        ("http://a.cdn.example:8080/", True),
        ("http://a.b.CDN.example/", True),
        ("http://BÜCHER.example/", True),
        ("http://192.0.9.9/", True),
        ("http://[2606:4700:0::7]/", True),
        ("http://cdn.example/", False),
        ("http://notcdn.example/", False),
        ("http://cdn.example.evil.example/", False),
        ("http://evil-pictures.example/", False),
        ("http://pictures.example.evil/", False),
        ("http://www.pictures.example/", False),
        ("http://evil.example/?pictures.example", False),
        ("http://evil.example#.cdn.example", False),
        ("http://evil.example\\.cdn.example/", False),
        ("http://192.0.9.90/", False),
        ("http://[2606:4700::70]/", False),
    ],
)
def test_hosts_that_are_allowed(url: str, is_allowed: bool) -> None:
    try:
        assert allows(parse_hosts(LIST), parse(url)) == is_allowed
    except UrlError:
        assert not is_allowed


@pytest.mark.parametrize(
    "text",
    [
        *("", ",", "http://a.example", "a.example/b", "a.example:80", "user@a.example", "*", "*.", "a.*.example"),
        *("**.a", "2606:4700::7", "[192.0.9.9]", "[a.example]"),
        *("a b.example", "a..example", "-a.example", "*.[2606:4700::7]", "a?b", "a#b", "a\x00.example", "é" * 300),
        ",".join(f"a{n}.example" for n in range(101)),
    ],
)
def test_what_is_not_a_list_of_hosts(text: str) -> None:
    with pytest.raises(ValueError, match="host"):
        parse_hosts(text)
