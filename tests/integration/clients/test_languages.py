"""What other languages build on: reflection, the service config, and the examples, built and run."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2

from gateway.upstream.orchestrator import SERVICE_CONFIG
from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import generation_pb2_grpc, jobs_pb2, jobs_pb2_grpc
from tests.contract.rest_fake import FakeJobs
from tests.contract.rest_stack import grpc_server
from tests.integration.clients.conftest import Endpoints
from tests.integration.pictures import decode
from tests.integration.stack import REPOSITORY

pytestmark = pytest.mark.asyncio(loop_scope="module")
CONFIG = (("grpc.service_config", SERVICE_CONFIG.read_text("utf-8")),)
GO_SOURCES = Path("/usr/share/gocode")
HAS_GO = shutil.which("protoc-gen-go-grpc") is not None and GO_SOURCES.is_dir()


# Debian's gRPC for Go is of 2020 and writes messages by a library that does not know those of its own generator.
CODEC = """package main

import (
	older "github.com/golang/protobuf/proto"
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"
)

type codec struct{}

func (codec) Marshal(v interface{}) ([]byte, error) {
	if message, ok := v.(proto.Message); ok {
		return proto.Marshal(message)
	}
	return older.Marshal(v.(older.Message))
}

func (codec) Unmarshal(data []byte, v interface{}) error {
	if message, ok := v.(proto.Message); ok {
		return proto.Unmarshal(data, message)
	}
	return older.Unmarshal(data, v.(older.Message))
}

func (codec) Name() string { return "proto" }

func init() { encoding.RegisterCodec(codec{}) }
"""


class Refuses(FakeJobs):
    """Is not there for the first calls."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals, self.calls = 2, 0

    async def Generate(  # noqa: N802
        self, _: pb.GenerateRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> AsyncIterator[pb.GenerateEvent]:
        self.calls += 1
        if self.calls <= self.refusals:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        yield pb.GenerateEvent(sequence=1, queued=pb.Queued(job_id="j"))
        if self.refusals == 0:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection(endpoints: Endpoints, version: str) -> None:
    """Lists the services, and gives the file of a symbol; by the newest name and by the older one."""
    async with grpc.aio.insecure_channel(endpoints.grpc) as channel:
        call = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        answer: Any = await call.read()
        listed = {each.name for each in answer.list_services_response.service}
        assert {"imagegen.v1.GenerationService", "imagegen.v1.JobService"} <= listed
        for name in listed:
            await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=name))
            answer = await call.read()
            (found, *_) = answer.file_descriptor_response.file_descriptor_proto
            assert FileDescriptorProto.FromString(found).service, name
        await call.done_writing()


async def test_the_service_config_works_on_the_service(endpoints: Endpoints) -> None:
    """Its health check finds the service; its timeouts let a picture through."""
    async with grpc.aio.insecure_channel(endpoints.grpc, options=CONFIG) as channel:
        stub, metadata = jobs_pb2_grpc.JobServiceStub(channel), [("x-api-key", endpoints.key)]
        request = pb.GenerateRequest(text_to_image=pb.TextToImage(), prompt="apple", request_id="by-config")
        job = await stub.CreateJob(jobs_pb2.CreateJobRequest(request=request), metadata=metadata)
        events = [e async for e in stub.WatchJob(jobs_pb2.WatchJobRequest(job_id=job.job_id), metadata=metadata)]
    assert events[-1].artifact.uri


async def test_generate_is_sent_again_before_its_first_event_alone() -> None:
    fake = Refuses()
    async with (
        grpc_server(fake) as (port, _),
        grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CONFIG) as channel,
    ):
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        assert [event.sequence async for event in stub.Generate(pb.GenerateRequest())] == [1]
        assert fake.calls == 3
        fake.refusals, fake.calls = 0, 0
        with pytest.raises(grpc.aio.AioRpcError):
            [event async for event in stub.Generate(pb.GenerateRequest())]
        assert fake.calls == 1


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def typescript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the TypeScript example, with the packages of its lock."""
    if shutil.which("npm") is None:
        pytest.skip("needs node and npm")
    folder = tmp_path_factory.mktemp("examples") / "typescript"
    ignored = shutil.ignore_patterns("node_modules")
    shutil.copytree(REPOSITORY / "examples/typescript", folder, ignore=ignored)
    await run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], folder, HOME=os.environ.get("HOME", "/root"))
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def generated(typescript: Path) -> Path:
    """What `buf generate` writes in proto/, with the plug-ins that buf.gen.yaml names."""
    if not HAS_GO:
        pytest.skip("needs Debian's golang-go, protoc-gen-go, protoc-gen-go-grpc and golang-google-grpc-dev")
    protos = typescript.parent / "proto"
    shutil.copytree(REPOSITORY / "proto", protos)
    plugins = f"{typescript / 'node_modules/.bin'}:{os.environ['PATH']}"
    buf = str(Path(sys.executable).parent / "buf")
    await run([buf, "generate"], protos, PATH=plugins, HOME=str(typescript.parent))
    return typescript.parent / "gen"


async def test_the_go_example(endpoints: Endpoints, generated: Path, tmp_path: Path) -> None:
    """With Debian's Go, and the package that buf generated."""
    module = tmp_path / "src/github.com/imagegen/imagegen"
    shutil.copytree(REPOSITORY / "examples/go", module / "examples/go")
    (module / "examples/go/codec.go").write_text(CODEC)
    shutil.copytree(generated / "go", module / "gen/go")
    shutil.copy(SERVICE_CONFIG, tmp_path)
    go = {"GO111MODULE": "off", "GOPATH": f"{tmp_path}:{GO_SOURCES}", "HOME": str(Path.home())}
    await run(["go", "build", "-o", "example", "github.com/imagegen/imagegen/examples/go"], tmp_path, **go)
    said = await run(["./example", "red apple", "apple.png"], tmp_path, **environment(endpoints))
    assert "STAGE_DENOISE" in said
    assert decode((tmp_path / "apple.png").read_bytes()).shape == (512, 512, 3)


async def test_the_generated_typescript_is_well_typed(typescript: Path, generated: Path) -> None:
    """All of the schema, for strict TypeScript; its messages are built and read by protobuf-es."""
    shutil.copytree(generated / "es", typescript / "es")
    (typescript / "use.ts").write_text(
        'import { create, fromBinary, toBinary } from "@bufbuild/protobuf";\n'
        'import { GenerateRequestSchema } from "./es/imagegen/v1/generation_pb";\n'
        'const sent = create(GenerateRequestSchema, { prompt: "red apple", seed: 7n });\n'
        "const read = fromBinary(GenerateRequestSchema, toBinary(GenerateRequestSchema, sent));\n"
        "console.log(read.prompt, read.seed);\n"
    )
    files = [str(path.relative_to(typescript)) for path in sorted((typescript / "es").rglob("*.ts"))]
    assert {Path(name).name for name in files} == {
        f"{path.stem}_pb.ts" for path in (REPOSITORY / "proto/imagegen/v1").glob("*.proto")
    }
    options = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext"]
    await run(["npx", "tsc", *options, "use.ts", *files], typescript)
    assert await run(["npx", "tsx", "use.ts"], typescript) == "red apple 7n\n"


async def test_the_typescript_example(endpoints: Endpoints, typescript: Path) -> None:
    """Type-checked, and run by node; its packages are those of its lock."""
    folder = typescript
    await run(["npx", "tsc", "-p", "."], folder)
    where = {**environment(endpoints), "IMAGEGEN_PROTO": str(REPOSITORY / "proto")}
    said = await run(["npx", "tsx", "generate.ts", "red apple", "apple.png"], folder, **where)
    assert "STAGE_DENOISE" in said
    assert decode((folder / "apple.png").read_bytes()).shape == (512, 512, 3)


def environment(endpoints: Endpoints) -> dict[str, str]:
    """Where the stack is, for the examples."""
    return {"IMAGEGEN_ADDRESS": endpoints.grpc, "IMAGEGEN_API_KEY": endpoints.key}


async def run(command: list[str], folder: Path, **variables: str) -> str:
    """What a program prints; it must end well."""
    kept = {name: os.environ[name] for name in os.environ if name.lower().startswith(("npm_", "http", "ssl", "node_"))}
    variables = {"PATH": os.environ["PATH"], **kept, **variables}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()
