"""Spellings of older pages and of callers, as the present ones."""

from typing import Any

import pytest

from gateway.contract import spellings
from tests.unit.gateway.asking import URL


@pytest.mark.parametrize(
    ("old", "present"),
    [
        (
            {"remove_background": {"type": "auto", "background": "transparent"}},
            {"remove": "auto", "color": "transparent"},
        ),
        ({"remove_background": {"type": "item", "background": "#FFFFFF"}}, {"remove": "item", "color": "#FFFFFF"}),
        ({"remove_background": {"type": "human", "background": URL}}, {"remove": "human", "replace": URL}),
        ({"remove_background": {"background": "base64,QUJD"}}, {"remove": "auto", "replace": "base64,QUJD"}),
        ({"remove_background": "item"}, {"remove": "item"}),
        ({"remove_background": True}, {"remove": "auto"}),
        ({"remove_background": "item", "background": {"remove": "human"}}, {"remove": "human"}),
        ({"background_url": URL}, {"replace": URL}),
        ({"background": {"background_url": URL, "color": "red"}}, {"replace": URL, "color": "red"}),
        ({"background": {"generate": {"background_url": URL, "item_area_percentage": 0.5}}}, {"replace": URL}),
        ({"background_url": URL, "background": {"replace": "https://b.example/"}}, {"replace": "https://b.example/"}),
    ],
)
def test_an_older_spelling(old: dict[str, Any], present: dict[str, Any]) -> None:
    assert spellings.present({"width": 10, **old})[0] == {"width": 10, "background": present}


@pytest.mark.parametrize(
    ("document", "names"),
    [
        (
            {"remove_background": {"type": "item", "background": "red"}},
            {"background.remove": "remove_background.type", "background.color": "remove_background.background"},
        ),
        ({"remove_background": "item"}, {"background.remove": "remove_background"}),
        ({"remove_background": "item", "background": {"remove": "human"}}, {}),
        ({"background_url": URL}, {"background.replace": "background_url"}),
        ({"background": {"background_url": URL}}, {"background.replace": "background.background_url"}),
        (
            {"background": {"generate": {"background_url": URL}}},
            {"background.replace": "background.generate.background_url"},
        ),
        ({"background_url": URL, "background": {"replace": URL}}, {}),
    ],
)
def test_a_field_that_moved_keeps_the_name_that_it_was_sent_by(document: dict[str, Any], names: dict[str, str]) -> None:
    assert spellings.present(document)[1] == names


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"remove_background": False},
        {"remove_background": None, "background_url": ""},
        {"background": {"generate": {"description": "a fox"}}},
        {"background": {"generate": {"description": "a fox", "background_url": ""}}},
    ],
)
def test_what_is_switched_off_changes_nothing(document: dict[str, Any]) -> None:
    found, _ = spellings.present(document)
    assert isinstance(found, dict)
    assert found.get("background") == document.get("background")


@pytest.mark.parametrize("document", [None, 5, "text", [1], {"background": "blue", "remove_background": True}])
def test_what_has_another_form_goes_on_as_it_is(document: object) -> None:
    found, _ = spellings.present(document)
    assert found == ({"background": "blue"} if isinstance(document, dict) else document)
