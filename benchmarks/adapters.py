"""A line for each adapter: its time, and the share that goes to preparing pictures and not to the networks."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc.aio

from benchmarks.clients import TIMEOUT
from benchmarks.services import Stack
from benchmarks.workloads import REPO
from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import generation_pb2_grpc as pb_grpc

PICTURES = REPO / "local" / "pictures"
MOST_PREPARING = 0.05
"""Goal: the share of PREPARE in the time of all stages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterRow:
    """One line of the table.

    Attributes:
        adapter: name of the case.
        size: of the result, "width x height".
        images: that were timed.
        seconds: mean of each stage, by the stage's name without its prefix, in the order of work.
    """

    adapter: str
    size: str
    images: int
    seconds: Mapping[str, float]

    @property
    def total(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())

    @property
    def preparing(self) -> float:
        """Share of the stage PREPARE: fetching, decoding and examining the request's pictures."""
        return self.seconds.get("prepare", 0.0) / self.total


@dataclass
class _Seen:
    """What the artifacts of one case reported."""

    size: str = ""
    stages: dict[str, list[float]] = field(default_factory=dict)

    def note(self, artifact: pb.Artifact) -> None:
        self.size = f"{artifact.width} x {artifact.height}"
        for timing in artifact.timings:
            name = pb.Stage.Name(timing.stage).removeprefix("STAGE_").lower()
            self.stages.setdefault(name, []).append(timing.seconds)


def cases() -> dict[str, pb.GenerateRequest]:
    """A request for each adapter, by its name in the table."""
    cat, mask, coffee, face, drawing = (
        pb.ImageSource(data=(PICTURES / name).read_bytes())
        for name in ("chelsea.jpg", "chelsea_mask.png", "coffee.jpg", "astronaut.jpg", "apple_drawing.png")
    )
    square = pb.Size(width=1024, height=1024)
    request = pb.GenerateRequest
    return {
        "text_to_image": request(text_to_image=pb.TextToImage(), size=square),
        "generate_background": request(generate_background=pb.GenerateBackground(image=coffee), size=square),
        "face": request(face=pb.Face(image=face), size=square),
        "face, face_only": request(face=pb.Face(image=face, face_only=True), size=square),
        "control": request(control=pb.Control(image=cat), size=square),
        "control, edges_only": request(control=pb.Control(image=drawing, edges_only=True), size=square),
        "image_to_image": request(image_to_image=pb.ImageToImage(image=cat), size=square),
        "inpaint": request(inpaint=pb.Inpaint(image=cat, mask=mask), size=square),
        "outpaint": request(outpaint=pb.Outpaint(image=cat), size=square),
        "upscale": request(upscale=pb.Upscale(image=cat), size=pb.Size(width=1024)),
        "face_swap": request(face_swap=pb.FaceSwap(image=face, face=face)),
        "edit, remove": request(edit=pb.Edit(image=coffee), background=pb.Background(remove=pb.REMOVAL_AUTO)),
    }


async def measure(stack: Stack, images: int) -> list[AdapterRow]:
    """Ask for every case's pictures one after the other; the first of each case is not timed.

    Raises:
        grpc.aio.AioRpcError: the server refused or failed.
    """
    rows = []
    async with grpc.aio.insecure_channel(stack.grpc_address) as channel:
        stub = pb_grpc.GenerationServiceStub(channel)
        for name, request in cases().items():
            await _ask(stub, request, _Seen(), seed=0)
            seen = _Seen()
            for seed in range(1, images + 1):
                await _ask(stub, request, seen, seed)
            means = {stage: statistics.fmean(seconds) for stage, seconds in seen.stages.items()}
            rows.append(AdapterRow(adapter=name, size=seen.size, images=images, seconds=means))
    return rows


async def _ask(stub: "pb_grpc.GenerationServiceAsyncStub", request: pb.GenerateRequest, seen: _Seen, seed: int) -> None:
    message = pb.GenerateRequest(prompt="red apple", seed=seed)
    message.MergeFrom(request)
    async for event in stub.Generate(message, timeout=TIMEOUT):
        if event.HasField("artifact") and event.artifact.timings:
            seen.note(event.artifact)


def report(rows: Sequence[AdapterRow]) -> str:
    """The rows as a Markdown table, and below it what became of the goal."""
    stages = ("prepare", "encode", "denoise", "decode", "finish")
    lines = ["| adapter | result | total s | " + " | ".join(f"{stage} s" for stage in stages) + " | preparing |"]
    lines.append("|---|---|" + "---:|" * (len(stages) + 2))
    for row in rows:
        seconds = " | ".join(f"{row.seconds[stage]:.3f}" if stage in row.seconds else "-" for stage in stages)
        lines.append(f"| {row.adapter} | {row.size} | {row.total:.3f} | {seconds} | {row.preparing:.1%} |")
    over = [row.adapter for row in rows if row.preparing >= MOST_PREPARING]
    verdict = f"MISSED by {', '.join(over)}" if over else "met"
    return "\n".join([*lines, "", f"- {verdict}: preparing takes under {MOST_PREPARING:.0%} of each request's stages"])
