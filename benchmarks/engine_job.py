"""What goes to engine_alone.py and comes back, as JSON. Apart from it, since it needs OpenVINO."""

from typing import Any, TypedDict


class Job(TypedDict):
    """What to run.

    Attributes:
        graphs: path and precision setting of text_encoder, unet and vae_decoder.
        unet: the UNet's configuration as JSON: which inputs may be absent, as they are from what is measured here.
        text_length: token ids for each prompt.
        latent: channels, height and width.
        steps: runs of the UNet for each picture.
        measurements: for each, how many pictures share a batch (a UNet batch has twice as many rows), and how many
            batches are timed.
    """

    graphs: dict[str, tuple[str, str]]
    unet: dict[str, Any]
    text_length: int
    latent: tuple[int, int, int]
    steps: int
    measurements: list[tuple[int, int]]


class Result(TypedDict):
    """One measurement: wall seconds of each batch of pictures, and of the UNet runs within each."""

    pictures: int
    seconds: list[float]
    unet_seconds: list[float]
