"""Presets over REST: those that are shipped, and those of an account, which win."""

import json
from typing import Any

import pytest

from imagegen.v1 import generation_pb2 as pb
from orchestrator.errors import DatabaseUnavailableError
from tests.contract.rest_stack import NOW, Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

URL = "https://pictures.example/a.png"


async def asked(stack: Stack, **document: Any) -> pb.GenerateRequest:
    answer = await stack.client.post(NOW, json={"url": URL, **document})
    assert answer.status_code == 200, answer.text
    return stack.script.requests[-1]


async def test_a_preset_of_the_account(stack: Stack) -> None:
    stack.script.presets["house_style"] = json.dumps({"width": 800, "enhancements": ["light"], "output_format": "webp"})
    for name in ("house_style", " House Style "):
        found = await asked(stack, preset=name, output_format="png")
        assert (found.size.width, found.output.format) == (800, pb.IMAGE_FORMAT_PNG)
        assert [each.kind for each in found.enhancements] == [pb.ENHANCEMENT_KIND_LIGHT]


async def test_it_wins_over_another_of_its_name(stack: Stack) -> None:
    stack.script.presets["auto_enhance"] = json.dumps({"enhancements": ["clean"]})
    found = await asked(stack, preset="auto_enhance")
    assert [each.kind for each in found.enhancements] == [pb.ENHANCEMENT_KIND_CLEAN]


async def test_without_a_preset_nobody_is_asked(stack: Stack) -> None:
    await asked(stack, width=100)
    assert "GetPreset" not in stack.script.calls


async def test_a_preset_that_is_not_a_request_is_named(stack: Stack) -> None:
    stack.script.presets["broken"] = json.dumps({"width": "wide"})
    answer = await stack.client.post(NOW, json={"url": URL, "preset": "broken"})
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("preset broken of this account cannot be used: width must be")


async def test_an_orchestrator_that_is_unreachable(stack: Stack) -> None:
    stack.script.refusal = DatabaseUnavailableError("the database does not answer", retry_after=4)
    answer = await stack.client.post(NOW, json={"url": URL, "preset": "mine"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "4")
