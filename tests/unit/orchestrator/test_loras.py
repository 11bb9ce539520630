"""LoRAs that requests name: by the family's names, at most three, each row with its own scales."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gateway.openai.translate import split_model
from orchestrator.diffusion.pipeline import Pipeline
from orchestrator.errors import FamilyConfigError, InvalidRequestError
from orchestrator.models import networks
from orchestrator.models.families import Families
from orchestrator.models.specs import FAMILY_ROLES
from orchestrator.params import Limits, LoraParams, RequestParams, TextToImage
from orchestrator.tasks import plan
from tests.unit.orchestrator.triton_fake import Client, config, server_of
from tests.unit.orchestrator.world import FAMILIES, write_families

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.models.families import Family

LORAS = """pad_id = 0
loras = [{ name = "ink", license = "mit" }, { name = "oil", license = "mit", commercial = false, weight = 0.5 }]
"""


def family_of(folder: Path, lines: str = LORAS) -> Family:
    return Families.load(write_families(folder, FAMILIES.replace("pad_id = 0\n", lines))).get(None)


def asked(*loras: tuple[str, float | None]) -> RequestParams:
    named = tuple(LoraParams(name=name, weight=weight) for name, weight in loras)
    return RequestParams(task=TextToImage(), limits=Limits(), prompt="red", loras=named)


def planned(folder: Path, params: RequestParams, lines: str = LORAS) -> plan.Plan:
    family = family_of(folder, lines)
    return plan.plan(params, family, Pipeline(family, folder))


@pytest.mark.parametrize(
    ("loras", "scales"),
    [
        ((), ()),
        ((("ink", None),), (1.0, 0.0)),
        ((("oil", None),), (0.0, 0.5)),
        ((("oil", -2.0), ("ink", 0.25)), (0.25, -2.0)),
    ],
)
def test_scales_are_in_the_familys_order(loras: Any, scales: tuple[float, ...], tmp_path: Path) -> None:
    assert planned(tmp_path, asked(*loras)).loras == scales


def test_unknown_names_are_refused_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        planned(tmp_path, asked(("ink", 1.0), ("water", 1.0)))
    (violation,) = caught.value.violations
    assert violation.field == "loras[1].name"
    assert violation.description == "'water' is not a LoRA of family small: they are ink, oil"
    with pytest.raises(InvalidRequestError, match="is not a LoRA of family small: it has none"):
        planned(tmp_path, asked(("ink", 1.0)), "pad_id = 0\n")


@pytest.mark.parametrize(
    ("loras", "field", "said"),
    [
        ([("a", 1.0), ("b", 1.0), ("c", 1.0), ("d", 1.0)], "loras", "names 4; at most 3"),
        ([("a", 1.0), ("a", 0.5)], "loras[1].name", "names the same LoRA again"),
        ([("", 1.0)], "loras[0].name", "is empty"),
        ([("a", 1.0), ("b", 4.1)], "loras[1].weight", "must be from -4 to 4"),
        ([("a", float("nan"))], "loras[0].weight", "must be from -4 to 4"),
    ],
)
def test_what_is_out_of_range(loras: Any, field: str, said: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        asked(*loras)
    assert [each.field for each in caught.value.violations] == [field]
    assert said in caught.value.violations[0].description


def client(count: int) -> Client:
    """The small family, its UNet and text encoder with that many LoRAs."""
    configs = {f"small_{role}": config(FAMILY_ROLES[role]) for role in ("text_encoder", "unet", "vae_decoder")}
    for role in ("text_encoder", "unet"):
        configs[f"small_{role}"].input.add(name="lora_scale", data_type="TYPE_FP32", dims=[count])
    return Client(configs)


async def test_models_with_loras_are_sent_a_scale_for_each_row(tmp_path: Path) -> None:
    server, table = server_of(client(2)), family_of(tmp_path).networks
    family = await networks.connect(server, table)
    sent: list[dict[str, Any]] = []

    class Noting:
        async def infer(self, info: Any, inputs: Any, outputs: Any) -> Any:
            sent.append({"model": info.name, **inputs})
            return tuple(np.zeros((len(next(iter(inputs.values()))), 8, 6), np.float32) for _ in outputs)

    for scales, expected in (((0.5, -1.0), [[0.5, -1.0]] * 3), ((), [[0.0, 0.0]] * 3)):
        await family.networks(Noting(), scales).text_encoder(np.zeros((3, 8), np.int32))
        np.testing.assert_array_equal(sent.pop()["lora_scale"], expected)
    await family.networks(Noting(), (1.0, 1.0)).vae_decoder(np.zeros((1, 4, 8, 8), np.float32))
    assert "lora_scale" not in sent.pop()


async def test_models_and_table_name_as_many(tmp_path: Path) -> None:
    with pytest.raises(FamilyConfigError, match="has 3 LoRAs, the table names 2"):
        await networks.connect(server_of(client(3)), family_of(tmp_path).networks)
    with pytest.raises(FamilyConfigError, match="has 2 LoRAs, the table names 0"):
        await networks.connect(server_of(client(2)), family_of(tmp_path, "pad_id = 0\n").networks)


def test_a_model_of_the_openai_api_names_loras() -> None:
    assert split_model("realistic") == ("realistic", [])
    assert split_model("realistic+ink+oil:0.5") == (
        "realistic",
        [{"name": "ink"}, {"name": "oil", "weight": "0.5"}],
    )
