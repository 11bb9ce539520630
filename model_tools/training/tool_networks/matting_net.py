"""The matting network: a small U-Net from a picture to the alpha of what stands out in it."""

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 256
# Channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the picture's side.
WIDTHS = (16, 40, 64, 112, 144)


class Conv(nn.Sequential):
    """Convolution 3 x 3, batch norm (folded into it at export), ReLU."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class Context(nn.Module):
    """Gives each place what the whole picture holds: the mean over all places, through one layer, added to each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Linear(width, width)
        self.near = Conv(width, width)
        self.far = Conv(width, width, dilation=2)

    def forward(self, features: Tensor) -> Tensor:
        whole = functional.relu(self.mix(features.mean((2, 3))))[..., None, None]
        features = features + self.near(features + whole)
        return features + self.far(features)


class MattingNet(nn.Module):
    """RGB [B, 3, 256, 256] in [-1, 1] to the logits of alpha [B, 1, 256, 256]."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        half, *deeper = widths
        self.stem = Conv(3, half, stride=2)
        self.down = nn.ModuleList()
        for above, width in zip(widths, deeper, strict=False):
            self.down.append(nn.Sequential(Conv(above, width, stride=2), Conv(width, width)))
        self.context = Context(widths[-1])
        self.up = nn.ModuleList(
            Conv(below + width, width) for below, width in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        # The last layer sees the picture itself at half size, its four pixels as channels, and gives four alphas.
        self.head = nn.Sequential(Conv(half + 12, 24), nn.Conv2d(24, 4, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        features = self.stem(image)
        skips = []
        for down in self.down:
            skips.append(features)
            features = down(features)
        features = self.context(features)
        for up, skip in zip(self.up, skips[::-1], strict=True):
            larger = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = up(torch.cat([larger, skip], 1))
        fine = torch.cat([features, functional.pixel_unshuffle(image, 2)], 1)
        return functional.pixel_shuffle(self.head(fine), 2)


class MattingContract(nn.Module):
    """The network as it is served: alpha in [0, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(self.network(image))
