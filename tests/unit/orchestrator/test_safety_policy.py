"""What an account's policy makes of a request's safety filter."""

import pytest

from imagegen.v1 import generation_pb2 as pb
from orchestrator.accounts.account import Account, SafetyPolicy
from orchestrator.api.safety import apply_policy


def applied(policy: SafetyPolicy, safety: pb.Safety | None) -> pb.Safety | None:
    """The filter of a request of such an account."""
    request = pb.GenerateRequest(safety=safety)
    apply_policy(request, Account(id=1, name="alice", safety=policy))
    return request.safety if request.HasField("safety") else None


OFF, STRICT, LOOSE = pb.Safety(enabled=False), pb.Safety(threshold=0.3), pb.Safety(enabled=False, threshold=1.0)


@pytest.mark.parametrize("asked", [None, OFF, STRICT, LOOSE])
def test_as_asked_changes_nothing(asked: pb.Safety | None) -> None:
    assert applied(SafetyPolicy.AS_ASKED, asked) == asked


@pytest.mark.parametrize(("asked", "found"), [(None, pb.Safety(enabled=True)), (OFF, OFF), (STRICT, STRICT)])
def test_by_default_it_is_on_unless_a_request_says_otherwise(asked: pb.Safety | None, found: pb.Safety) -> None:
    assert applied(SafetyPolicy.DEFAULT, asked) == found


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (None, pb.Safety(enabled=True)),
        (OFF, pb.Safety(enabled=True)),
        (STRICT, pb.Safety(enabled=True, threshold=0.3)),
        (LOOSE, pb.Safety(enabled=True, threshold=0.8)),
    ],
)
def test_where_it_is_required_nobody_can_loosen_it(asked: pb.Safety | None, found: pb.Safety) -> None:
    assert applied(SafetyPolicy.REQUIRED, asked) == found
