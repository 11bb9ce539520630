"""The account of a key as GET /rest_api/me answers it."""

from pydantic import BaseModel

from gateway.contract.answers import MarksAnswer
from imagegen.v1 import accounts_pb2


class AccountAnswer(BaseModel):
    """An account. The documented fields, and what this service counts in addition.

    Attributes:
        username: the account's name.
        email: its address; may be empty.
        credits: the balance; null where this account's credits are not counted.
        api_key: the first characters of the key that was sent, and "…".
        language: of messages: en.
        webhooks: the URLs of jobs whose request names none: {"complete": URL}; null where the account has none.
        billing_address: null: this service sends no bills.
        webhook_secret: what webhooks are signed with (docs/webhooks.md says how); null unless it is asked for.
        active_jobs: jobs that wait or run.
        max_active_jobs: that it may have at a time; null for as many as it likes.
        requests_per_minute: that it may send; null for as many as it likes.
        presets: names of its own presets.
        marks: how the service marks pictures as generated.
    """

    username: str
    email: str
    credits: float | None
    api_key: str
    language: str
    webhooks: dict[str, str] | None
    billing_address: None
    webhook_secret: str | None
    active_jobs: int
    max_active_jobs: int | None
    requests_per_minute: int | None
    presets: list[str]
    marks: MarksAnswer


def answer(account: accounts_pb2.Account, *, with_secret: bool) -> AccountAnswer:
    """Turn an account into JSON.

    Args:
        account: it.
        with_secret: whether the webhook secret is asked for. Answers of this path are logged and cached by clients.
    """
    return AccountAnswer(
        username=account.name,
        email=account.email,
        credits=account.credits if account.HasField("credits") else None,
        api_key=f"{account.key_prefix}…" if account.key_prefix else "",
        language="en",
        webhooks={"complete": account.webhook_url} if account.HasField("webhook_url") else None,
        billing_address=None,
        webhook_secret=account.webhook_secret if with_secret else None,
        active_jobs=account.active_jobs,
        max_active_jobs=account.max_active_jobs if account.HasField("max_active_jobs") else None,
        requests_per_minute=account.requests_per_minute if account.HasField("requests_per_minute") else None,
        presets=list(account.presets),
        marks=MarksAnswer.of(account.marks),
    )
