"""What `pip install imagegen-client` gives: in an environment of its own, with nothing else of ours."""

import asyncio
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.clients import environment
from tests.integration.clients.conftest import Endpoints
from tests.integration.pictures import decode, encode, scene
from tests.integration.stack import REPOSITORY

pytestmark = pytest.mark.asyncio(loop_scope="module")
README = re.compile(r"```python\n(from imagegen_client import Client\n.*?)```", re.DOTALL)

# What another version of the server's own code would leave in a process.
STRANGER = """
from google.protobuf import descriptor_pb2, descriptor_pool
name = "imagegen/v1/generation.proto"
file = descriptor_pb2.FileDescriptorProto(name=name, package="imagegen.v1", syntax="proto3")
file.message_type.add(name="GenerateRequest")
descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
import imagegen_client
from imagegen_client.v1 import generation_pb2 as pb
assert pb.GenerateRequest(prompt="apple").prompt == "apple"
assert descriptor_pool.Default().FindMessageTypeByName("imagegen.v1.GenerateRequest").fields == []
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of the environment."""
    return environment.fresh(tmp_path_factory.mktemp("fresh") / "environment")


async def run(command: list[str | Path], endpoints: Endpoints, folder: Path) -> tuple[int, str, str]:
    """Run a program against the stack; returns exit code, output and errors."""
    variables = {"PATH": os.environ["PATH"], "IMAGEGEN_ADDRESS": endpoints.grpc, "IMAGEGEN_API_KEY": endpoints.key}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, errors = await process.communicate()
    return process.returncode or 0, output.decode(), errors.decode()


@pytest_asyncio.fixture(loop_scope="module")
async def imagegen(programs: Path, endpoints: Endpoints, tmp_path: Path) -> "Shell":
    """The command line, in a folder of its own."""
    return Shell(programs / "imagegen", endpoints, tmp_path)


class Shell:
    """Runs `imagegen`."""

    def __init__(self, program: Path, endpoints: Endpoints, folder: Path) -> None:
        self._program, self._endpoints, self.folder = program, endpoints, folder

    async def __call__(self, *arguments: str, fails: bool = False) -> str:
        """What it prints; its errors where it fails."""
        code, output, errors = await run([self._program, *arguments], self._endpoints, self.folder)
        assert (code == 1) is fails, (code, output, errors)
        return errors if fails else output


@pytest.mark.parametrize("page", ["README.md", "clients/python/README.md"])
async def test_the_lines_of_the_readme(programs: Path, endpoints: Endpoints, tmp_path: Path, page: str) -> None:
    """Four lines to a picture, word for word but for the address and key of the stack."""
    found = README.search((REPOSITORY / page).read_text("utf-8"))
    assert found is not None
    lines = re.sub(r'Client\("[^)]*"\)', "Client()", found[1])
    assert len(lines.strip().splitlines()) <= 4
    code, _, errors = await run([programs / "python", "-c", lines], endpoints, tmp_path)
    assert code == 0, errors
    assert decode((tmp_path / "apple.png").read_bytes()).shape == (512, 512, 3)


async def test_the_shell_lines_of_the_readme(imagegen: Shell) -> None:
    """Those after the installation, which the environment of these tests represents."""
    (line,) = re.findall(r"^imagegen (generate .*)$", (REPOSITORY / "README.md").read_text("utf-8"), re.MULTILINE)
    await imagegen(*shlex.split(line))
    assert decode((imagegen.folder / "apple.png").read_bytes()).shape == (512, 512, 3)


async def test_nothing_else_of_ours_is_there(programs: Path, endpoints: Endpoints, tmp_path: Path) -> None:
    for module in ("imagegen", "orchestrator", "gateway", "google.rpc", "grpc_status"):
        code, _, errors = await run([programs / "python", "-c", f"import {module}"], endpoints, tmp_path)
        assert code == 1, module
        assert "ModuleNotFoundError" in errors


async def test_another_schema_in_the_process_does_no_harm(programs: Path, endpoints: Endpoints, tmp_path: Path) -> None:
    code, _, errors = await run([programs / "python", "-c", STRANGER], endpoints, tmp_path)
    assert code == 0, errors


async def test_types_are_complete(programs: Path, endpoints: Endpoints, tmp_path: Path) -> None:
    """For mypy --strict, with what the wheel brings; a wrong type is found."""
    (tmp_path / "good.py").write_text(
        "import imagegen_client as ig\n"
        "picture: ig.Picture = ig.Client().generate('x', ig.Face('a.png'), width=64, sampler='euler')\n"
        "data: bytes = picture.data\n"
    )
    (tmp_path / "bad.py").write_text("import imagegen_client\nimagegen_client.Client().generate('x', width='wide')\n")
    mypy = Path(sys.executable).parent / "mypy"
    command: list[str | Path] = [mypy, "--strict", f"--python-executable={programs / 'python'}", "--no-incremental"]
    code, output, _ = await run([*command, "good.py"], endpoints, tmp_path)
    assert code == 0, output
    code, output, _ = await run([*command, "bad.py"], endpoints, tmp_path)
    assert code == 1
    assert "incompatible type" in output


async def test_the_command_line(imagegen: Shell) -> None:
    """Each command, and its errors in one line."""
    (imagegen.folder / "scene.png").write_bytes(encode(scene()))
    assert (await imagegen("generate", "red apple", "--seed", "7", "--size", "96x64")).strip() == "7.png"
    await imagegen("draw", "red apple", "--seed", "7", "--size", "96x64", "-o", "drawn.png")
    assert (imagegen.folder / "drawn.png").read_bytes() == (imagegen.folder / "7.png").read_bytes()
    await imagegen("edit", "scene.png", "apple", "--reference", "7.png", "-o", "steered.png")
    assert decode((imagegen.folder / "7.png").read_bytes()).shape == (64, 96, 3)
    await imagegen("edit", "scene.png", "apple", "--strength", "0.5", "--output", "edited.jpg")
    assert (imagegen.folder / "edited.jpg").read_bytes().startswith(b"\xff\xd8")
    await imagegen("edit", "scene.png", "--remove-background", "auto", "--output", "cut.png")
    assert decode((imagegen.folder / "cut.png").read_bytes()).shape[2] == 4
    jobs = (await imagegen("jobs", "--state", "succeeded", "--limit", "3")).splitlines()
    assert len(jobs) == 3
    job = jobs[0].split()[0]
    await imagegen("watch", job, "-o", "again.png")
    assert (imagegen.folder / "again.png").read_bytes() == (imagegen.folder / "cut.png").read_bytes()
    assert (await imagegen("cancel", job)).strip() == "succeeded"
    assert "small" in await imagegen("families")
    for arguments, words in (
        (("generate", "apple", "--steps", "151"), "request.steps"),
        (("generate", "apple", "--sampler", "magic"), "sampler must be one of"),
        (("edit", "gone.png", "apple"), "gone.png"),
        (("edit", "scene.png", "apple", "--task", "inpaint"), "--mask"),
        (("watch", "A" * 22), "no such job"),
        (("families", "--key", "wrong"), "not known"),
    ):
        said = await imagegen(*arguments, fails=True)
        assert said.startswith("imagegen: "), said
        assert words in said, said
        assert len(said.strip().splitlines()) == 1, said
