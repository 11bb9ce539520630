"""Services that signing talks to, as processes of their own on loopback: one keeps a key, one stamps times.

    python -m tests.unit.provenance.services sign KEY.pem [--raw] [--token TOKEN] [--port PORT]
    python -m tests.unit.provenance.services stamp OPENSSL.cnf

Each prints its URL, and answers one POST after another until it is terminated.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ROOT = Path(__file__).parents[3]
Answer = Callable[[bytes, str], tuple[int, bytes]]


@contextmanager
def running(*arguments: str) -> Iterator[str]:
    """The URL of a service that runs meanwhile."""
    command = [sys.executable, "-m", "tests.unit.provenance.services", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def signer(key_file: str, *, raw: bool, token: str) -> Answer:
    """Signs what it is sent by ES256: as DER, as key services answer, or raw."""
    key = serialization.load_pem_private_key(Path(key_file).read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)

    def answer(body: bytes, authorization: str) -> tuple[int, bytes]:
        if token and authorization != f"Bearer {token}":
            return 401, b""
        signature = key.sign(body, ec.ECDSA(hashes.SHA256()))
        if raw:
            signature = b"".join(half.to_bytes(32, "big") for half in decode_dss_signature(signature))
        return 200, signature

    return answer


def stamper(config: str) -> Answer:
    """Answers time-stamp queries (RFC 3161, 3.4) by openssl."""

    def answer(body: bytes, _: str) -> tuple[int, bytes]:
        with tempfile.TemporaryDirectory() as folder:
            query, reply = Path(folder, "query"), Path(folder, "reply")
            query.write_bytes(body)
            command = ["openssl", "ts", "-reply", "-config", config, "-queryfile", str(query), "-out", str(reply)]
            subprocess.run(command, check=True, capture_output=True)
            return 200, reply.read_bytes()

    return answer


def serve(answer: Answer, media_type: str, port: int) -> None:
    """Print the URL, and answer until the process is terminated."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, said = answer(body, self.headers.get("Authorization", ""))
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", port), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("sign", "stamp"))
    parser.add_argument("file")
    parser.add_argument("--raw", action="store_true")
    parser.add_argument("--token", default="")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    if given.kind == "sign":
        serve(signer(given.file, raw=given.raw, token=given.token), "application/octet-stream", given.port)
    else:
        serve(stamper(given.file), "application/timestamp-reply", given.port)


if __name__ == "__main__":
    main()
