"""`make images push`: to a registry that runs on loopback, Debian's docker-registry."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from local import images
from tests.deploy.tools import template

REGISTRY = shutil.which("docker-registry") or ""
MISSING = [name for name in ("docker-registry", "buildah", "podman") if shutil.which(name) is None]


@pytest.mark.skipif(bool(MISSING), reason=f"needs Debian's {', '.join(MISSING)}")
def test_pushed_images_are_what_the_charts_values_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(images, "VERSION", "0.0.0-test")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
        "http": {"addr": address},
    }
    (tmp_path / "config.yml").write_text(yaml.safe_dump(config), "utf-8")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY config.yml /\n", "utf-8")
    command = [REGISTRY, "serve", str(tmp_path / "config.yml")]
    registry = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - Debian's
    try:
        images.run(
            ["buildah", "build", "--isolation", "chroot", "--quiet", f"--tag={images.tag('gateway')}", str(tmp_path)]
        )
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://{address}/v2/", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        assert images.push(["gateway"], f"{address}/team", insecure=True) == 0
        values = capsys.readouterr().out
        digest = yaml.safe_load(values)["image"]["digests"]["gateway"]
        request = urllib.request.Request(
            f"http://{address}/v2/team/imagegen/gateway/manifests/{digest}",
            headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
            assert json.load(answer)["layers"]
        (tmp_path / "values.yaml").write_text(values, "utf-8")
        assert f"{address}/team/imagegen/gateway@{digest}" in template("--values", str(tmp_path / "values.yaml"))
    finally:
        registry.terminate()
        registry.wait()
        subprocess.run(["podman", "rmi", "--force", images.tag("gateway")], capture_output=True, check=False)  # noqa: S603, S607


def test_what_is_not_built_is_not_pushed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "exists", lambda _: False)
    assert images.push(["gateway"], "registry.example") == 2
    assert "run `make images` first" in capsys.readouterr().err
