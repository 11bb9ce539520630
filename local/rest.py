"""The documented REST API as a client uses it: send a request, wait for its picture, fetch it."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

from local.errors import LocalError

_POLL = 1.0  # seconds between two questions for a result
_TIMEOUT = 60.0  # seconds for one answer; the server itself waits up to 25


class RestClient:
    """A caller with an API key."""

    def __init__(self, url: str, api_key: str) -> None:
        """Note where the gateway is ("http://127.0.0.1:8080"), and the key."""
        self._address = urlsplit(url).netloc
        self._api_key = api_key

    def make_picture(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Send a request and wait for its end.

        Args:
            request: the documented JSON.
            seconds: longest wait.

        Returns:
            The answer of the job: status "complete", result_url, and what the server reports beyond that.

        Raises:
            LocalError: the request was refused, the job failed, or it took too long; with the server's message.
        """
        deadline = time.monotonic() + seconds
        answer = self._call("POST", "/rest_api/process_result", request)
        while answer["status"] != "complete":
            if time.monotonic() > deadline:
                raise LocalError(f"job {answer['job']} is still {answer['status']} after {seconds:.0f} s")
            time.sleep(_POLL)
            answer = self._call("GET", f"/rest_api/result/{answer['job']}")
        return answer

    def families(self) -> list[dict[str, Any]]:
        """The families that the gateway lists, each with its name and tasks.

        Raises:
            LocalError: the request failed.
        """
        return list(self._call("GET", "/v1/families")["families"])

    def fetch(self, url: str) -> bytes:
        """Return the file behind a result_url of the same gateway.

        Raises:
            LocalError: it is not there.
        """
        return self._send("GET", urlsplit(url).path)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return dict(json.loads(self._send(method, path, None if body is None else json.dumps(body).encode())))

    def _send(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {"X-API-KEY": self._api_key, "Content-Type": "application/json"}
        with closing(http.client.HTTPConnection(self._address, timeout=_TIMEOUT)) as connection:
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                data = answer.read()
            except (OSError, http.client.HTTPException) as error:
                raise LocalError(f"{method} {path}: {error!r}") from error
        if answer.status != http.client.OK:
            raise LocalError(f"{method} {path}: {answer.status} {data.decode(errors='replace')}")
        return data
