"""The picture autoencoder: 8 x 8 pixels to one position of 8 latent channels, and back.

The encoder's deep network makes the first four channels, and a shallow one, which works on 8 x 8 blocks at the latents'
size and costs little, the other four: what those leave out. The decoder's deep network sees all eight; a shallow one
next to it gives the blocks' linear part a short way.

The shape follows what two cores are good at. Convolutions in bf16 run at 0.5 to 1.2 TFLOP/s, so the width sits
where the maps are small; there are no norms (GroupNorm's backward takes 38 % of an AutoencoderKL's time here) and
no attention; the first and last resampling are pixel shuffles, which cost nothing.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

BASE_CHANNELS = 4
DETAIL_CHANNELS = 4
LATENT_CHANNELS = BASE_CHANNELS + DETAIL_CHANNELS
FACTOR = 8
DETAIL_WIDTH = 96
PIXELS = 3 * FACTOR**2


class Block(nn.Module):
    """Two 3 x 3 convolutions next to a skip connection. The second starts at zero, so depth costs no stability."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.second(functional.silu(self.first(x)))
        return functional.silu(x + hidden)


class Shallow(nn.Module):
    """A linear map (a convolution of side `reach`), and what a few more convolutions add to it, at first nothing."""

    def __init__(self, inputs: int, outputs: int, reach: int) -> None:
        super().__init__()
        self.linear = nn.Conv2d(inputs, outputs, reach, padding=reach // 2)
        out = nn.Conv2d(DETAIL_WIDTH, outputs, 3, padding=1)
        nn.init.zeros_(out.weight)
        nn.init.zeros_(out.bias)
        self.more = nn.Sequential(
            nn.Conv2d(inputs, DETAIL_WIDTH, 3, padding=1), nn.SiLU(), Block(DETAIL_WIDTH), Block(DETAIL_WIDTH), out
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + self.more(x)


class Encoder(nn.Module):
    """RGB in [-1, 1] [B, 3, H, W] to latents [B, 8, H / 8, W / 8], each channel near zero mean and unit deviation."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        half = width * 5 // 8
        self.body = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, half, 3, padding=1),
            nn.SiLU(),
            Block(half),
            nn.Conv2d(half, width, 4, stride=2, padding=1),
            nn.SiLU(),
            Block(width),
            Block(width),
            nn.Conv2d(width, BASE_CHANNELS, 3, padding=1),
        )
        self.detail = nn.Sequential(nn.PixelUnshuffle(FACTOR), Shallow(PIXELS, DETAIL_CHANNELS, 1))
        # No learnt scale: the latents' size is fixed, so that noise of one size means the same all through training.
        self.norm = nn.BatchNorm2d(LATENT_CHANNELS, affine=False)

    def forward(self, image: Tensor) -> Tensor:
        return self.norm(torch.cat([self.body(image), self.detail(image)], 1).float())


def upsample(channels: int, out: int) -> nn.Sequential:
    """Twice the height and width: a convolution to four times the channels, then a pixel shuffle."""
    return nn.Sequential(nn.Conv2d(channels, out * 4, 3, padding=1), nn.PixelShuffle(2), nn.SiLU())


class Decoder(nn.Module):
    """Latents [B, 8, h, w] to RGB [B, 3, 8 h, 8 w], near [-1, 1], not clamped."""

    def __init__(self, width: int = 160) -> None:
        super().__init__()
        middle, last = width * 3 // 5, width * 3 // 10
        self.body = nn.Sequential(
            nn.Conv2d(LATENT_CHANNELS, width, 3, padding=1),
            nn.SiLU(),
            Block(width),
            Block(width),
            Block(width),
            upsample(width, middle),
            Block(middle),
            Block(middle),
            Block(middle),
            upsample(middle, last),
            Block(last),
            Block(last),
            nn.Conv2d(last, 12, 3, padding=1),
            nn.PixelShuffle(2),
        )
        self.detail = nn.Sequential(Shallow(LATENT_CHANNELS, PIXELS, 3), nn.PixelShuffle(FACTOR))

    def forward(self, latents: Tensor) -> Tensor:
        # tanh keeps extreme latents, which a sampler makes and training never saw, from breaking the picture.
        bounded = torch.tanh(latents / 3) * 3
        return self.body(bounded) + self.detail(bounded)


class Autoencoder(nn.Module):
    """Encoder and decoder. In training the decoder sees latents with noise, so that it forgives a sampler's errors."""

    def __init__(self, noise: float = 0.1) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.noise = noise

    def forward(self, image: Tensor) -> Tensor:
        latents = self.encoder(image)
        return self.decoder(latents + self.noise * torch.randn_like(latents))
