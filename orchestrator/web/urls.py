"""URLs that clients give."""

import httpcore2
import httpx2

from orchestrator.config import WEB_PORTS, Ports

MAX_URL = 2048
"""Characters of a URL."""


class UrlError(ValueError):
    """A URL that is not asked for; the message says why, to the client."""


def parse(url: str, base: httpx2.URL | None = None, *, ports: Ports = WEB_PORTS) -> httpx2.URL:
    """A URL that may be asked for; one that a redirect names may be relative to `base`.

    Raises:
        UrlError: it is too long, no http or https URL with a host, has a user name, or another port than `ports`.
    """
    if len(url) > MAX_URL:
        raise UrlError(f"has more than {MAX_URL} characters")
    try:
        parsed = httpx2.URL(url) if base is None else base.join(url)
    except (httpx2.InvalidURL, ValueError):
        raise UrlError("is not a URL") from None
    port_ok = parsed.port is None or 0 < parsed.port < 65536
    if parsed.scheme not in {"http", "https"} or not parsed.host or not port_ok:
        raise UrlError("must be an http or https URL with a host")
    if parsed.userinfo:
        raise UrlError("must have no user name and no password in its URL")
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    if port not in ports:
        raise UrlError(f"uses port {port}; allowed ports are {', '.join(map(str, sorted(ports)))}")
    return parsed


def target(url: httpx2.URL) -> httpcore2.URL:
    """The URL for the connection pool, whose network backend checks addresses."""
    return httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


def redacted(url: str) -> str:
    """As much of a URL as may be in a log: queries and what is before "@" are secrets."""
    return url.partition("?")[0].rpartition("@")[2][:200]
