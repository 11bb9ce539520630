"""What webhooks say: the body, the signature, when they are tried again, and which are refused."""

import base64
import json

import pytest

from orchestrator.config import ANY_PORT
from orchestrator.errors import InvalidRequestError
from orchestrator.webhooks.message import MAX_DATA, WAITS, check_webhook, make_body, next_wait, sign

RECEIVER = "https://receiver.example/hook"


def test_the_signature_is_the_standards() -> None:
    """The example of the Standard Webhooks libraries, of which every one has it among its tests."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = sign([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_while_a_secret_is_rotated_both_sign() -> None:
    new, old = (sign([secret], "id", 1, b"body")["webhook-signature"] for secret in (b"new", b"old"))
    assert sign([b"new", b"old"], "id", 1, b"body")["webhook-signature"] == f"{new} {old}"


@pytest.mark.promise(
    "false webhooks, and repeated ones",
    "a signature of id, time and body by the account's secret",
    "orchestrator/webhooks/message.py",
)
@pytest.mark.parametrize("part", ["id", "time", "body", "secret"])
def test_the_signature_is_of_all_that_is_sent(part: str) -> None:
    plain = sign([b"secret"], "id", 1, b"body")["webhook-signature"]
    changed = sign(
        [b"other" if part == "secret" else b"secret"],
        "other" if part == "id" else "id",
        2 if part == "time" else 1,
        b"other" if part == "body" else b"body",
    )
    assert changed["webhook-signature"] != plain


def test_the_body_is_the_documented_one() -> None:
    data = '{"url": "https://a.example/ü.png", "width": 1e2}'
    body = make_body("j1", data, "https://b.example/r.png", None)
    assert data.encode() in body  # as it was sent, to the letter
    assert json.loads(body) == {
        "job": "j1",
        "data": {"url": "https://a.example/ü.png", "width": 100},
        "result_url": "https://b.example/r.png",
        "results": None,
    }


def test_a_body_without_a_picture_says_why() -> None:
    reported = json.loads(make_body("j1", None, None, 'no "object" in it'))
    assert (reported["result_url"], reported["status"], reported["message"]) == (None, "failed", 'no "object" in it')
    assert reported["data"] is None


def test_tries_come_further_and_further_apart_and_end() -> None:
    for tries, seconds in enumerate(WAITS, 1):
        wait = next_wait(tries, None)
        assert wait is not None
        assert 0.9 * seconds <= wait <= 1.1 * seconds
    assert next_wait(len(WAITS) + 1, None) is None
    assert sum(WAITS) > 20 * 3600


def test_a_receiver_may_ask_for_time_but_not_for_more_than_an_hour() -> None:
    assert next_wait(1, 600) == 600
    assert next_wait(1, 1e9) == 3600
    later = next_wait(len(WAITS), 1)
    assert later is not None
    assert later > 30_000
    assert next_wait(len(WAITS) + 1, 60) is None


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("", "http or https"),
        ("ftp://receiver.example/", "http or https"),
        ("file:///etc/passwd", "http or https"),
        ("receiver.example", "http or https"),
        ("https://", "http or https"),
        ("https://user:word@receiver.example/", "user name"),
        ("https://receiver.example/" + "x" * 2048, "2048"),
        ("https://receiver.example:99999/", ""),
        ("https://receiver.example/\n", ""),
        ("http://127.0.0.1/", "not public"),
        ("http://[::1]:80/", "not public"),
        ("http://10.1.2.3/hook", "not public"),
        ("http://168.63.129.16/hook", "not public"),
        ("https://receiver.example:22/", "uses port 22; allowed ports are 80, 443, 8080, 8443"),
        ("http://169.254.169.254/latest", "not public"),
    ],
)
def test_urls_that_are_refused(url: str, fault: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"^webhook\.url: .*{fault}"):
        check_webhook(url, None, allow_private=False)


def test_urls_that_are_taken() -> None:
    for url in (RECEIVER, "http://receiver.example:8080/a?b=c", "https://192.0.9.9/", "https://bücher.example/"):
        check_webhook(url, None, allow_private=False)
    check_webhook("http://127.0.0.1:1/", None, allow_private=True, ports=ANY_PORT)


@pytest.mark.parametrize("data", ["", "{", "NaN", "[1e999", "{}x", "'a'", "[" * 100_000, '"\x00"'])
def test_data_that_is_not_json_is_refused(data: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"^webhook\.data: is not JSON"):
        check_webhook(RECEIVER, data, allow_private=False)


def test_data_that_is_too_long_is_refused() -> None:
    check_webhook(RECEIVER, '"' + "x" * (MAX_DATA - 2) + '"', allow_private=False)
    with pytest.raises(InvalidRequestError, match=r"^webhook\.data: has more than"):
        check_webhook(RECEIVER, '"' + "ü" * (MAX_DATA // 2) + '"', allow_private=False)
