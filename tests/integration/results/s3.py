"""A real S3 server (moto's) on 127.0.0.1, and what the tests need of it."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import boto3  # type: ignore[import-untyped]  # it publishes no types
import httpx

from orchestrator.results.buckets import S3Location, Timeouts

BUCKET = "pictures"
HASTY = Timeouts(connect=1.0, read=1.0, total=20.0, retry=1.0, retries=1)
"""Times for tests: what hangs is given up after a second or two."""

PROGRAM = """
import logging, sys
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()  # until who started it ends
"""


@dataclass(frozen=True)
class Server:
    """An S3 server: its URL, and a client to read what is stored."""

    url: str
    client: Any

    def place(self, bucket: str = BUCKET, prefix: str = "made/here") -> S3Location:
        """A place in it, with keys that it takes."""
        return S3Location(
            bucket=bucket, prefix=prefix, endpoint=self.url, region="us-east-1", keys=("AKIAKEY", "secret")
        )

    def list_keys(self, bucket: str = BUCKET) -> list[str]:
        """Keys of all objects."""
        return [each["Key"] for each in self.client.list_objects_v2(Bucket=bucket).get("Contents", [])]

    def clear(self) -> None:
        """Remove all objects."""
        for key in self.list_keys():
            self.client.delete_object(Bucket=BUCKET, Key=key)

    def uploads(self, bucket: str = BUCKET) -> list[Any]:
        """Multipart uploads that were started and not ended."""
        found: list[Any] = self.client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
        return found

    @contextlib.contextmanager
    def strict(self) -> Iterator[None]:
        """Signatures and rights are checked: nobody has any."""
        httpx.post(f"{self.url}/moto-api/reset-auth", content=b"0").raise_for_status()
        try:
            yield
        finally:
            httpx.post(f"{self.url}/moto-api/reset-auth", content=b"inf").raise_for_status()


def without_keys(place: S3Location) -> S3Location:
    """A place whose keys come from the environment."""
    return replace(place, keys=None)


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """A server of its own process, with one bucket."""
    started = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with started as process:
        try:
            assert process.stdout is not None
            url = f"http://127.0.0.1:{int(process.stdout.readline())}"
            keys = {"aws_access_key_id": "AKIAKEY", "aws_secret_access_key": "secret"}
            client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)
            client.create_bucket(Bucket=BUCKET)
            yield Server(url, client)
            client.close()
        finally:
            process.kill()
