"""Secrets that webhooks are signed with, as Standard Webhooks writes them."""

import base64


def encode(secret: bytes) -> str:
    """`whsec_` and base64."""
    return f"whsec_{base64.b64encode(secret).decode('ascii')}"
