"""gRPC errors as REST answers: what a gRPC server sends that is not ours, or not whole."""

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from gateway.translate.names import Names
from gateway.translate.status import api_error, read_details
from imagegen.v1 import generation_pb2 as pb

OURS = error_details_pb2.ErrorInfo(domain="imagegen", reason="SOME_REASON")


def rpc_error(
    code: grpc.StatusCode, *details: Message, words: str = "words", raw: bytes | None = None
) -> grpc.aio.AioRpcError:
    """An error as grpc.aio raises it."""
    status = status_pb2.Status(code=code.value[0], message=words)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    trailing = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString() if raw is None else raw))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details=words)


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_code_has_an_answer(code: grpc.StatusCode) -> None:
    for details in ((), (OURS,)):
        found = api_error(rpc_error(code, *details), "the-id")
        assert 400 <= found.status < 600
        assert found.body["message"]
        assert set(found.body) <= {"message", "code"}
        assert ("Retry-After" in found.headers) == (found.status in {429, 503})


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_words_that_are_not_the_orchestrators_stay_inside(code: grpc.StatusCode) -> None:
    assert "secret" not in api_error(rpc_error(code, words="secret"), "the-id").body["message"]


def test_an_inner_error_names_the_request() -> None:
    assert "the-id" in api_error(rpc_error(grpc.StatusCode.INTERNAL, OURS), "the-id").body["message"]


def test_all_violations_are_named_as_the_client_wrote_them() -> None:
    bad = pb.ErrorViolations(
        violations=[
            pb.Violation(field="size.width", description="is too small"),
            pb.Violation(field="seed", description="is too large"),
        ]
    )
    for names in (None, Names()):
        found = api_error(rpc_error(grpc.StatusCode.INVALID_ARGUMENT, OURS, bad), "id", names)
        said = "width is too small; background.generate.sample_num is too large"
        assert found.body == {"message": said, "code": "BAD_REQUEST"}


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        (duration_pb2.Duration(nanos=1), 1),
        (duration_pb2.Duration(seconds=7, nanos=200_000_000), 8),
        (duration_pb2.Duration(), 2),
        (duration_pb2.Duration(seconds=-5), 2),
    ],
)
def test_retry_after_is_in_whole_seconds(delay: duration_pb2.Duration, seconds: int) -> None:
    retry = error_details_pb2.RetryInfo(retry_delay=delay)
    assert read_details(rpc_error(grpc.StatusCode.UNAVAILABLE, OURS, retry)).retry_after == seconds


@pytest.mark.parametrize("raw", [b"", b"\xff\xff\xff", b"not a status"])
def test_details_that_cannot_be_read_are_none(raw: bytes) -> None:
    found = read_details(rpc_error(grpc.StatusCode.UNAVAILABLE, raw=raw))
    assert (found.reason, found.violations, found.words) == (None, (), "")


def test_a_detail_that_cannot_be_read_is_none() -> None:
    broken = any_pb2.Any(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff\xff")
    status = status_pb2.Status(details=[broken])
    found = read_details(rpc_error(grpc.StatusCode.UNAVAILABLE, raw=status.SerializeToString()))
    assert found.reason is None
