"""What goes along with a webhook."""

import json
from typing import Any

from gateway.contract import request as contract
from gateway.translate import webhooks

HOOK = {"webhooks": {"complete": " https://receiver.example/ "}}


def data(document: dict[str, Any]) -> str:
    webhook = webhooks.to_proto(contract.parse(document), document)
    assert webhook.url == "https://receiver.example/"
    return webhook.data


def test_the_same_request_is_the_same_however_it_is_written() -> None:
    assert data({**HOOK, "width": 5}) == data(json.loads(json.dumps({**HOOK, "width": 5}, indent=8)))


def test_small_pictures_stay() -> None:
    document = {**HOOK, "url": "base64," + "A" * 100_000}
    assert json.loads(data(document)) == document


def test_large_pictures_are_given_by_their_length() -> None:
    picture = "base64," + "A" * 2_000_000
    document = {**HOOK, "url": picture, "background": {"generate": {"context_images": [picture, "short"]}}}
    reported = json.loads(data(document))
    assert reported["url"] == f"{picture[:64]}… (2000007 characters)"
    assert reported["background"]["generate"]["context_images"] == [reported["url"], "short"]
    assert reported["webhooks"] == HOOK["webhooks"]
