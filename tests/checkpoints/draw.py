"""Our side of the proof: requests through gRPC, the orchestrator and a real Triton, over what `add` wrote.

    .venv/bin/python -m tests.checkpoints.draw ORDER.json OUT.npz

ORDER.json names repositories, the families file, the pictures' size and, for each family, names of cases. OUT.npz gets,
of each, the picture that came back, the picture as the pipeline painted it, and what the tasks had prepared for the
pipeline: start picture, mask, control picture, image prompt; diffusers is given the same.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

from imagegen.v1 import generation_pb2 as pb
from local import triton
from orchestrator.diffusion.inputs import PipelineInputs
from orchestrator.diffusion.pipeline import Pipeline
from tests.checkpoints.cases import EVERY, SEED, STEPS, Asked
from tests.integration.pictures import box_mask, decode, encode, scene
from tests.integration.stack import Client, serving, settings

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from orchestrator.arrays import Pixels

Arrays = dict[str, Any]


def task(case: Asked, width: int, height: int) -> dict[str, Message]:
    """The request's task, by its field."""
    picture = pb.ImageSource(data=encode(scene(width, height)))
    edges = None if case.edges is None else pb.Edges(scale=case.edges)
    if case.task == "image_to_image":
        return {case.task: pb.ImageToImage(image=picture, strength=case.strength, edges=edges)}
    if case.task == "inpaint":
        box = (width // 4, height // 4, width - width // 4, height - height // 4)
        mask = pb.ImageSource(data=encode(box_mask(width, height, *box)))
        return {case.task: pb.Inpaint(image=picture, mask=mask, strength=case.strength)}
    if case.task == "drawing":
        return {"control": pb.Control(image=picture, edges=edges, edges_only=True)}
    if case.task == "face":
        portrait = pb.ImageSource(data=encode(scene(width, height, faces=1)))
        return {case.task: pb.Face(image=portrait, likeness=case.likeness, face_only=True)}
    return {case.task: pb.TextToImage()}


def request(case: Asked, family: str, width: int, height: int) -> pb.GenerateRequest:
    """The case as a request for exactly that size."""
    return pb.GenerateRequest(
        **task(case, width, height),  # type: ignore[arg-type]  # by the field's name
        prompt=case.text,
        negative_prompt=case.negative,
        family=family,
        size=pb.Size(width=width, height=height),
        seed=SEED,
        sampler=pb.Sampler.Value(f"SAMPLER_{case.sampler.upper()}"),
        steps=STEPS,
        guidance_scale=case.guidance,
        clip_skip=case.clip_skip,
        loras=[pb.Lora(name=name, weight=weight) for name, weight in case.loras],
    )


def prepared(inputs: PipelineInputs) -> Arrays:
    """What a task prepared, as arrays."""
    arrays: Arrays = {"size": np.array(inputs.size)}
    if inputs.start is not None:
        arrays["start"] = inputs.start.pixels
    if inputs.mask is not None:
        arrays["mask"] = inputs.mask
    if inputs.control is not None:
        arrays["control"] = inputs.control.image
    if inputs.image_prompt is not None:
        arrays["image_prompt"] = inputs.image_prompt.pixels
    return arrays


async def draw(client: Client, order: dict[str, Any]) -> Arrays:
    """All cases of all families, one after the other."""
    made: Arrays = {}
    seen: list[tuple[PipelineInputs, Pixels]] = []
    run = Pipeline.run

    async def noting(
        self: Pipeline, networks: Any, inputs: PipelineInputs, listener: Any, timer: Any
    ) -> Pixels:  # handed on
        pixels = await run(self, networks, inputs, listener, timer)
        seen.append((inputs, pixels))
        return pixels

    with mock.patch.object(Pipeline, "run", noting):
        for family, names in order["families"].items():
            for case in (EVERY[name] for name in names):
                answer = await client.generate(request(case, family, *order["size"]))
                inputs, pixels = seen.pop()
                arrays = {"picture": decode(answer.data), "painted": pixels, **prepared(inputs)}
                made |= {f"{family}/{case.name}/{key}": array for key, array in arrays.items()}
    return made


async def main(order: dict[str, Any], out: Path) -> None:
    repositories = [Path(each) for each in order["repositories"]]
    with tempfile.TemporaryDirectory() as name, triton.running(repositories, Path(name) / "triton") as server:
        config = settings(server.grpc_port, Path(name), families=Path(order["families_toml"]))
        async with serving(config) as (_, client):
            np.savez_compressed(out, **await draw(client, order))


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text("utf-8")), Path(sys.argv[2])))
