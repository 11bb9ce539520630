"""Models from a bucket: whole, checked, and fetched once."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.results import s3

FILES = {"unet/config.pbtxt": b"name: unet", "unet/1/model.onnx": bytes(range(256)) * 1000, "vae/1/model.onnx": b"vae"}


def put(server: s3.Server, files: dict[str, bytes], sums: str | None = None) -> None:
    listed = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in FILES.items())
    for name, data in {**files, "models.sha256": (listed if sums is None else sums).encode()}.items():
        server.client.put_object(Bucket=s3.BUCKET, Key=f"models/{name}", Body=data)


def run(server: s3.Server, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "AWS_ACCESS_KEY_ID": "AKIAKEY",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "IMAGEGEN_S3_ENDPOINT": server.url,
    }
    command = [sys.executable, "-m", "orchestrator.results.fetch_models", f"s3://{s3.BUCKET}/models", str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - ours


@pytest.fixture
def bucket(server: s3.Server) -> s3.Server:
    server.clear()
    return server


def test_everything_is_fetched_once(bucket: s3.Server, tmp_path: Path) -> None:
    put(bucket, FILES)
    done = run(bucket, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"3 files are in {tmp_path}; 3 were fetched\n")
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == FILES.keys()
    assert all((tmp_path / name).read_bytes() == data for name, data in FILES.items())
    (tmp_path / "vae/1/model.onnx").write_bytes(b"changed")
    assert run(bucket, tmp_path).stdout.endswith("1 were fetched\n")
    assert (tmp_path / "vae/1/model.onnx").read_bytes() == b"vae"


@pytest.mark.parametrize(
    ("files", "sums", "said"),
    [
        ({**FILES, "vae/1/model.onnx": b"another"}, None, "vae/1/model.onnx does not match models.sha256"),
        ({"unet/config.pbtxt": b"name: unet"}, None, "unet/1/model.onnx is missing in the bucket"),
        (FILES, "", "models.sha256 is empty"),
        (FILES, f"{'0' * 64}  ../../etc/passwd\n", "models.sha256 has a line that is not in the format of sha256sum"),
        (FILES, "nonsense\n", "models.sha256 has a line that is not in the format of sha256sum"),
    ],
)
def test_what_is_wrong_is_said_and_left_out(
    bucket: s3.Server, tmp_path: Path, files: dict[str, bytes], sums: str | None, said: str
) -> None:
    put(bucket, files, sums)
    done = run(bucket, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"fetch_models: {said}")
    wrong = said.partition(" ")[0]
    assert not (tmp_path / wrong).exists()
    assert list(tmp_path.rglob("*.part")) == []


def test_a_bucket_without_models_is_named(bucket: s3.Server, tmp_path: Path) -> None:
    done = run(bucket, tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
