"""The control adapter: a picture of edges steers the draft and the denoiser.

The residuals enter the frozen UNet as a ControlNet's do (Zhang et al. 2023, arXiv:2302.05543): through convolutions
that start at zero, into its skip connections and its middle, each times the row's control scale. What makes them is
lighter, by T2I-Adapter's idea (Mou et al. 2023, arXiv:2302.08453): it sees the edges and the draft, neither the noisy
latents nor the step, so it is cheap enough to be worked out for every row, steered or not.

The draft decides on the layout here, so edges must be able to overrule it: the same features correct the draft.
"""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from model_tools.training.starter.networks.autoencoder import LATENT_CHANNELS, Block
from model_tools.training.starter.networks.denoiser import PLACE_CHANNELS
from model_tools.training.starter.networks.text import WIDTH

# Channels of the features at the latents' size, its half and its quarter, and those of the edges at twice the size.
WIDTHS = (128, 160, 192)
STEM = 64
HINT = 128
# The frozen UNet's skip connections, from its first to its last: which of the three sizes each has, and of which of
# the UNet's widths it is.
SKIPS = ((0, 0), (0, 0), (1, 0), (1, 1), (2, 1), (2, 2))


class Residuals(NamedTuple):
    """What the control adds, before the row's scale.

    `draft` [B, 8, h, w] to the draft; `skips` and `middle` to the UNet's skip connections and its middle block.
    """

    draft: Tensor
    skips: tuple[Tensor, ...]
    middle: Tensor


def zero(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """The layer with weights and bias at zero: it adds nothing until it has learnt to."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def double(maps: Tensor) -> Tensor:
    """Twice the height and width, each value four times."""
    return functional.interpolate(maps, scale_factor=2.0, mode="nearest")


class Hint(nn.Module):
    """What the caption and the image prompt are about, as a shift of the coarse features: [B, C, 1, 1]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.text = nn.Linear(2 * WIDTH, HINT)
        self.image = nn.Linear(WIDTH, HINT, bias=False)
        self.out = nn.Linear(HINT, channels)

    def forward(self, pooled: Tensor, prompt: Tensor) -> Tensor:
        hidden = functional.silu(self.text(pooled) + self.image(prompt))
        return self.out(hidden)[:, :, None, None]


class ControlEncoder(nn.Module):
    """A small U of convolutions: edges and the draft in, a correction of the draft and residuals out.

    `unet_widths` are the three widths of the UNet that takes the residuals.
    """

    def __init__(self, unet_widths: tuple[int, int, int]) -> None:
        super().__init__()
        fine, half, coarse = WIDTHS
        self.stem = nn.Sequential(nn.Conv2d(16, STEM, 3, padding=1), nn.SiLU(), Block(STEM))
        self.shrink = nn.Conv2d(STEM, fine, 4, stride=2, padding=1)
        self.given = nn.Conv2d(LATENT_CHANNELS + PLACE_CHANNELS, fine, 3, padding=1)
        self.fine_in = nn.Sequential(nn.SiLU(), Block(fine), Block(fine))
        self.half_in = nn.Sequential(nn.Conv2d(fine, half, 3, stride=2, padding=1), nn.SiLU(), Block(half))
        self.coarse_in = nn.Conv2d(half, coarse, 3, stride=2, padding=1)
        self.hint = Hint(coarse)
        self.deep = Block(coarse)
        self.to_half, self.half_out = nn.Conv2d(coarse, half, 1), Block(half)
        self.to_fine, self.fine_out = nn.Conv2d(half, fine, 1), Block(fine)
        self.draft = zero(nn.Conv2d(fine, LATENT_CHANNELS, 3, padding=1))
        self.skips = nn.ModuleList(zero(nn.Conv2d(WIDTHS[size], unet_widths[width], 1)) for size, width in SKIPS)
        self.middle = zero(nn.Conv2d(coarse, unet_widths[2], 1))

    def forward(self, control: Tensor, given: Tensor, pooled: Tensor, prompt: Tensor) -> Residuals:
        """What the edges ask for.

        Args:
            control: [B, 3, 8h, 8w] in [0, 1], white edges on black; its mean over the channels counts.
            given: [B, 8 + 18, h, w], the draft and the place map (denoiser.place_map).
            pooled: [B, 768], the caption, pooled and normalised (draft.pool).
            prompt: [B, 384], the mean token of the image prompt times the row's image scale.
        """
        edges = functional.pixel_unshuffle(control.mean(1, keepdim=True), 4)
        fine = self.fine_in(self.shrink(self.stem(edges)) + self.given(given))
        half = self.half_in(fine)
        coarse = self.deep(functional.silu(self.coarse_in(half) + self.hint(pooled, prompt)))
        half = self.half_out(half + double(self.to_half(coarse)))
        fine = self.fine_out(fine + double(self.to_fine(half)))
        sizes = (fine, half, coarse)
        skips = tuple(layer(sizes[size]) for layer, (size, _) in zip(self.skips, SKIPS, strict=True))
        return Residuals(self.draft(fine).float(), skips, self.middle(coarse))


def scaled(residual: Tensor, strength: Tensor) -> Tensor:
    """The residual times its row's strength [B, 1]."""
    return residual * strength[:, :, None, None].to(residual.dtype)


def scale_residuals(residuals: Residuals, scale: Tensor) -> Residuals:
    """All of them at their rows' scales [B, 1]: times the scale's square root.

    A quarter of a correction of the draft moves no edge that Canny sees; of equal steps of the strength most come too
    late. By its root the scale's steps are about equally seen, and 0 and 1 stay what they are.
    """
    strength = scale.sqrt()
    return Residuals(
        scaled(residuals.draft, strength),
        tuple(scaled(skip, strength) for skip in residuals.skips),
        scaled(residuals.middle, strength),
    )
