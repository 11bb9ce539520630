"""What the safety filter does for an account, written into its requests before they are read, stored or compared."""

from imagegen.v1 import generation_pb2 as pb
from orchestrator.accounts.account import Account, SafetyPolicy
from orchestrator.params.safety import DEFAULT_THRESHOLD


def apply_policy(request: pb.GenerateRequest, account: Account) -> None:
    """Turn the filter on where the account has it on by default, or requires it: then nobody can loosen it."""
    if account.safety is SafetyPolicy.AS_ASKED:
        return
    if not request.HasField("safety") or account.safety is SafetyPolicy.REQUIRED:
        request.safety.enabled = True
    if account.safety is SafetyPolicy.REQUIRED and request.safety.threshold > DEFAULT_THRESHOLD:
        request.safety.threshold = DEFAULT_THRESHOLD
