"""Pictures to latents and back, in tiles where they are large."""

import asyncio
from fractions import Fraction

from orchestrator.arrays import Floats, Pixels
from orchestrator.diffusion import latents, tiles
from orchestrator.diffusion.contract_checks import expect
from orchestrator.diffusion.stages import Steps
from orchestrator.errors import EngineFaultError
from orchestrator.models.contracts import VaeDecoder, VaeEncoder
from orchestrator.models.tables import NetworkTable


class Vae:
    """A family's autoencoder, for one request.

    Memory in addition to what goes in and comes out: two rows of tiles, 2.7 times a strip of the picture as high as a
        tile.
    """

    def __init__(self, table: NetworkTable, max_rows: int) -> None:
        """`max_rows`: the most tiles of a network call."""
        self._table, self._max_rows = table, max_rows

    async def encode(self, network: VaeEncoder, image: Floats, steps: Steps) -> Floats:
        """Latents (1, C, h, w) of a picture (1, 3, H, W) in [-1, 1], as the UNet takes them: the mean, scaled.

        diffusers draws from the posterior; its mean is what it draws around, and gives the same request the same
        picture without a stream of noise.
        """
        table = self._table
        scale, name = Fraction(1, table.latent_factor), str(table.vae_encoder)
        mean = await self._run(network, image, steps, name=name, scale=scale, channels=table.latent_channels)
        return latents.rescale(mean, table.scaling_factor, table.shift_factor)

    async def decode(self, network: VaeDecoder, x: Floats, steps: Steps) -> Pixels:
        """The picture uint8 (H, W, 3) of latents (1, C, h, w).

        Raises:
            EngineFaultError: the picture is not finite.
        """
        table = self._table
        unscaled = latents.unscale(x, table.scaling_factor, table.shift_factor)
        scale = Fraction(table.latent_factor)
        image = await self._run(network, unscaled, steps, name=table.vae_decoder, scale=scale, channels=3)
        try:
            return await asyncio.to_thread(latents.to_pixels, image)
        except FloatingPointError as error:
            raise EngineFaultError(f"model {table.vae_decoder}: {error}") from error

    async def _run(
        self,
        network: tiles.Run,
        array: Floats,
        steps: Steps,
        *,
        name: str,
        scale: Fraction,
        channels: int,
    ) -> Floats:
        async def run(batch: Floats) -> Floats:
            await steps.call()
            answer = await network(batch)
            expect(name, answer, (len(batch), channels, *(int(side * scale) for side in batch.shape[2:])))
            return answer

        side = self._table.vae_tile_side
        tile = side // self._table.latent_factor if scale > 1 else side
        if max(array.shape[2:]) <= tile:
            return await run(array)
        return await tiles.in_tiles(array, run, tile=tile, scale=scale, channels=channels, max_rows=self._max_rows)
