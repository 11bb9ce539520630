"""`python -m model_tools add`: all or nothing, whatever goes wrong, and on from where it was killed.

Export itself is put aside (test_write.py and tests/checkpoints have it): a stand-in writes a file for each network.
"""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from model_tools.adding import add, staging
from model_tools.export import write
from model_tools.export.graphs import ExportError
from model_tools.export.parts import Part
from model_tools.export.verify import Check
from orchestrator.models.families import Families

Copy = Callable[[str], Path]
STAND_IN = Path(__file__).with_name("killed.py")
ROOT = Path(__file__).parents[4]
MODELS = {f"mine_{role}" for role in ("text_encoder", "unet", "vae_encoder", "vae_decoder")}
COMMENTED = """\
# A file of a user, with comments.

[networks.other]  # not ours
text_encoder = "a"
unet = "b"
vae_decoder = "c"
tokenizer = "t.json"
text_length = 77
pad_id = 0
scaling_factor = 0.2
buckets = [
  [128, 128],
  [192, 64]
]

[networks.other.schedule]
prediction_type = "epsilon"

# The default.
[families.other]
networks = "other"
license = "mit"
default_sampler = "ddim"
default_steps = 4
default_guidance_scale = 1.0
# The end.
"""

pytestmark = [pytest.mark.tools, pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")]


@pytest.fixture(autouse=True)
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Puts a stand-in in the place of export; gives the roles that it wrote."""
    roles: list[str] = []

    def write_part(part: Part, folder: Path, **_: object) -> write.Written:
        (folder / "1").mkdir(parents=True)
        (folder / "config.pbtxt").write_text(f'name: "{folder.name}"')
        roles.append(part.role)
        return write.Written("0" * 64, Check(1e-6, 0.0), 10)

    monkeypatch.setattr(write, "write_part", write_part)
    monkeypatch.setattr(write, "free_memory", lambda: None)  # takes a while, and networks are small here
    return roles


class Place:
    """Where a command works: repository and families.toml."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository, self.families = folder / "models", folder / "families" / "families.toml"

    def add(self, checkpoint: Path, *words: str) -> int:
        return add.main([*self.words(checkpoint), *words])

    def words(self, checkpoint: Path) -> list[str]:
        places = ("--repository", str(self.repository), "--families", str(self.families))
        return ["mine", "--checkpoint", str(checkpoint), *places, "--sizes", "64..192"]

    def snapshot(self) -> dict[str, bytes | None]:
        """Every file and folder, hidden ones too, but what the test was given."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes() if path.is_file() else None
            for path in sorted(self.folder.rglob("*"))
            if path.relative_to(self.folder).parts[0] != "given"
        }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_family_is_added_behind_those_that_there_are(
    place: Place, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.families.parent.mkdir()
    place.families.write_text(COMMENTED)
    assert place.add(made / "sd", "--prompt-template", "a {prompt}") == 0
    text = place.families.read_text()
    assert text.startswith(COMMENTED)
    assert [family.name for family in Families.load(place.families)] == ["other", "mine"]
    family = Families.load(place.families).get("mine")
    assert family.license == "cc0-1.0"
    assert family.commercial
    assert family.full_prompt("cat") == "a cat"
    assert (family.default_sampler, family.default_width) == ("dpmpp_2m", 128)
    assert family.networks.aspect_sizes[0] == (128, 128)
    assert set(family.networks.model_names) == MODELS == {path.name for path in place.repository.iterdir()}
    assert (place.families.parent / "mine" / "tokenizer.json").is_file()
    assert family.networks.preview is not None
    assert not list(place.folder.glob(".*"))
    said = capsys.readouterr().out
    assert "mine_unet: differs from torch by 1.0e-06 (bound 2e-04), 0.0 MB, sha256 000" in said
    assert "peak memory" in said


def test_sdxl_names_what_it_needs(place: Place, made: Path) -> None:
    assert place.add(made / "sdxl", "--inpaint", str(made / "sdxl_inpainting"), "--few-step", "lightning") == 0
    family = Families.load(place.families).get("mine")
    networks = family.networks
    assert (networks.text_encoder_2, networks.inpaint_unet) == ("mine_text_encoder_2", "mine_inpaint_unet")
    assert (networks.pad_id, networks.pad_id_2) == (561, 0)
    assert networks.zero_empty_negative
    assert networks.scaling_factor == 0.13025
    assert networks.schedule.timestep_spacing == "trailing"
    assert (family.default_sampler, family.default_steps, family.default_guidance_scale) == ("euler", 4, 1.0)


def test_adapters_and_kinds_are_named(place: Place, made: Path) -> None:
    controls = ("--controlnet", f"scribble={made}/sd_controlnet_scribble", "--controlnet", f"{made}/sd_controlnet")
    adapter = ("--ip-adapter", f"{made}/sd_ip_adapter/ip_adapter.safetensors")
    assert place.add(made / "sd", *controls, *adapter) == 0
    networks = Families.load(place.families).get("mine").networks
    assert networks.control_kinds == ("scribble", "canny")
    assert (networks.controlled_unet, networks.image_encoder) == ("mine_controlled_unet", "mine_image_encoder")


def test_a_checkpoint_that_inpaints_has_no_other_unet(place: Place, made: Path) -> None:
    assert place.add(made / "sd_inpainting") == 0
    networks = Families.load(place.families).get("mine").networks
    assert (networks.unet, networks.inpaint_unet) == (None, "mine_inpaint_unet")


def edit(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    state = load_file(path)
    change(state)
    save_file(state, path)


def set_config(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / UNET), folder / "unet/diffusion_pytorch_model.bin")
    (folder / UNET).unlink()


UNET = "unet/diffusion_pytorch_model.safetensors"
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "no index": (lambda f: (f / "model_index.json").unlink(), "model_index.json: no such file"),
    "no config": (lambda f: (f / "vae/config.json").unlink(), "vae/config.json: no such file"),
    "no weights": (lambda f: (f / UNET).unlink(), "unet/diffusion_pytorch_model.safetensors: no such file"),
    "no tokenizer": (lambda f: shutil.rmtree(f / "tokenizer"), "tokenizer: has neither tokenizer.json nor"),
    "no scheduler": (lambda f: shutil.rmtree(f / "scheduler"), "scheduler_config.json: no such file"),
    "shape": (
        lambda f: edit(f / UNET, lambda s: s.update({"conv_in.bias": torch.zeros(3)})),
        "conv_in.bias has the shape [3], expected is [16]",
    ),
    "nan": (
        lambda f: edit(f / UNET, lambda s: s["conv_in.bias"].fill_(float("nan"))),
        "conv_in.bias holds NaN weights",
    ),
    "nan in the vae": (
        lambda f: edit(
            f / "vae/diffusion_pytorch_model.safetensors", lambda s: s["quant_conv.bias"].fill_(float("nan"))
        ),
        "quant_conv.bias holds NaN weights",
    ),
    "pickle": (pickled, "diffusion_pytorch_model.bin is a pickle"),
    "stable diffusion 3": (
        lambda f: set_config(f / "model_index.json", _class_name="StableDiffusion3Pipeline"),
        "model_index.json names no text_encoder_2",
    ),
    "no licence": (lambda f: (f / "README.md").unlink(), "names no licence"),
    "non-commercial": (
        lambda f: (f / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n"),
        "does not allow commercial use",
    ),
    "schedule": (
        lambda f: set_config(f / "scheduler/scheduler_config.json", beta_schedule="linear"),
        "beta_schedule is 'linear'",
    ),
    "tokenizer of another model": (
        lambda f: set_config(f / "text_encoder/config.json", vocab_size=100),
        "token_embedding.weight has the shape",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_checkpoint_leaves_nothing(
    fault: str, place: Place, copy: Copy, written: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, message = BAD[fault]
    folder = copy("sd")
    spoil(folder)
    assert place.add(folder) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert message in said[-1]
    assert said[-1].startswith("add: ")
    assert place.snapshot() == {}
    assert written == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--precision", "fp8"), "fp8 is for --engine tensorrt alone"),
        (("--sizes", "65..66"), "no side from 65 to 66 is a multiple of 64"),
        (("--checkpoint", "nowhere"), "nowhere: no such file or folder"),
        (("--vae", "nowhere"), "nowhere: no such file or folder"),
        (("--lora", "nowhere.safetensors"), "nowhere.safetensors"),
    ],
)
def test_words_that_cannot_be_followed(
    words: tuple[str, ...], message: str, place: Place, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.add(made / "sd", *words) == 1
    assert message in capsys.readouterr().err
    assert place.snapshot() == {}


def test_a_latent_consistency_model_takes_the_guidance_scale(
    place: Place, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.add(made / "sd_lcm", "--few-step", "turbo") == 1
    assert "takes the guidance scale as an input, as --few-step lcm does, not turbo" in capsys.readouterr().err
    assert place.snapshot() == {}
    assert place.add(made / "sd_lcm") == 0
    family = Families.load(place.families).get("mine")
    assert (family.default_sampler, family.default_steps, family.default_guidance_scale) == ("lcm", 4, 8.0)
    assert family.networks.guidance == "embedding"


def test_a_tiny_vae_of_other_latents_leaves_one_line(
    place: Place, made: Path, written: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.add(made / "sd", "--tiny-vae", str(made / "tiny_vae_16")) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "takes latents of 16 channels" in line
    assert place.snapshot() == {}
    assert written == []
    assert place.add(made / "sd", "--tiny-vae", str(made / "sd_tiny_vae")) == 0
    assert "vae_decoder" in written


def test_weights_that_may_not_be_sold_are_marked(place: Place, copy: Copy) -> None:
    folder = copy("sd")
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    assert place.add(folder, "--allow-non-commercial") == 0
    family = Families.load(place.families).get("mine")
    assert (family.license, family.commercial) == ("cc-by-nc-4.0", False)


FAILURES: dict[str, Exception] = {
    "missed": ExportError("unet: the graph differs from torch by 1"),
    "full": OSError(errno.ENOSPC, "No space left on device"),
    "bug": ZeroDivisionError("a fault of ours"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_export_leaves_nothing(
    failure: str, place: Place, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place.families.parent.mkdir()
    place.families.write_text(COMMENTED)
    before, works = place.snapshot(), write.write_part

    def fail(part: Part, folder: Path, **rest: Any) -> write.Written:
        if part.role == "unet":
            raise FAILURES[failure]
        return works(part, folder, **rest)

    monkeypatch.setattr(write, "write_part", fail)
    if failure == "bug":
        with pytest.raises(ZeroDivisionError):
            place.add(made / "sd")
    else:
        assert place.add(made / "sd") == 1
        assert str(FAILURES[failure]) in capsys.readouterr().err
    assert place.snapshot() == before


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_disk_that_fills_up_amid_the_last_moves_changes_nothing(
    number: int, place: Place, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place.add(made / "sd") == 0
    before, moves, works = place.snapshot(), [], shutil.move

    def fail(source: Path, target: Path) -> None:
        moves.append(target)
        if len(moves) == number:
            raise OSError(errno.ENOSPC, "No space left on device")
        works(source, target)

    monkeypatch.setattr(shutil, "move", fail)
    assert place.add(made / "sdxl", "--replace") == 1
    assert place.snapshot() == before


def test_a_family_that_is_there_is_replaced_only_if_asked(
    place: Place, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.families.parent.mkdir()
    place.families.write_text(COMMENTED)
    controls = ("--controlnet", f"{made}/sd_controlnet")
    assert place.add(made / "sd", *controls) == 0
    place.families.write_text(place.families.read_text() + "\n# Of later.\n")
    before = place.snapshot()
    assert place.add(made / "sdxl") == 1
    assert "has a family mine already; --replace replaces it" in capsys.readouterr().err
    assert place.snapshot() == before
    assert place.add(made / "sdxl", "--replace") == 0
    assert {path.name for path in place.repository.iterdir()} == MODELS | {"mine_text_encoder_2"}
    text = place.families.read_text()
    assert text.startswith(COMMENTED.rstrip("\n"))
    assert "# Of later." in text
    assert text.count("# Added by") == text.count("[networks.mine]") == 1
    assert Families.load(place.families).get("mine").networks.controlled_unet is None


def test_a_families_file_that_cannot_be_read_stops_it_at_once(
    place: Place, made: Path, written: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    place.families.parent.mkdir()
    place.families.write_text("[networks.other\n")
    before = place.snapshot()
    assert place.add(made / "sd") == 1
    assert "families.toml: " in capsys.readouterr().err
    assert (place.snapshot(), written) == (before, [])


def killed(place: Place, checkpoint: Path, role: str, *words: str) -> None:
    """Run the command in a process of its own that is killed as it begins to write `role`."""
    arguments = [sys.executable, str(STAND_IN), role, *place.words(checkpoint), *words]
    ended = subprocess.run(arguments, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)  # noqa: S603
    assert ended.returncode == -signal.SIGKILL


def test_it_goes_on_from_where_it_was_killed(place: Place, made: Path, written: list[str]) -> None:
    killed(place, made / "sd", "vae_encoder")
    assert not place.repository.exists()
    assert not place.families.exists()
    assert (place.folder / ".mine.partial").is_dir()
    assert place.add(made / "sd") == 0
    assert written == ["vae_encoder", "vae_decoder"]
    assert {path.name for path in place.repository.iterdir()} == MODELS
    assert all((path / "config.pbtxt").is_file() for path in place.repository.iterdir())
    assert not (place.folder / ".mine.partial").exists()


@pytest.mark.parametrize("change", ["options", "weights"])
def test_what_was_built_from_something_else_is_built_again(
    change: str, place: Place, copy: Copy, written: list[str]
) -> None:
    folder = copy("sd")
    killed(place, folder, "vae_encoder")
    if change == "weights":
        edit(folder / UNET, lambda state: state["conv_in.bias"].add_(1))
    words = ("--precision", "fp32") if change == "options" else ()
    assert place.add(folder, *words) == 0
    assert written == ["text_encoder", "unet", "vae_encoder", "vae_decoder"]


def test_killed_amid_the_last_moves_it_loses_nothing(place: Place, made: Path, written: list[str]) -> None:
    assert place.add(made / "sd") == 0
    before = place.snapshot()
    written.clear()
    killed(place, made / "sdxl", "move", "--replace")
    assert place.snapshot() != before
    assert place.add(made / "sdxl", "--replace") == 0
    assert written == []  # all had been finished
    assert {path.name for path in place.repository.iterdir()} == MODELS | {"mine_text_encoder_2"}
    assert tomllib.loads(place.families.read_text())["networks"]["mine"]["text_encoder_2"] == "mine_text_encoder_2"
    assert not (place.folder / ".mine.partial").exists()


def test_stopped_by_hand_it_keeps_what_is_finished(
    place: Place, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    works = write.write_part

    def stop(part: Part, folder: Path, **rest: Any) -> write.Written:
        if part.role == "unet":
            raise KeyboardInterrupt
        return works(part, folder, **rest)

    monkeypatch.setattr(write, "write_part", stop)
    assert place.add(made / "sd") == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert (place.folder / ".mine.partial/models/mine_text_encoder").is_dir()
    assert not place.repository.exists()


def test_two_commands_do_not_make_one_family(place: Place, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = staging.Staging(place.repository, place.families, "mine", "key")
    assert place.add(made / "sd") == 1
    assert "is being added by another command" in capsys.readouterr().err
    first.remove()
    assert place.add(made / "sd") == 0
