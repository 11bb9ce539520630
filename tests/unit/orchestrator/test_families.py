"""families.toml: what is in the repository loads, and each kind of mistake is named by file, table and field."""

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.diffusion.pipeline import Pipeline
from orchestrator.errors import FamilyConfigError, InvalidRequestError
from orchestrator.models.families import Families
from orchestrator.models.tables import ScheduleTable
from orchestrator.params import SamplerName
from tests.unit.orchestrator.world import FAMILIES, build, write_families

ROOT = Path(__file__).parents[3]
FILES = sorted({ROOT / "families/families.toml", *(ROOT / "tests").rglob("families.toml")})
SHIPPED = Families.load(ROOT / "families/families.toml")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_of_the_repository_load(path: Path) -> None:
    families = Families.load(path)
    assert [family.name for family in families] == list(tomllib.loads(path.read_text())["families"])


def test_shipped_families_keep_the_promises_of_the_contract() -> None:
    """Realistic is the default, both add the documented words, and their tokenizer is there."""
    assert SHIPPED.get(None).name == "realistic"
    for name in ("realistic", "fantasy"):
        assert SHIPPED.get(name).full_prompt("a fox").endswith("a fox, high quality, highly detailed, 8K")
        Pipeline(SHIPPED.get(name), SHIPPED.folder)


def test_what_the_file_leaves_out_has_a_default(tmp_path: Path) -> None:
    family = build(tmp_path).family
    table = family.networks
    assert (table.latent_channels, table.latent_factor, table.shift_factor, table.fixed_batch) == (4, 8, 0.0, 0)
    schedule = table.schedule
    assert isinstance(schedule, ScheduleTable)
    assert (schedule.beta_start, schedule.beta_end, schedule.train_steps) == (0.00085, 0.012, 1000)
    assert (schedule.timestep_spacing, schedule.steps_offset, schedule.set_alpha_to_one) == ("trailing", 0, True)
    assert table.model_names == ("small_text_encoder", "small_unet", "small_vae_decoder")
    assert (table.latent_multiple, table.tile_size, table.vae_tile_side) == (1, (32, 32), 64)
    assert (family.default_sampler, family.tasks) == (SamplerName.DDIM, ("text_to_image", "edit"))


def changed(old: str, new: str) -> str:
    assert old in FAMILIES
    return FAMILIES.replace(old, new, 1)


MISTAKES = [
    (changed("[networks.small]", "[networks.small"), ""),
    ("", "has no [families.NAME] table"),
    ("families = 3", "families is not a table"),
    ("networks = 3\n", "networks is not a table"),
    ("[families]\nsmall = 3", "families.small is not a table"),
    ("[networks]\nsmall = []", "networks.small is not a table"),
    (changed("[families.small]", "[family.small]"), "[family] is not a table of this file"),
    (changed('networks = "small"', 'networks = "large"'), "[families.small] networks: 'large' is not one of ['small']"),
    (changed('networks = "small"', "networks = [1]"), "[families.small] networks: [1] is not"),
    (changed('networks = "small"', ""), "[families.small] networks: None is not"),
    (changed('unet = "small_unet"', ""), "[networks.small] Value error, needs unet or inpaint_unet"),
    (changed("text_length = 8", "text_length = 2"), "[networks.small] text_length: "),
    (changed("text_length = 8", "text_lenght = 8"), "[networks.small] text_length: Field required; text_lenght: Extra"),
    (changed("pad_id = 0", "pad_id = -1"), "[networks.small] pad_id: "),
    (changed("scaling_factor = 0.5", "scaling_factor = 0.0"), "[networks.small] scaling_factor: "),
    (changed("scaling_factor = 0.5", "scaling_factor = inf"), "[networks.small] scaling_factor: "),
    (changed("scaling_factor = 0.5", "scaling_factor = 1.0\nshift_factor = nan"), "[networks.small] shift_factor: "),
    (changed("[[32, 32], [64, 32]]", "[]"), "[networks.small] buckets: "),
    (changed("[64, 32]", "[60, 32]"), "[networks.small] Value error, buckets: 60 x 32 is not a multiple"),
    (changed("[64, 32]", "[64]"), "[networks.small] buckets.1"),
    (
        changed("[[32, 32], [64, 32]]", "[[32, 32], [40, 32]]\nlatent_multiple = 2"),
        "[networks.small] Value error, buckets: 40 x 32 is not a multiple of latent_factor * latent_multiple = 16",
    ),
    (changed("pad_id = 0", "pad_id = 0\ntile = [32, 36]"), "[networks.small] Value error, tile 32 x 36 is not"),
    (changed("pad_id = 0", "pad_id = 0\nvae_tile = 48"), "[networks.small] Value error, vae_tile 48 is not"),
    (changed("pad_id = 0", "pad_id = 0\nvae_encoder = 3"), "[networks.small] vae_encoder: "),
    (
        changed("pad_id = 0", "pad_id = 0\npad_id_2 = 0"),
        "[networks.small] Value error, tokenizer_2 and pad_id_2 have no",
    ),
    (changed("pad_id = 0", 'pad_id = 0\ntokenizer_2 = "t"'), "[networks.small] Value error, tokenizer_2 and pad_id_2"),
    (changed("pad_id = 0", 'pad_id = 0\ncontrol_kinds = ["Canny"]'), "[networks.small] control_kinds.0: "),
    (
        changed("pad_id = 0", 'pad_id = 0\ncontrol_kinds = ["a", "a"]'),
        "[networks.small] Value error, control_kinds names",
    ),
    (
        changed("pad_id = 0", 'pad_id = 0\ncontrolled_unet = "c"\ncontrol_kinds = []'),
        "[networks.small] Value error, controlled_unet has no meaning with neither control_kinds nor image_encoder",
    ),
    (changed('license = "MIT"', 'license = "MIT"\ncommercial = "maybe"'), "[families.small] commercial: "),
    ("tools = 3\n" + FAMILIES, "tools is not a table"),
    (FAMILIES + "[tools]\nmating = 'x'", "[tools] mating: Extra"),
    (FAMILIES + "[families.small.tools]\nmatting = 'x'", "[families.small] tools: is a table of its own"),
    (changed('"v_prediction"', '"x0"'), "[networks.small] schedule: Input tag 'x0' found using 'prediction_type'"),
    (changed('"v_prediction"', '"epsilon"\nbeta_start = 0.1'), "[networks.small] schedule: Value error, beta_start"),
    (changed('"v_prediction"', '"epsilon"\ntrain_steps = 10'), "[networks.small] schedule.train_steps: "),
    (changed(", [0.0, 0.0, 0.0]]", "]"), "[networks.small] Value error, preview.factors needs one row"),
    (changed("bias = [0.0, 0.0, 0.0]", "bias = [0.0, 0.0]"), "[networks.small] preview.bias"),
    (changed("[families.small]", "[families.Small]"), "[families.Small] name: "),
    (changed("[families.small]", '[families.small]\nname = "x"'), "[families.small] name: the table's own name"),
    (changed('license = "MIT"', 'license = ""'), "[families.small] license: "),
    (changed("{prompt} good", "good"), '[families.small] prompt_template: Value error, needs "{prompt}" exactly once'),
    (changed("{prompt} good", "{prompt} {prompt}"), "[families.small] prompt_template: "),
    (changed("default_width = 64", "default_width = 63"), "[families.small] default_width: "),
    (changed("default_height = 96", "default_height = 4097"), "[families.small] default_height: "),
    (changed('"ddim"', '"plms"'), "[families.small] default_sampler: "),
    (changed("default_steps = 4", "default_steps = 151"), "[families.small] default_steps: "),
    (changed("guidance_scale = 2.0", "guidance_scale = nan"), "[families.small] default_guidance_scale: "),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_a_mistake_is_named_by_file_table_and_field(text: str, message: str, tmp_path: Path) -> None:
    path = write_families(tmp_path, text)
    with pytest.raises(FamilyConfigError, match=f"^{re.escape(f'{path}: {message}')}"):
        Families.load(path)


VAE = 'vae_encoder = "small_vae_encoder"'
CONTROL = 'controlled_unet = "small_unet"\nimage_encoder = "small_image_encoder"'
FACES = 'face_detector = "d"\nface_landmarks = "l"'
FROM_PICTURE = {"image_to_image", "inpaint", "outpaint", "upscale"}


@pytest.mark.parametrize(
    ("networks", "tools", "tasks"),
    [
        (VAE, "", FROM_PICTURE),
        (VAE, 'matting = "m"', FROM_PICTURE | {"generate_background"}),
        (f'{VAE}\ninpaint_unet = "i"', "", FROM_PICTURE),
        (f"{VAE}\n{CONTROL}", "", FROM_PICTURE | {"control"}),
        (f"{VAE}\n{CONTROL}\ncontrol_kinds = []", FACES, FROM_PICTURE | {"face", "face_swap"}),
        (f"{VAE}\n{CONTROL}\ncontrol_kinds = ['depth']", FACES, FROM_PICTURE | {"control", "face", "face_swap"}),
        (f"{VAE}\ncontrolled_unet = 'c'", FACES, FROM_PICTURE | {"control"}),
        (f"{VAE}\ncontrol_kinds = ['depth']", "", FROM_PICTURE),
        (CONTROL, FACES, {"face"}),
        (CONTROL, 'face_detector = "d"', set()),
        ("", 'upscaler = "u"\nmatting = "m"', set()),
    ],
)
def test_tasks_are_those_that_have_their_networks(networks: str, tools: str, tasks: set[str], tmp_path: Path) -> None:
    text = f"{changed('pad_id = 0', 'pad_id = 0' + chr(10) + networks)}\n[tools]\n{tools}"
    family = Families.load(write_families(tmp_path, text)).get(None)
    assert set(family.tasks) == tasks | {"text_to_image", "edit"}


def test_an_inpainting_unet_alone_serves_the_tasks_that_mask(tmp_path: Path) -> None:
    text = changed('unet = "small_unet"', f'inpaint_unet = "small_inpaint_unet"\n{VAE}') + '[tools]\nmatting = "m"'
    family = Families.load(write_families(tmp_path, text)).get(None)
    assert family.tasks == ("inpaint", "outpaint", "generate_background", "edit")
    assert "small_unet" not in family.networks.model_names


@pytest.mark.parametrize(
    ("kinds", "edge_kind"),
    [("", 0), ("control_kinds = ['depth', 'scribble', 'canny']", 2), ("control_kinds = ['depth', 'scribble']", 1)],
)
def test_edges_are_given_to_the_kind_that_takes_them(kinds: str, edge_kind: int, tmp_path: Path) -> None:
    text = changed("pad_id = 0", f"pad_id = 0\n{CONTROL}\n{kinds}")
    table = Families.load(write_families(tmp_path, text)).get(None).networks
    assert table.edge_kind == edge_kind
    assert "edges" in table.abilities


@pytest.mark.parametrize("kinds", ["[]", "['depth']"])
def test_no_kind_may_take_edges(kinds: str, tmp_path: Path) -> None:
    text = changed("pad_id = 0", f"pad_id = 0\n{CONTROL}\ncontrol_kinds = {kinds}")
    table = Families.load(write_families(tmp_path, text)).get(None).networks
    assert table.edge_kind is None
    assert "edges" not in table.abilities


def test_a_model_of_two_roles_is_waited_for_once(tmp_path: Path) -> None:
    text = changed("pad_id = 0", f"pad_id = 0\n{VAE}\n{CONTROL}")
    table = Families.load(write_families(tmp_path, text)).get(None).networks
    assert (table.roles["unet"], table.roles["controlled_unet"]) == ("small_unet", "small_unet")
    names = ("small_text_encoder", "small_unet", "small_vae_decoder", "small_vae_encoder", "small_image_encoder")
    assert table.model_names == names


def test_all_mistakes_of_a_table_are_said_at_once(tmp_path: Path) -> None:
    text = changed("pad_id = 0", "pad_id = -1").replace('unet = "small_unet"', "unet = 3")
    with pytest.raises(FamilyConfigError, match=r"\[networks\.small\] unet: .*; pad_id: "):
        Families.load(write_families(tmp_path, text))


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(FamilyConfigError, match=f"^{re.escape(str(path))}: "):
            Families.load(path)
    path = tmp_path / "latin1.toml"
    path.write_bytes(b'x = "\xe4"')
    with pytest.raises(FamilyConfigError, match=f"^{re.escape(str(path))}: "):
        Families.load(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FAMILIES.replace("tokenizer.json", "none.json"), "tokenizer: .*none.json"),
        (changed('"ddim"', '"lcm"').replace("default_steps = 4", "default_steps = 51"), "default_steps: .*at most 50"),
    ],
)
def test_what_only_the_pipeline_can_see(text: str, message: str, tmp_path: Path) -> None:
    families = Families.load(write_families(tmp_path, text))
    with pytest.raises(FamilyConfigError, match=rf"small\] {message}"):
        Pipeline(families.get("small"), families.folder)


def test_a_too_long_name_is_not_echoed_from_the_file(tmp_path: Path) -> None:
    text = changed('networks = "small"', f'networks = "{"x" * 100_000}"')
    with pytest.raises(FamilyConfigError) as caught:
        Families.load(write_families(tmp_path, text))
    assert len(str(caught.value)) < 500


@given(st.text())
def test_a_prompt_is_only_text(prompt: str) -> None:
    """Braces, even "{prompt}", stay as they are."""
    for text in (prompt, "{prompt}", "{0} {} {{x}}", "%s \\1"):
        assert SHIPPED.get("realistic").full_prompt(text) == text + ", high quality, highly detailed, 8K"


def test_no_name_means_the_first_family(tmp_path: Path) -> None:
    second = FAMILIES[FAMILIES.index("[families.small]") :].replace("families.small", "families.a-second_1")
    families = Families.load(write_families(tmp_path, FAMILIES + second))
    assert [family.name for family in families] == ["small", "a-second_1"]
    assert families.get(None).name == "small"
    assert families.get("a-second_1").networks is families.get("small").networks


@pytest.mark.parametrize("name", ["", "Small", "small ", "x" * 1_000_000, "\ud800"])
def test_an_unknown_family_lists_those_that_there_are(name: str, tmp_path: Path) -> None:
    families = Families.load(write_families(tmp_path))
    with pytest.raises(InvalidRequestError, match=r"is not a family of this server \(small\)") as caught:
        families.get(name)
    assert [violation.field for violation in caught.value.violations] == ["family"]
    assert len(str(caught.value)) < 200
