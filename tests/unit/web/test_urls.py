"""URLs of clients: their ports."""

import pytest

from orchestrator.config import WEB_PORTS
from orchestrator.web.urls import UrlError, parse


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://a.example",
            "https://a.example/",
            "http://a.example:80/",
            "https://a.example:443/",
            "http://a.example:443/",
        ),
        *("http://a.example:8080/", "https://a.example:8443/", "http://[2606:4700::1]:8080/", "http://a.example:/"),
    ],
)
def test_ports_of_web_servers(url: str) -> None:
    assert parse(url).host in {"a.example", "2606:4700::1"}


@pytest.mark.parametrize("port", [1, 22, 25, 79, 81, 444, 3306, 5432, 6379, 8001, 8081, 9200, 65535])
@pytest.mark.parametrize(
    "form", ["http://a.example:{}/", "https://a.example:{}/", "//a.example:{}/", "http://[::1]:{}"]
)
def test_other_ports_are_refused(port: int, form: str) -> None:
    base = parse("http://b.example/c")
    with pytest.raises(UrlError, match=f"uses port {port}; allowed ports are 80, 443, 8080, 8443"):
        parse(form.format(port), base)


def test_the_list_decides() -> None:
    assert parse("http://a.example:81/", ports=frozenset({81})).port == 81
    for url in ("http://a.example/", "https://a.example/"):
        with pytest.raises(UrlError, match=r"allowed ports are 81$"):
            parse(url, ports=frozenset({81}))
    assert {80, 443, 8080, 8443} == WEB_PORTS
