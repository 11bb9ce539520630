"""What a client's picture says about its origin: XMP, C2PA and the invisible mark, read from one file."""

import asyncio
from dataclasses import dataclass, replace

from orchestrator.accounts.account import Account
from orchestrator.generation.runner import Runner
from orchestrator.params import ImageSource
from orchestrator.provenance import invisible, signing, xmp
from orchestrator.provenance.origin import Origin
from orchestrator.provenance.signing import Signed
from orchestrator.provenance.xmp import Statement

FIELD = "image"


@dataclass(frozen=True, slots=True)
class Marks:
    """What marks a picture carries.

    Attributes:
        statement: of its XMP.
        signed: its manifest; None if it has none.
        wrong_bits: of this service's invisible mark, 0 to 32; None if this service writes none.
    """

    statement: Statement
    signed: Signed | None
    wrong_bits: int | None

    @property
    def origin(self) -> Origin | None:
        """What the marks state together: a manifest that holds first, then XMP, then the invisible mark."""
        if self.signed is not None and self.signed.valid and self.signed.origin is not None:
            return self.signed.origin
        if self.statement.origin is not None:
            return self.statement.origin
        return Origin.GENERATED if self.has_invisible else None

    @property
    def has_invisible(self) -> bool:
        """Whether this service's invisible mark was found."""
        return self.wrong_bits is not None and self.wrong_bits <= invisible.MOST_WRONG


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """Reads marks.

    Attributes:
        runner: what pictures are fetched, decoded and generated with.
        trust_anchors: PEM certificates of CAs that the operator trusts; None for none.
    """

    runner: Runner
    trust_anchors: str | None

    async def verify(self, account: Account, image: ImageSource) -> Marks:
        """Read every mark of a picture.

        Raises:
            InvalidRequestError: it cannot be fetched or read.
            EngineUnavailableError: the network that reads the invisible mark is not ready.
        """
        runner = self.runner
        with runner.budgets.fetched.share() as fetched, runner.budgets.working.share() as working:
            data = image.data or b""
            if image.url is not None:
                await fetched.take(runner.max_input_bytes, f"{FIELD}.url")
                data = await runner.sources.fetch(account.id, image.url, f"{FIELD}.url")
                fetched.keep(len(data))
            measured = await runner.decoders.measure(data, runner.limits, FIELD)
            wrong = None
            if runner.marking.invisible is not None:
                await working.take(measured.memory, FIELD)
                limits = replace(runner.limits, max_pixels=min(runner.limits.max_pixels, measured.decoded))
                picture = await runner.decoders.decode(data, limits, FIELD, measured.memory)
                decoder = runner.source.tools().need("watermark_decoder")
                wrong = (await invisible.read(decoder, picture) ^ runner.marking.invisible).bit_count()
            signed = await asyncio.to_thread(signing.read, data, self.trust_anchors)
        return Marks(xmp.read(data), signed, wrong)
