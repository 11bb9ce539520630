"""Autoencoders whose latents the denoiser takes as the graph gives them: scaled, shifted or normalised inside it."""

from __future__ import annotations

from torch import Tensor, nn


class KLContract(nn.Module):
    """A diffusers AutoencoderKL with its scaling_factor and shift_factor."""

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.vae = vae
        self.scale = float(vae.config.scaling_factor)
        self.shift = float(vae.config.shift_factor or 0.0)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B, C, h, w] to a picture [B, 3, H, W] in [-1, 1]."""
        image: Tensor = self.vae.decode(latents / self.scale + self.shift, return_dict=False)[0]
        return image

    def encode(self, image: Tensor) -> Tensor:
        """The inverse: the mean of the posterior."""
        mean: Tensor = self.vae.encode(image, return_dict=False)[0].mode()
        return (mean - self.shift) * self.scale


class Decoder(nn.Module):
    """The decoding half of such a contract."""

    def __init__(self, contract: nn.Module) -> None:
        super().__init__()
        self.contract = contract

    def forward(self, latents: Tensor) -> Tensor:
        image: Tensor = self.contract.decode(latents)
        return image


class Encoder(nn.Module):
    """The encoding half."""

    def __init__(self, contract: nn.Module) -> None:
        super().__init__()
        self.contract = contract

    def forward(self, image: Tensor) -> Tensor:
        latents: Tensor = self.contract.encode(image)
        return latents
