"""Google Cloud Storage and Azure Blob Storage as far as the result store uses them, with identities in place of keys.

No package of these carries them in Python. The paths, headers and errors are those of Google's XML API ("Objects:
PUT, GET, DELETE"), of Azure's REST API ("Put Blob", "Get Blob", "Blob Batch"), of the metadata server of Google's
machines ("/computeMetadata/v1/instance/service-accounts/default/token") and of Entra's token endpoint (OAuth 2.0,
client credentials with a federated assertion). Both storages read and write one table of objects; a request without
the token that was handed out is refused.
"""

import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

ASSERTION = "of-the-pod"
"""What Kubernetes writes into AZURE_FEDERATED_TOKEN_FILE."""
TOKEN = "handed-out"  # noqa: S105 - of a test
BUCKET, ACCOUNT = "pictures", "drawings"


@dataclass
class Cloud:
    """Objects by their paths, bucket included; and how often tokens were handed out."""

    port: int = 0
    objects: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    tokens: int = 0

    def google(self) -> dict[str, str]:
        """Variables of a pod on a machine of Google's."""
        host = f"127.0.0.1:{self.port}"
        return {"GCE_METADATA_HOST": host, "GOOGLE_BASE_URL": f"http://{host}"}

    def azure(self, token_file: str) -> dict[str, str]:
        """Variables that Azure's workload identity gives a pod."""
        return {
            "AZURE_FEDERATED_TOKEN_FILE": token_file,
            "AZURE_CLIENT_ID": "the-client",
            "AZURE_TENANT_ID": "the-tenant",
            "AZURE_AUTHORITY_HOST": f"http://127.0.0.1:{self.port}",
            "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{self.port}",
        }


class _Server(http.server.ThreadingHTTPServer):
    """With the objects of its cloud."""

    cloud: Cloud


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers for both clouds."""

    server: "_Server"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/computeMetadata/v1/instance/service-accounts/default/token"):
            assert self.headers["Metadata-Flavor"] == "Google"
            self.hand_out()
        elif self.is_known():
            found = self.server.cloud.objects.get(self.name)
            if found is None:
                self.refuse(404, "NoSuchKey")
            else:
                self.answer(200, found[0], found[1])

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path == "/the-tenant/oauth2/v2.0/token":
            form = urllib.parse.parse_qs(body)
            assert form["client_assertion"] == [ASSERTION]
            assert form["client_id"] == ["the-client"]
            self.hand_out()
        elif self.is_known():
            assert "comp=batch" in self.path
            self.delete_batch(re.findall(r"^DELETE /(\S+) HTTP/1.1", body, re.MULTILINE))

    def delete_batch(self, paths: list[str]) -> None:
        """Azure's "Blob Batch": a part for each object."""
        parts = []
        for number, path in enumerate(paths):
            name = urllib.parse.unquote(path)
            gone = self.server.cloud.objects.pop(name, None) is None
            status = "404 The specified blob does not exist." if gone else "202 Accepted"
            parts.append(
                f"--parts\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\nHTTP/1.1 {status}\r\n"
                f"{'x-ms-error-code: BlobNotFound' if gone else 'x-ms-version: 2023-11-03'}\r\n\r\n"
            )
        body = "".join(parts) + "--parts--\r\n"
        self.answer(202, body.encode(), "multipart/mixed; boundary=parts")

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.is_known():
            kind = self.headers.get("x-ms-blob-content-type") or self.headers["Content-Type"]
            self.server.cloud.objects[self.name] = (data, kind)
            self.answer(201)

    def do_DELETE(self) -> None:
        if self.is_known():
            if self.server.cloud.objects.pop(self.name, None) is None:
                self.refuse(404, "NoSuchKey")
            else:
                self.answer(204)

    @property
    def name(self) -> str:
        return urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).strip("/")

    def is_known(self) -> bool:
        """Whether the token and the bucket are ours; the answer is sent where they are not."""
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.refuse(401, "AuthenticationRequired")
            return False
        if self.name.partition("/")[0] != BUCKET:
            self.refuse(404, "ContainerNotFound" if "x-ms-version" in self.headers else "NoSuchBucket")
            return False
        return True

    def hand_out(self) -> None:
        self.server.cloud.tokens += 1
        token = {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
        self.answer(200, json.dumps(token).encode(), "application/json")

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode(), "application/xml")

    def answer(self, status: int, body: bytes = b"", kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", kind)
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Mon, 30 Nov 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def running() -> Iterator[Cloud]:
    """A cloud on loopback."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.cloud = Cloud(server.server_port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.cloud
        finally:
            server.shutdown()
