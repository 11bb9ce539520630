"""Captions: the templates are the families', and only what stays true when mirrored is mirrored."""

import tomllib
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the tools' environment: make test-tools")

from model_tools.starter.captions import TEMPLATES, article, captions_of, plain_forms
from model_tools.starter.pictures import Concept

pytestmark = pytest.mark.tools
FAMILIES = Path(__file__).parents[3] / "families" / "families.toml"


@pytest.mark.parametrize(("style", "family"), [("3d", "realistic"), ("flat", "fantasy")])
def test_templates_are_the_families(style: str, family: str) -> None:
    assert TEMPLATES[style] in FAMILIES.read_text("utf-8")
    assert family in str(tomllib.loads(FAMILIES.read_text("utf-8")))


def test_forms_say_the_label_or_its_tags(concept: Concept) -> None:
    forms = plain_forms(concept)
    assert forms[0] == "red apple"
    assert forms[1] == "a red apple"
    assert set(forms[4].split(", ")) == {"fruit", "health", "tasty"}
    assert plain_forms(concept) == forms


def test_bare_captions_still_name_the_flat_style(concept: Concept) -> None:
    assert captions_of(concept, "flat").bare[0] == "fantasy illustration, red apple"
    assert captions_of(concept, "3d").bare[0] == "red apple"
    assert captions_of(concept, "3d").wrapped[0] == "red apple, high quality, highly detailed, 8K"


def test_article() -> None:
    assert article("apple") == "an apple"
    assert article("dog") == "a dog"
