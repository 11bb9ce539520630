"""Signatures from a service that keeps the key, by the protocol of `signer.remote` in the C2PA SDKs.

What is to be signed is the body of a POST, and the body of the answer is its signature.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from orchestrator.web import services
from orchestrator.web.services import ServiceError

MAX_SIGNATURE = 4096
"""Bytes of an answer; a signature by RSA of 4096 bits has 512."""
_COORDINATES = {"es256": 32, "es384": 48, "es512": 66}
"""Bytes of each half of an ECDSA signature (RFC 9053, 2.1)."""


@dataclass(frozen=True, slots=True)
class RemoteKey:
    """A key that a service signs with.

    Attributes:
        url: that is asked; http only where its host's addresses are not public.
        algorithm: of the signature, as IMAGEGEN_C2PA_ALGORITHM has it.
        token: sent as Authorization: Bearer; "" for none.
        seconds: longest time for one signature.
    """

    url: str
    algorithm: str
    token: str = field(default="", repr=False)
    seconds: float = 10.0

    def sign(self, data: bytes) -> bytes:
        """The signature of some bytes. Waits for the service, which holds up the thread that calls it.

        Raises:
            ServiceError: there is none in time, or it is not a signature.
        """
        headers = {"Content-Type": "application/octet-stream"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        asking = services.post(self.url, headers, data, seconds=self.seconds, most=MAX_SIGNATURE)
        with ThreadPoolExecutor(1) as own:  # a thread may have one event loop, and that of the caller may have one
            return self._raw(own.submit(asyncio.run, asking).result())

    def _raw(self, signature: bytes) -> bytes:
        """As COSE has it: of ECDSA both halves in a row, where key services answer with the DER of them."""
        size = _COORDINATES.get(self.algorithm)
        if size is None or len(signature) == 2 * size:
            return signature
        try:
            halves = decode_dss_signature(signature)
            return b"".join(half.to_bytes(size, "big") for half in halves)
        except (ValueError, OverflowError) as error:
            raise ServiceError(f"what it answers is not a signature by {self.algorithm}") from error
