"""ProvenanceService: convert, call, convert."""

from typing import Any

import grpc

from imagegen.v1 import provenance_pb2 as pb
from imagegen.v1 import provenance_pb2_grpc
from orchestrator.api.auth import account
from orchestrator.api.converters.pictures import to_source
from orchestrator.generation.verification import Marks, Verifier
from orchestrator.params import Limits
from orchestrator.params.violations import Violations
from orchestrator.provenance.origin import Origin

Context = grpc.aio.ServicerContext[Any, Any]

_ORIGINS = {Origin.GENERATED: pb.ORIGIN_GENERATED, Origin.COMPOSITE: pb.ORIGIN_COMPOSITE}


class ProvenanceServicer(provenance_pb2_grpc.ProvenanceServiceServicer):
    """ProvenanceService over the marks of files."""

    def __init__(self, verifier: Verifier, limits: Limits) -> None:
        self._verifier, self._limits = verifier, limits

    async def Verify(self, request: pb.VerifyRequest, _context: Context) -> pb.VerifyResponse:
        """What marks a picture carries."""
        image = to_source(request.image)
        violations = Violations()
        image.validate("image", violations, self._limits.max_input_bytes)
        violations.raise_if_any()
        return _to_response(await self._verifier.verify(account.get(), image))


def _to_response(marks: Marks) -> pb.VerifyResponse:
    response = pb.VerifyResponse()
    if marks.origin is not None:
        response.origin = _ORIGINS[marks.origin]
    statement, signed = marks.statement, marks.signed
    if statement.digital_source_type is not None or statement.software is not None:
        response.xmp.CopyFrom(
            pb.XmpMark(digital_source_type=statement.digital_source_type, software=statement.software)
        )
    if signed is not None:
        manifest = pb.ManifestMark(
            valid=signed.valid,
            trusted=signed.trusted,
            issuer=signed.issuer,
            common_name=signed.common_name,
            software=signed.software,
            origin=None if signed.origin is None else _ORIGINS[signed.origin],
            problems=signed.problems,
        )
        response.manifest.CopyFrom(manifest)
    if marks.wrong_bits is not None:
        response.invisible.CopyFrom(pb.InvisibleMark(found=marks.has_invisible, wrong_bits=marks.wrong_bits))
    return response
