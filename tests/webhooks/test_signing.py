"""Signatures, held to the library that receivers use."""

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from molva.webhooks.signing import headers, parse_secret


def secret(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


KEYS = st.binary(min_size=24, max_size=64)


@given(KEYS, st.text())
def test_the_receivers_library_accepts_what_is_signed(key: bytes, text: str) -> None:
    body = text.encode(errors="replace")
    sent = headers("msg_1", int(time.time()), body, [parse_secret(secret(key))])
    Webhook(secret(key)).verify(body, sent, json_parse=False)


def test_while_a_secret_is_changed_receivers_may_know_either() -> None:
    old, new, other = b"o" * 32, b"n" * 32, b"x" * 32
    sent = headers("msg_1", int(time.time()), b"{}", [new, old])
    for key in (old, new):
        Webhook(secret(key)).verify(b"{}", sent)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret(other)).verify(b"{}", sent)


def test_the_id_and_the_time_are_signed_too() -> None:
    now = int(time.time())
    sent = headers("msg_1", now, b"{}", [b"k" * 32])
    for change in ({"webhook-id": "msg_2"}, {"webhook-timestamp": str(now - 9)}):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret(b"k" * 32)).verify(b"{}", sent | change)


def test_without_a_secret_there_are_the_id_and_the_time() -> None:
    assert headers("msg_1", 1234, b"{}", []) == {"webhook-id": "msg_1", "webhook-timestamp": "1234"}


@given(KEYS)
def test_a_secret_holds_its_key(key: bytes) -> None:
    assert parse_secret(secret(key)) == key


@pytest.mark.parametrize(
    "text",
    ["", "secret", "whsec_", "whsec_!!!", secret(b"k" * 23), secret(b"k" * 65), secret(b"k" * 32)[6:], "whsec_я"],
)
def test_what_is_no_secret_is_told_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="base64 of 24 to 64") as caught:
        parse_secret(text)
    assert len(text) < 7 or text not in str(caught.value)
