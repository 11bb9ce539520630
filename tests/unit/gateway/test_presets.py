"""Presets: files of parameters under a request's own."""

import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import SettingsError
from gateway.contract import request as contract
from gateway.errors import BadRequestError
from gateway.translate.presets import SHIPPED, Presets
from imagegen.v1 import generation_pb2 as pb
from tests.unit.gateway.asking import URL, proto, warnings

FOUR = ["ecommerce", "ecommerce_upscaled", "real_estate", "real_estate_upscaled"]
AUTO = ["auto_enhance", *(f"auto_enhance_{way}" for way in ("generative", "klein9b", "pro", "qwen"))]
PRODUCT = ["product_cutout", "product_photo", "product_photo_unification"]
DOCUMENTED = sorted([*FOUR, *AUTO, *PRODUCT, "digital_art", "print_photo"])


def written(folder: Path, **presets: object) -> Presets:
    for name, document in presets.items():
        (folder / f"{name}.json").write_text(json.dumps(document), "utf-8")
    return Presets.load(folder)


def test_the_documented_ones_are_there_and_every_field_of_theirs_is_used() -> None:
    presets = Presets.load(SHIPPED)
    assert sorted(presets) == DOCUMENTED
    for name in DOCUMENTED:
        assert warnings(presets.under({"preset": name, "url": URL})) == ()


@pytest.mark.parametrize("said", ["Print/Photo", " PRINT_PHOTO ", "print photo", "Print-Photo"])
def test_names_count_without_capitals_and_marks(said: str) -> None:
    presets = Presets.load(SHIPPED)
    assert proto(presets.under({"preset": said, "url": URL})) == proto(
        presets.under({"preset": "print_photo", "url": URL})
    )


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_preset_by_any_spelling_of_its_name(name: str) -> None:
    """The documentation calls them "E-commerce" and "Real-estate" in its headings."""
    presets = Presets.load(SHIPPED)
    spellings = [name.title(), name.replace("_", "-"), name.replace("_", " "), name.replace("_", "")]
    for said in [*spellings, name.replace("ecommerce", "E-commerce").replace("_", " ")]:
        assert presets.named(said) == name
        assert presets.under({"preset": said, "url": URL}).keys() > {"preset", "url"}  # type: ignore[attr-defined]


def test_what_presets_ask_for() -> None:
    presets = Presets.load(SHIPPED)
    asked = {name: proto(presets.under({"preset": name, "url": URL})) for name in DOCUMENTED}
    assert {name for name in DOCUMENTED if asked[name].WhichOneof("task") == "upscale"} == {
        *("auto_enhance_generative", "ecommerce_upscaled", "real_estate_upscaled")
    }
    for name in PRODUCT:
        assert asked[name].layout.gravity == pb.CROP_GRAVITY_ITEM
        assert asked[name].layout.padding_share > 0
        assert asked[name].background.remove == pb.REMOVAL_AUTO
    assert asked["digital_art"].edit.enlargement == pb.ENLARGEMENT_TEXT
    assert len({asked[name].SerializeToString(deterministic=True) for name in DOCUMENTED}) == len(DOCUMENTED)


def test_the_first_four_translate() -> None:
    presets = Presets.load(SHIPPED)
    for name in FOUR:
        made = proto(presets.under({"preset": name, "url": URL}))
        kinds = {pb.EnhancementKind.Name(each.kind) for each in made.enhancements}
        assert {"ENHANCEMENT_KIND_LIGHT", "ENHANCEMENT_KIND_COLOR", "ENHANCEMENT_KIND_DENOISE"} <= kinds
        upscaled = name.endswith("_upscaled")
        assert made.WhichOneof("task") == ("upscale" if upscaled else "edit")
        assert made.size.width_percent == (200 if upscaled else 0)
        assert made.background.HasField("remove") is name.startswith("ecommerce")


def test_a_request_without_one_is_as_it_was() -> None:
    presets = Presets.load(SHIPPED)
    documents: list[object] = [
        {"url": URL},
        {"url": URL, "preset": None},
        {"preset": "  "},
        [],
        "text",
        None,
        {"preset": 5},
    ]
    for document in documents:
        assert presets.under(document) is document
    with pytest.raises(BadRequestError, match=r"^preset must be text"):
        contract.parse({"preset": 5})


def test_an_unknown_one_is_refused_in_the_documented_words() -> None:
    with pytest.raises(BadRequestError) as caught:
        Presets.load(SHIPPED).under({"preset": "mine"})
    assert str(caught.value) == "Preset mine not found!"
    with pytest.raises(BadRequestError, match=r"^Preset x{64} not found!$"):
        Presets.load(SHIPPED).under({"preset": "x" * 1000})


@pytest.mark.parametrize(
    ("own", "merged"),
    [
        ({}, {}),
        ({"quality": 50}, {"quality": 50}),
        ({"light_parameters": {"level": 0.1}}, {"light_parameters": {"type": "contrast", "level": 0.1}}),
        ({"enhancements": ["clean"]}, {"enhancements": ["clean"]}),
        ({"enhancements": []}, {}),
        ({"background": None}, {}),
        ({"background": {"color": "red"}}, {"background": {"remove": "auto", "color": "red"}}),
        ({"width": 100}, {"width": 100, "height": None}),
        ({"height": 100}, {"height": 100, "width": None}),
        ({"print_size": "a6"}, {"print_size": "a6", "width": None, "height": None}),
        ({"width": None, "height": ""}, {}),
        ({"quality": 85, "dpi": 300, "print_reorientation": True}, {"dpi": 300, "print_reorientation": True}),
        ({"unheard_of": 1}, {"unheard_of": 1}),
    ],
)
def test_the_requests_own_parameters_win(tmp_path: Path, own: dict[str, Any], merged: dict[str, Any]) -> None:
    base: dict[str, Any] = {
        "width": "200%",
        "height": "200%",
        "quality": 60,
        "enhancements": ["light"],
        "light_parameters": {"type": "contrast", "level": 0.5},
        "background": {"remove": "auto"},
    }
    found = written(tmp_path, mine=base).under({"preset": " mine ", "url": URL, **own})
    assert isinstance(found, dict)
    expected = {"preset": " mine ", "url": URL, **base, **merged}
    assert {name: value for name, value in found.items() if value is not None} == {
        name: value for name, value in expected.items() if value is not None
    }


def test_an_operators_folder_adds_and_replaces(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text('{"quality": 7}', "utf-8")
    (tmp_path / "ecommerce.json").write_text('{"quality": 8}', "utf-8")
    presets = Presets.load(SHIPPED, tmp_path)
    assert sorted(presets) == sorted([*DOCUMENTED, "own"])
    assert presets.under({"preset": "ecommerce"}) == {"preset": "ecommerce", "quality": 8}


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("a.json", "{", "Expecting property name"),
        ("a.json", "[]", "it is not a JSON object"),
        ("a.json", '{"url": "https://a.example/"}', "it may not have url"),
        ("a.json", '{"webhooks": {}}', "it may not have webhooks"),
        ("a.json", '{"qualty": 1}', "it has qualty, which is not a parameter"),
        ("a.json", '{"quality": "high"}', "quality must be a whole number"),
        ("a b.json", "{}", "its name may have"),
        ("a.json", "\udcff", "'utf-8' codec can't decode"),
    ],
)
def test_a_wrong_file_is_named_at_the_start(tmp_path: Path, name: str, text: str, fault: str) -> None:
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingsError) as caught:
        Presets.load(tmp_path)
    assert str(caught.value).startswith(f"preset {tmp_path / name}: {fault}")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no_such is not a folder$"):
        Presets.load(tmp_path / "no_such")
