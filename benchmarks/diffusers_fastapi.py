"""(c) The obvious way: diffusers in torch bf16 behind FastAPI, one picture at a time.

    .tools/bin/python -m benchmarks.diffusers_fastapi MODEL PORT

Runs in the environment of model_tools (.tools). MODEL is starter or sd15. The endpoint is a plain function, so FastAPI
runs it in its thread pool; a pipeline keeps state while it runs, so a lock lets one request in at a time.
"""

import argparse
import io
import threading
from collections.abc import Callable

import fastapi
import pydantic
import torch
import uvicorn
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from benchmarks.workloads import SD15
from model_tools.training.starter.networks import autoencoder, denoiser, text


class Body(pydantic.BaseModel):
    """One picture. Sizes in pixels."""

    prompt: str
    width: int
    height: int
    steps: int
    guidance_scale: float
    seed: int


Generate = Callable[[Body], Image.Image]


def sd15() -> Generate:
    """The pipeline of diffusers on the weights of model_tools.goldens.sd15."""
    pipeline = StableDiffusionPipeline.from_pretrained(SD15 / "diffusers", torch_dtype=torch.bfloat16)
    pipeline.set_progress_bar_config(disable=True)

    def generate(body: Body) -> Image.Image:
        result = pipeline(
            body.prompt,
            width=body.width,
            height=body.height,
            num_inference_steps=body.steps,
            guidance_scale=body.guidance_scale,
            generator=torch.Generator().manual_seed(body.seed),
        )
        picture: Image.Image = result.images[0]
        return picture

    return generate


def starter() -> Generate:
    """The starter's networks in a loop around a scheduler of diffusers, as its training tool has them.

    The weights are random: the repository keeps the trained ones as ONNX only, and time does not depend on them.
    """
    tokenizer, encoder = text.load_tokenizer(), text.load_encoder()
    unet, decoder = denoiser.build_unet().eval(), autoencoder.Decoder().eval()
    scheduler = DPMSolverMultistepScheduler(**denoiser.SCHEDULE, timestep_spacing="trailing")
    images = VaeImageProcessor()

    def generate(body: Body) -> Image.Image:
        ids = torch.tensor([encoding.ids for encoding in tokenizer.encode_batch(["", body.prompt])])
        noise = torch.Generator().manual_seed(body.seed)
        shape = (1, autoencoder.LATENT_CHANNELS, body.height // autoencoder.FACTOR, body.width // autoencoder.FACTOR)
        latents = torch.randn(shape, generator=noise)
        scheduler.set_timesteps(body.steps)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            hidden = encoder(ids)
            for timestep in scheduler.timesteps:
                output = unet(torch.cat([latents, latents]), timestep, hidden)[0]
                unguided, guided = output.chunk(2)
                output = unguided + body.guidance_scale * (guided - unguided)
                latents = scheduler.step(output, timestep, latents).prev_sample
            picture: Image.Image = images.postprocess(decoder(latents).float(), output_type="pil")[0]
        return picture

    return generate


def make_app(generate: Generate) -> fastapi.FastAPI:
    """POST /generate answers a PNG; GET /ready answers once the pipeline is loaded."""
    app, lock = fastapi.FastAPI(), threading.Lock()

    @app.get("/ready")
    def ready() -> str:
        return "ready"

    @app.post("/generate")
    def post_generate(body: Body) -> fastapi.Response:
        with lock:
            picture = generate(body)
        file = io.BytesIO()
        picture.save(file, "PNG")
        return fastapi.Response(file.getvalue(), media_type="image/png")

    return app


def main() -> None:
    """Serve diffusers behind FastAPI on the port of the command line, until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=["starter", "sd15"])
    parser.add_argument("port", type=int)
    arguments = parser.parse_args()
    generate = sd15() if arguments.model == "sd15" else starter()
    uvicorn.run(make_app(generate), host="127.0.0.1", port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
