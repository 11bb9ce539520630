"""Triton's own trace mode: the arguments that switch it on, as the chart gives them, and a collector for what comes."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


def arguments(url: str) -> list[str]:
    """Arguments of tritonserver: every request that carries a trace's context is recorded, and no other."""
    settings = (
        "mode=opentelemetry",
        f"opentelemetry,url={url}",
        "opentelemetry,resource=service.name=imagegen-triton",
        "level=TIMESTAMPS",
        "rate=0",
        "count=-1",
    )
    return [f"--trace-config={each}" for each in settings]


@dataclass
class HttpCollector:
    """OTLP over HTTP, in JSON, which is what Triton sends.

    Attributes:
        url: what Triton is given.
        spans: as they came, ids in hexadecimal.
        services: names of those that sent them.
    """

    url: str = ""
    spans: list[dict[str, Any]] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def receive(self, body: bytes) -> None:
        """Keep what one export brings."""
        with self._changed:
            for resource in json.loads(body)["resourceSpans"]:
                named = {each["key"]: each["value"].get("stringValue") for each in resource["resource"]["attributes"]}
                self.services.add(named["service.name"])
                for scope in resource["scopeSpans"]:
                    self.spans += scope["spans"]
            self._changed.notify_all()

    def wait(self, name: str, count: int, seconds: float = 60.0) -> list[dict[str, Any]]:
        """Spans of a name, when there are that many.

        Raises:
            TimeoutError: there are fewer.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.named(name)) >= count, seconds):
                raise TimeoutError(f"{len(self.named(name))} spans {name} came, not {count}")
            return self.named(name)

    def named(self, name: str) -> list[dict[str, Any]]:
        """Spans of a name."""
        return [each for each in self.spans if each["name"] == name]


@contextmanager
def http_collector() -> Iterator[HttpCollector]:
    """A collector on loopback."""
    found = HttpCollector()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.receive(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}/v1/traces"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield found
        finally:
            server.shutdown()
