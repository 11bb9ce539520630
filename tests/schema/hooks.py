"""What schemathesis sends and checks in addition to its own."""

import base64
import json
import zlib
from typing import Any

import cv2
import numpy as np
import schemathesis

FLAT = {"message", "code", "status", "job"}
OPENAI = ("/v1/images", "/v1/models")
_, _FILE = cv2.imencode(".png", np.full((64, 96, 3), 128, np.uint8))
PICTURE = f"data:image/png;base64,{base64.b64encode(_FILE.tobytes()).decode()}"


@schemathesis.hook
def map_body(_ctx: Any, body: Any) -> Any:
    """Give most JSON requests a picture that can be read, or a prompt: else few get beyond their first check."""
    if not isinstance(body, dict) or body.keys() & {"image", "fileName", "parameters"}:
        return body
    drawn = zlib.crc32(json.dumps(body, sort_keys=True, default=str).encode()) % 4
    if drawn in {1, 2}:
        return {**body, "url": PICTURE, **({"background": None} if drawn == 2 else {})}
    if drawn == 3:
        return {**body, "url": None, "background": {"generate": {"description": "a fox"}}}
    return body


@schemathesis.check
def server_errors_are_failed_jobs(_ctx: Any, response: Any, _case: Any) -> None:
    """In place of not_a_server_error: the contract answers a job that failed with 500, and nothing else may."""
    if response.status_code < 500:
        return
    body = response.json()
    assert response.status_code == 500, f"{response.status_code}: {body}"
    assert body.get("status") == "failed", body
    assert body.get("job"), body


@schemathesis.check
def errors_have_one_shape(_ctx: Any, response: Any, case: Any) -> None:
    """Every error is one object with a message; no detail, nothing nested, no inner words. OpenAI's is in "error"."""
    if response.status_code < 400:
        return
    body = response.json()
    if case.path.startswith(OPENAI):
        assert body.keys() == {"error"}, body
        body = {name: value for name, value in body["error"].items() if value is not None}
        assert body.keys() <= {"message", "type", "param", "code"}, body
    else:
        assert body.keys() <= FLAT, body
    assert isinstance(body["message"], str), body
    assert body["message"], body
    assert all(isinstance(value, str) for value in body.values()), body
    for inner in ("Traceback", "pydantic", "grpc", "imagegen.v1", ".py"):
        assert inner not in body["message"], body
