"""What a GPU does with an SDXL-sized network, and where batches bring something there. Needs nothing but torch.

    python gpu.py            # on a GPU, within 8 minutes
    python gpu.py --small    # a network of a thousandth of the size, on whatever there is: does it work

Weights are drawn at random on the device: time does not depend on them. It prints milliseconds of a denoising step by
rows and side of the picture, as PyTorch runs it and captured in a CUDA graph, which leaves out what launching its
kernels costs; pictures a second of the whole loop (steps with guidance, then the VAE decoder); and the same by
torch.compile, which comes last because compiling may take minutes. The last line is all of it as JSON.

The shapes are those of Stable Diffusion XL (Podell et al. 2023): channels 320, 640, 1280, two residual blocks for each
level, 0, 2 and 10 transformer blocks behind each of them, context of 77 tokens and 2048 channels.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Run = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Size:
    """Of a network and of what it is measured with."""

    channels: tuple[int, ...] = (320, 640, 1280)
    depths: tuple[int, ...] = (0, 2, 10)
    head: int = 64
    context: int = 2048
    added: int = 2816
    decoder: tuple[int, ...] = (512, 512, 256, 128)
    rows: tuple[int, ...] = (1, 2, 4, 8, 16)
    sides: tuple[int, ...] = (512, 768, 1024)
    pictures: tuple[int, ...] = (1, 2, 4)
    steps: int = 20
    seconds: float = 480.0


SMALL = Size((32, 64), (0, 1), 16, 32, 32, (32, 16, 16, 16), (1, 2), (64,), (1,), 2, 240.0)
TOKENS = 77
REPEATS = 7
MARGIN_SECONDS = 30.0
"""No measurement is started with less time left."""
COMPILE_SECONDS = 150.0
"""Compiling is started only if so much of the time is left."""


class Residual(nn.Module):
    """Two convolutions around what is added for time; (n, in, h, w) to (n, out, h, w)."""

    def __init__(self, inside: int, outside: int, time_channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(16, inside), nn.GroupNorm(16, outside)
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1)
        self.time = nn.Linear(time_channels, outside) if time_channels else None
        self.skip = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x: Tensor, time_embedding: Tensor | None = None) -> Tensor:
        h = self.conv1(functional.silu(self.norm1(x)))
        if self.time is not None and time_embedding is not None:
            h = h + self.time(functional.silu(time_embedding))[:, :, None, None]
        h = self.conv2(functional.silu(self.norm2(h)))
        return h + self.skip(x)


class Attention(nn.Module):
    """Multi-head attention from x (n, l, c) to a context (n, m, d)."""

    def __init__(self, channels: int, context: int, head: int) -> None:
        super().__init__()
        self.heads = channels // head
        self.q = nn.Linear(channels, channels, bias=False)
        self.kv = nn.Linear(context, 2 * channels, bias=False)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv(context).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Transformer(nn.Module):
    """Blocks of self-attention, cross-attention and a gated linear unit over the places of a picture."""

    def __init__(self, channels: int, depth: int, size: Size) -> None:
        super().__init__()
        self.norm, self.enter, self.leave = (
            nn.GroupNorm(16, channels),
            nn.Linear(channels, channels),
            nn.Linear(channels, channels),
        )
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm1": nn.LayerNorm(channels),
                    "self": Attention(channels, channels, size.head),
                    "norm2": nn.LayerNorm(channels),
                    "cross": Attention(channels, size.context, size.head),
                    "norm3": nn.LayerNorm(channels),
                    "gated": nn.Linear(channels, 8 * channels),
                    "down": nn.Linear(4 * channels, channels),
                }
            )
            for _ in range(depth)
        )

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        h = self.enter(self.norm(x).flatten(2).transpose(1, 2))
        for block in self.blocks:
            seen = block["norm1"](h)
            h = h + block["self"](seen, seen)
            h = h + block["cross"](block["norm2"](h), context)
            value, gate = block["gated"](block["norm3"](h)).chunk(2, dim=-1)
            h = h + block["down"](value * functional.gelu(gate))
        return x + self.leave(h).transpose(1, 2).unflatten(2, x.shape[2:])


class Level(nn.Module):
    """A residual block and the transformer behind it, if there is one."""

    def __init__(self, inside: int, outside: int, depth: int, size: Size) -> None:
        super().__init__()
        self.residual = Residual(inside, outside, 4 * size.channels[0])
        self.transformer = Transformer(outside, depth, size) if depth else None

    def forward(self, x: Tensor, time_embedding: Tensor, context: Tensor) -> Tensor:
        x = self.residual(x, time_embedding)
        return x if self.transformer is None else self.transformer(x, context)


class Unet(nn.Module):
    """SDXL's: latents (n, 4, h, w), timesteps (n,), context (n, 77, d), added (n, a) to a prediction (n, 4, h, w)."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        first, last = size.channels[0], size.channels[-1]
        self.time_channels = first
        self.time = nn.Sequential(nn.Linear(first, 4 * first), nn.SiLU(), nn.Linear(4 * first, 4 * first))
        self.added = nn.Sequential(nn.Linear(size.added, 4 * first), nn.SiLU(), nn.Linear(4 * first, 4 * first))
        self.enter = nn.Conv2d(4, first, 3, padding=1)
        self.down, self.up, kept, inside = nn.ModuleList(), nn.ModuleList(), [first], first
        for number, (channels, depth) in enumerate(zip(size.channels, size.depths, strict=True)):
            if number:
                self.down.append(nn.Conv2d(inside, inside, 3, stride=2, padding=1))
                kept.append(inside)
            for _ in range(2):
                self.down.append(Level(inside, channels, depth, size))
                inside = channels
                kept.append(inside)
        self.middle = nn.ModuleList((Level(last, last, size.depths[-1], size), Level(last, last, 0, size)))
        for number, (channels, depth) in enumerate(
            zip(reversed(size.channels), reversed(size.depths), strict=True), start=1
        ):
            for _ in range(3):
                self.up.append(Level(inside + kept.pop(), channels, depth, size))
                inside = channels
            if number < len(size.channels):
                self.up.append(nn.Conv2d(inside, inside, 3, padding=1))
        self.leave = nn.Sequential(nn.GroupNorm(16, first), nn.SiLU(), nn.Conv2d(first, 4, 3, padding=1))

    def forward(self, x: Tensor, timestep: Tensor, context: Tensor, added: Tensor) -> Tensor:
        half = self.time_channels // 2
        rates = torch.exp(-9.21 * torch.arange(half, device=x.device) / half)
        angles = timestep.float()[:, None] * rates
        embedding = self.time(torch.cat([angles.cos(), angles.sin()], dim=-1).to(x.dtype)) + self.added(added)
        x = self.enter(x)
        kept = [x]
        for block in self.down:
            x = block(x, embedding, context) if isinstance(block, Level) else block(x)
            kept.append(x)
        for block in self.middle:
            x = block(x, embedding, context)
        for block in self.up:
            if isinstance(block, Level):
                x = block(torch.cat([x, kept.pop()], dim=1), embedding, context)
            else:
                x = block(functional.interpolate(x, scale_factor=2.0))
        return self.leave(x)


class Decoder(nn.Module):
    """A VAE decoder of SDXL's size: latents (n, 4, h, w) to pictures (n, 3, 8 h, 8 w)."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        inside = size.decoder[0]
        layers: list[nn.Module] = [nn.Conv2d(4, inside, 3, padding=1), Residual(inside, inside, 0)]
        for number, channels in enumerate(size.decoder):
            for _ in range(3):
                layers.append(Residual(inside, channels, 0))
                inside = channels
            if number < len(size.decoder) - 1:
                layers += [nn.Upsample(scale_factor=2), nn.Conv2d(inside, inside, 3, padding=1)]
        layers += [nn.GroupNorm(16, inside), nn.SiLU(), nn.Conv2d(inside, 3, 3, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor) -> Tensor:
        return self.layers(latents)


class Bench:
    """The networks on their device, and the remaining time."""

    def __init__(self, size: Size, device: torch.device) -> None:
        self.size, self.device = size, device
        self.dtype = torch.float16 if device.type == "cuda" else torch.float32
        self.begin = time.monotonic()
        torch.manual_seed(0)
        torch.set_default_dtype(self.dtype)
        with device:
            self.unet, self.decoder = Unet(size).eval(), Decoder(size).eval()
        torch.set_default_dtype(torch.float32)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.size.seconds - (time.monotonic() - self.begin)

    def inputs(self, rows: int, side: int) -> tuple[Tensor, ...]:
        """Of the UNet, drawn at random."""
        options: dict[str, Any] = {"device": self.device, "dtype": self.dtype}
        return (
            torch.randn(rows, 4, side // 8, side // 8, **options),
            torch.full((rows,), 500.0, **options),
            torch.randn(rows, TOKENS, self.size.context, **options),
            torch.randn(rows, self.size.added, **options),
        )

    def synchronize(self) -> None:
        """Wait until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, run: Run, repeats: int = REPEATS) -> float:
        """Median seconds of a run, after two that are not counted."""
        for _ in range(2):
            run()
        found = []
        for _ in range(repeats):
            self.synchronize()
            start = time.perf_counter()
            run()
            self.synchronize()
            found.append(time.perf_counter() - start)
        return statistics.median(found)

    def captured(self, run: Run) -> Run | None:
        """The same, replayed as one CUDA graph; None without CUDA."""
        if self.device.type != "cuda":
            return None
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(2):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        return graph.replay

    def step(self, rows: int, side: int) -> dict[str, float]:
        """Milliseconds of a step, as it is and captured."""
        inputs = self.inputs(rows, side)

        def run() -> Tensor:
            return self.unet(*inputs)

        found = {"eager": 1000 * self.seconds(run)}
        if (replay := self.captured(run)) is not None:
            found["graph"] = 1000 * self.seconds(replay)
        return {name: round(value, 3) for name, value in found.items()}

    def loop(self, pictures: int, side: int, unet: Callable[..., Tensor]) -> float:
        """Pictures a second: steps of Euler with guidance, two rows for each picture, then the decoder."""
        latents, times, context, added = self.inputs(2 * pictures, side)

        def run() -> Tensor:
            x = latents[:pictures]
            for step in range(self.size.steps):
                without, prompted = unet(torch.cat([x, x]), times - step, context, added).chunk(2)
                x = x - (without + 7.5 * (prompted - without)) / self.size.steps
            return self.decoder(x)

        return round(pictures / self.seconds(run, repeats=2), 4)


def measure(bench: Bench, *, compiled: bool) -> dict[str, Any]:
    """All figures that the time allows; what it did not allow is named in `left_out`."""
    size, side = bench.size, max(bench.size.sides)
    parameters = sum(each.numel() for each in bench.unet.parameters())
    found: dict[str, Any] = {"parameters": parameters, "steps": size.steps, "ms": [], "pictures_s": [], "left_out": []}
    reserve = COMPILE_SECONDS if compiled else 0.0
    row: dict[str, Any]
    for at in size.sides:
        for rows in size.rows:
            if bench.left < reserve + MARGIN_SECONDS:
                found["left_out"].append(f"step, {rows} rows, {at} x {at}")
                continue
            row = {"rows": rows, "side": at, **bench.step(rows, at)}
            row["ms_a_row"] = round(min(row[name] for name in ("eager", "graph") if name in row) / rows, 3)
            found["ms"].append(row)
            print(row, flush=True)
    for pictures in size.pictures:
        if bench.left < reserve + MARGIN_SECONDS:
            found["left_out"].append(f"loop, {pictures} pictures")
            continue
        row = {"pictures": pictures, "side": side, "run": "eager", "pictures_s": bench.loop(pictures, side, bench.unet)}
        found["pictures_s"].append(row)
        print(row, flush=True)
    if compiled and bench.left > COMPILE_SECONDS / 2:
        unet = torch.compile(bench.unet)
        row = {"pictures": 1, "side": side, "run": "compiled", "pictures_s": bench.loop(1, side, unet)}
        found["pictures_s"].append(row)
        print(row, flush=True)
    elif compiled:
        found["left_out"].append("torch.compile")
    return found


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a small network, on the CPU where there is no GPU")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile")
    given = parser.parse_args()
    if not given.small and not torch.cuda.is_available():
        parser.exit(2, "there is no GPU here that PyTorch can use; --small runs on the CPU\n")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if given.small and device.type == "cpu":
        torch.set_num_threads(1)  # a network so small gains nothing from more
    size = SMALL if given.small else Size()
    with torch.inference_mode():
        found = measure(Bench(size, device), compiled=not given.no_compile)
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    print(json.dumps({"device": name, "torch": torch.__version__, **found}))


if __name__ == "__main__":
    main()
