"""Signatures by the Standard Webhooks scheme: HMAC-SHA256 of the message's id, the time and the body. Pure."""

import base64
import binascii
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"
KEY_BYTES = range(24, 65)


def parse_secret(secret: str) -> bytes:
    """The key that a secret `whsec_<base64>` holds. Raises ValueError, whose text repeats nothing of the secret."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or len(key) not in KEY_BYTES:
        raise ValueError(
            f"a secret of webhooks is {PREFIX} and the base64 of {KEY_BYTES[0]} to {KEY_BYTES[-1]} random bytes; "
            f"`echo {PREFIX}$(openssl rand -base64 32)` makes one"
        )
    return key


def headers(message_id: str, timestamp: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """What a receiver knows a message and its sender by. `timestamp`: Unix seconds of this attempt.

    One signature for each key: while a secret is being changed, receivers may know the old one or the new one.
    Without a key there is none.
    """
    named = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    if keys:
        signed = f"{message_id}.{timestamp}.".encode() + body
        digests = [hmac.digest(key, signed, "sha256") for key in keys]
        named["webhook-signature"] = " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
    return named
