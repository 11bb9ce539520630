"""The draft: a first guess of the whole picture from the caption alone.

A denoiser needs millions of pictures to learn which caption has which layout. The draft learns it in minutes, since it
takes the task apart: a perceptron reads off the pooled caption what is asked for (which thing, which style, colour and
scene, how many), tables recall the latents of the thing and of the scene, and small convolutions put them together.
The thing's and the scene's tables are weights that were learnt from pictures of the set: the draft recalls and
combines, and invents nothing. The denoiser starts from its guess and corrects it.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_tools.training.pictures import STYLES
from model_tools.training.starter.data.canvas import ASPECT_SIZES
from model_tools.training.starter.data.compose import ALONE, COLOURS, LAYOUTS
from model_tools.training.starter.data.scenes import SCENES
from model_tools.training.starter.networks.autoencoder import LATENT_CHANNELS, Block
from model_tools.training.starter.networks.text import WIDTH

SIDE = ASPECT_SIZES[0][0] // 8
HIDDEN = 768
RENDERER = 96
# An object's layer: its latents on white, and how much of each cell it covers.
LAYER = LATENT_CHANNELS + 1
OBJECTS = max(len(layout) for layout in LAYOUTS)
FAR = 9.0
# How much likelier (as a logit) one thing alone, and no scene, are taken to be than the reader says: training has more
# composed captions than people write, and descriptions read like them. Chosen by descriptions.json: the first helps
# there (85 to 95 % flat), the second costs scenes when it is larger; colours only lost by it.
ALONE_DOUBT, SCENE_DOUBT = 4.0, 2.0
# Above 1: of two things that a caption may mean the likelier one is shown, rather than both through each other.
SHARPNESS = 3.0


def pool(text: Tensor) -> Tensor:
    """Mean and maximum over a caption's tokens: [B, L, 384] to [B, 768]. Padding is all zeros and does not count."""
    used = (text.abs().sum(2, keepdim=True) > 0).to(text.dtype)
    mean = text.sum(1) / used.sum(1).clamp(min=1.0)
    return torch.cat([mean, text.amax(1)], 1)


class Reading(NamedTuple):
    """What a caption asks for, as shares: `rows` [B, R + 2] of the object table; `colour`, `layout`, `scene`.

    Colour and scene have a last entry for none. `scene` is of both styles: [B, 2 S + 1].
    """

    rows: Tensor
    colour: Tensor
    layout: Tensor
    scene: Tensor


class Placing(NamedTuple):
    """Where objects are: places in them [B, 2, h, w] and, at twice the resolution, `finer`; their `size` [B, 1, 1, 1].

    `composed` [B, 1, 1, 1] is 0 for one object on white, which is taken as it is, and 1 for all else.
    """

    places: Tensor
    finer: Tensor
    size: Tensor
    composed: Tensor


class Logits(NamedTuple):
    """Of `concept` [B, N + 2] (no object and anything last), `style` [B, 2], `colour`, `layout` and `scene`."""

    concept: Tensor
    style: Tensor
    colour: Tensor
    layout: Tensor
    scene: Tensor


class Reader(nn.Module):
    """A normalised pooled caption [B, 768] to logits."""

    def __init__(self, concepts: int) -> None:
        super().__init__()
        self.sizes = (concepts + 2, len(STYLES), len(COLOURS) + 1, len(LAYOUTS), len(SCENES) + 1)
        self.first = nn.Linear(2 * WIDTH, HIDDEN)
        self.second = nn.Linear(HIDDEN, HIDDEN)
        self.heads = nn.Linear(HIDDEN, sum(self.sizes))

    def forward(self, pooled: Tensor) -> Logits:
        hidden = functional.silu(self.first(pooled))
        hidden = hidden + functional.silu(self.second(hidden))
        return Logits(*self.heads(hidden).split(self.sizes, 1))


def places_of(coordinates: Tensor, layouts: Tensor) -> Tensor:
    """Where each position is in the object that covers it, [B, 2, h, w] in [-1, 1]; FAR away where none does.

    `coordinates` [B, 2, h, w] (down, across) in halves of the canvas's shorter side; `layouts` [B, O, 3]: across, down
    and size of each object, size 0 for one that is not there.
    """
    found = torch.full_like(coordinates, FAR)
    for slot in range(OBJECTS):
        across, down, size = (layouts[:, slot, part, None, None] for part in range(3))
        there = (size > 0).to(coordinates.dtype)
        scale = size + (1 - there)
        local = torch.stack([(coordinates[:, 0] - down) / scale, (coordinates[:, 1] - across) / scale], 1)
        inside = (local.abs().amax(1) < 1) & (size > 0)
        found = torch.where(inside[:, None], local, found)
    return found


def sample(maps: Tensor, places: Tensor, *, padding: str) -> Tensor:
    """`maps` [B, C, 16, 16] at `places` [B, 2, h, w] (down, across; [-1, 1] is the whole map)."""
    return functional.grid_sample(maps, places.flip(1).permute(0, 2, 3, 1), padding_mode=padding, align_corners=False)


class Renderer(nn.Module):
    """An object's layer and a scene, put together: latents on a canvas of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = nn.Linear(len(COLOURS), 4 * RENDERER, bias=False)
        self.tint_in = nn.Conv2d(LAYER, RENDERER, 3, padding=1)
        self.tint = nn.ModuleList([Block(RENDERER), Block(RENDERER)])
        self.tint_out = nn.Conv2d(RENDERER, LATENT_CHANNELS, 3, padding=1)
        self.blend_in = nn.Conv2d(4 * LAYER + LATENT_CHANNELS + 1, RENDERER, 3, padding=1)
        self.blend = nn.ModuleList([Block(RENDERER), Block(RENDERER), Block(RENDERER)])
        self.blend_out = nn.Conv2d(RENDERER, LATENT_CHANNELS, 3, padding=1)
        for layer in (self.tint_out, self.blend_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def coloured(self, layer: Tensor, colour: Tensor) -> Tensor:
        """The layer in its colour [B, K + 1]; as it is where the share of none is 1."""
        film = self.colours(colour[:, :-1])[:, :, None, None].chunk(4, 1)
        hidden = functional.silu(self.tint_in(layer))
        for block, scale, shift in zip(self.tint, film[:2], film[2:], strict=True):
            hidden = block(functional.silu(hidden * (1 + scale) + shift))
        changed = self.tint_out(hidden).float() * (1 - colour[:, -1:, None, None])
        return torch.cat([layer[:, :-1] + changed, layer[:, -1:]], 1)

    def forward(self, layer: Tensor, scene: Tensor, white: Tensor, given: Placing) -> Tensor:
        """Latents [B, 8, h, w].

        Args:
            layer: [B, 9, 16, 16], the object.
            scene: [B, 8, h, w] on its canvas.
            white: [8, 1, 1], the latents of nothing.
            given: where the objects are.
        """
        shifted = torch.cat([layer[:, :-1] - white, layer[:, -1:]], 1)
        fine = sample(shifted, given.finer, padding="zeros")
        mean = sample(shifted, given.places, padding="zeros")
        cover = mean[:, -1:].clamp(0, 1)
        plain = white + mean[:, :-1] + (1 - cover) * (scene - white)
        known = torch.cat([functional.pixel_unshuffle(fine, 2), scene, given.size.expand_as(cover)], 1)
        hidden = functional.silu(self.blend_in(known))
        for block in self.blend:
            hidden = block(hidden)
        return plain + self.blend_out(hidden).float() * given.composed


class Draft(nn.Module):
    """Caption embeddings [B, L, 384] to a guess of the scaled latents on a canvas.

    Args:
        concepts, rows: how many concepts and pictures there are; `rows` of both styles.
    """

    def __init__(self, concepts: int = 1623, rows: int = 3185) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(2 * WIDTH)
        self.reader = Reader(concepts)
        self.renderer = Renderer()
        # The last two rows: no object, and the mean of all pictures, for a caption that asks for nothing.
        self.objects = nn.Parameter(torch.zeros(rows + 2, LAYER * SIDE * SIDE))
        self.scenes = nn.Parameter(torch.zeros(2 * len(SCENES), LATENT_CHANNELS * SIDE * SIDE))
        self.white = nn.Parameter(torch.zeros(LATENT_CHANNELS, 1, 1))
        self.register_buffer("row_concepts", torch.zeros(rows + 2, dtype=torch.int64))
        self.register_buffer("row_styles", torch.zeros(rows + 2, len(STYLES)))
        table = torch.zeros(len(LAYOUTS), OBJECTS, 3)
        for place, layout in enumerate(LAYOUTS):
            table[place, : len(layout)] = torch.tensor(layout)
        self.register_buffer("layouts", table, persistent=False)

    def read(self, pooled: Tensor) -> Reading:
        """What the caption (pooled and normalised) asks for. Layout, colour and scene are decided; things may mix."""
        logits = Logits(*(part.float() for part in self.reader(pooled)))
        style = logits.style.softmax(1)
        rows = logits.concept[:, self.row_concepts] + (style @ self.row_styles.T).clamp(min=1e-6).log() * 4
        scene = decided(doubted(logits.scene, -1, SCENE_DOUBT))
        layout = decided(doubted(logits.layout, ALONE, ALONE_DOUBT))
        known = scene[:, :-1]
        styled = torch.cat([known * style[:, :1].round(), known * (1 - style[:, :1].round()), scene[:, -1:]], 1)
        return Reading((SHARPNESS * rows).softmax(1), decided(logits.colour), layout, styled)

    def render(self, reading: Reading, coordinates: Tensor, finer: Tensor) -> Tensor:
        """The picture asked for, [B, 8, h, w].

        `coordinates` [B, 2, h, w] and, at twice the resolution, `finer`: down and across from the middle, in halves of
        the canvas's shorter side.
        """
        layer = (reading.rows.to(self.objects.dtype) @ self.objects).unflatten(1, (LAYER, SIDE, SIDE)).float()
        layer = self.renderer.coloured(layer, reading.colour)
        none = reading.scene[:, -1:, None, None]
        known = (reading.scene[:, :-1] @ self.scenes).unflatten(1, (LATENT_CHANNELS, SIDE, SIDE)).float()
        scene = sample(known + none * self.white, coordinates, padding="reflection")
        layouts = (reading.layout @ self.layouts.flatten(1)).unflatten(1, (OBJECTS, 3))
        composed = 1 - none * reading.layout[:, ALONE, None, None, None]
        layer = self.cut_out(layer, coordinates, composed)
        size = layouts[:, 0, 2, None, None, None]
        placing = Placing(places_of(coordinates, layouts), places_of(finer, layouts), size, composed)
        return self.renderer(layer, scene, self.white, placing)

    def cut_out(self, layer: Tensor, coordinates: Tensor, composed: Tensor) -> Tensor:
        """The layer, and white where nothing of the object is near, if it is alone on a canvas beyond its square.

        The encoder sees the end of a picture and encodes it as such: in the middle of a wider canvas it shows as lines.
        So the outermost cells count only as far as the object covers them, the others where it is in the next cell too.
        """
        beyond = (coordinates.abs().amax((1, 2, 3)) > 1)[:, None, None, None].to(layer.dtype) * (1 - composed)
        cover = layer[:, -1:]
        within = functional.max_pool2d(cover, 3, stride=1, padding=1)[:, :, 1:-1, 1:-1]
        near = (4 * torch.maximum(cover, functional.pad(within, (1, 1, 1, 1)))).clamp(0, 1)
        shown = layer[:, :-1] - self.white
        return torch.cat([self.white + shown * (1 - beyond * (1 - near)), layer[:, -1:]], 1)

    def forward(self, text: Tensor, coordinates: Tensor, finer: Tensor) -> Tensor:
        return self.render(self.read(self.norm(pool(text))), coordinates, finer)


def doubted(logits: Tensor, place: int, doubt: float) -> Tensor:
    """The logits with the plain answer, at `place`, made likelier."""
    plain = torch.zeros_like(logits)
    plain[:, place] = doubt
    return logits + plain


def decided(logits: Tensor) -> Tensor:
    """1 for the largest, 0 for the others."""
    return functional.one_hot(logits.argmax(1), logits.shape[1]).to(logits.dtype)
