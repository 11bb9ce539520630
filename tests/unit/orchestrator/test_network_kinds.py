"""What the networks of SDXL take, and controlled UNets with other adapters than one edge picture and a likeness."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from orchestrator.errors import FamilyConfigError
from orchestrator.models import networks
from orchestrator.models.contracts import AddedRows, ControlRows, ImageRows
from orchestrator.models.families import Families
from orchestrator.models.readiness import TritonNetworks
from orchestrator.models.specs import FAMILY_ROLES, spec_of
from tests.unit.orchestrator.triton_fake import Client, config, pool_of, server_of
from tests.unit.orchestrator.world import FAMILIES, write_families

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.models.contracts import Networks
    from orchestrator.models.tables import NetworkTable

SDXL = 'text_encoder_2 = "a_text_encoder_2"\ninpaint_unet = "an_inpaint_unet"\n'
CONTROLLED = 'controlled_unet = "a_controlled_unet"\n'
LIKENESS = 'image_encoder = "an_image_encoder"\n'


def table(folder: Path, lines: str) -> NetworkTable:
    """The small family's networks, and further lines of theirs."""
    return families(folder, lines).get(None).networks


def families(folder: Path, lines: str) -> Families:
    return Families.load(write_families(folder, FAMILIES.replace("pad_id = 0\n", f"pad_id = 0\n{lines}")))


def client(*, pooled: bool, control: bool = True, likeness: bool = True) -> Client:
    """All models that a family can name; the UNets are of the kinds that are given."""
    names = {role: f"{'an' if role[0] in 'aeiou' else 'a'}_{role}" for role in FAMILY_ROLES}
    names |= {role: f"small_{role}" for role in ("text_encoder", "unet", "vae_decoder")}
    specs = {role: spec_of(role, pooled=pooled, control=control, likeness=likeness) for role in FAMILY_ROLES}
    return Client({names[role]: config(spec, side=32) for role, spec in specs.items()})


async def connected(triton: Client, kinds: NetworkTable) -> Networks:
    """The networks of a family over a Triton."""
    server = server_of(triton)
    return (await networks.connect(server, kinds)).networks(server)


def rows(*shape: int) -> Any:
    return np.ones(shape, np.float32)


SAMPLE, TIME, HIDDEN, ADDED = rows(2, 4, 2, 3), rows(2, 1), rows(2, 8, 6), AddedRows(rows(2, 5), rows(2, 6))
DENOISED = {"sample": (2, 4, 2, 3), "timestep": (2, 1), "encoder_hidden_states": (2, 8, 6)}
CONDITIONS = {"text_embeds": (2, 5), "time_ids": (2, 6)}
CONTROL = {"control_image": (2, 3, 16, 24), "control_scale": (2, 1)}
LIKE = {"image_embeds": (2, 2, 6), "image_scale": (2, 1)}


async def test_a_second_text_encoder_answers_twice(tmp_path: Path) -> None:
    server = server_of(client(pooled=True))
    family = await networks.connect(server, table(tmp_path, SDXL))
    found = family.networks(server)
    assert found.text_encoder_2 is not None
    hidden, pooled = await found.text_encoder_2(np.zeros((2, 8), np.int32))
    assert (hidden.shape, pooled.shape) == ((2, 8, 6), (2, 5))
    assert family.digests["text_encoder_2"].model == "a_text_encoder_2"


async def test_every_unet_of_sdxl_is_given_the_text_and_the_size(tmp_path: Path) -> None:
    triton = client(pooled=True)
    found = await connected(triton, table(tmp_path, SDXL + CONTROLLED + LIKENESS))
    assert found.unet is not None
    assert found.inpaint_unet is not None
    assert found.controlled_unet is not None
    await found.unet(SAMPLE, TIME, HIDDEN, ADDED)
    await found.inpaint_unet(SAMPLE, TIME, HIDDEN, ADDED)
    await found.controlled_unet(SAMPLE, TIME, HIDDEN, None, None, ADDED)
    assert [shapes for _, shapes in triton.sent] == [
        DENOISED | CONDITIONS,
        DENOISED | CONDITIONS,
        DENOISED | CONDITIONS | CONTROL | LIKE,
    ]


async def test_a_fixed_batch_pads_what_is_added_too(tmp_path: Path) -> None:
    triton = client(pooled=True)
    found = await connected(triton, table(tmp_path, f"{SDXL}fixed_batch = 8\n"))
    assert found.unet is not None
    await found.unet(SAMPLE, TIME, HIDDEN, ADDED)
    assert {name: shape[0] for name, shape in triton.sent[0][1].items()} == dict.fromkeys(DENOISED | CONDITIONS, 8)


@pytest.mark.parametrize(
    ("lines", "pooled", "message"),
    [
        (SDXL, False, "model small_unet has no tensor 'text_embeds'"),
        ("", True, "model small_unet needs inputs that are not given: text_embeds, time_ids"),
        (CONTROLLED, True, "small_unet needs inputs that are not given"),
    ],
)
async def test_sdxl_is_asked_for_exactly_where_a_second_encoder_is_named(
    lines: str, pooled: bool, message: str, tmp_path: Path
) -> None:
    with pytest.raises(FamilyConfigError, match=message):
        await networks.connect(server_of(client(pooled=pooled)), table(tmp_path, lines))


@pytest.mark.parametrize(
    ("flows", "guidance", "given"),
    [(False, False, CONDITIONS.keys()), (True, False, {"text_embeds"}), (True, True, {"text_embeds", "guidance"})],
)
def test_what_a_network_gets_with_the_text_depends_on_the_family(flows: bool, guidance: bool, given: set[str]) -> None:
    spec = spec_of("unet", pooled=True, control=False, likeness=False, flows=flows, guidance=guidance)
    assert {tensor.name for tensor in spec.inputs} == DENOISED.keys() | given


async def test_the_guidance_scale_is_an_input_where_the_family_says_so(tmp_path: Path) -> None:
    triton = client(pooled=False)
    guided = spec_of("unet", pooled=False, control=False, likeness=False, guidance=True)
    triton.configs["small_unet"] = config(guided, side=32)
    found = await connected(triton, table(tmp_path, 'guidance = "embedding"\n'))
    assert found.unet is not None
    await found.unet(SAMPLE, TIME, HIDDEN, AddedRows(guidance=rows(2, 1)))
    assert triton.sent[0][1] == DENOISED | {"guidance": (2, 1)}
    with pytest.raises(FamilyConfigError, match="inputs that are not given: guidance"):
        await connected(triton, table(tmp_path, ""))


async def test_the_refiner_of_sdxl_is_refused(tmp_path: Path) -> None:
    triton = client(pooled=True)
    (ids,) = [tensor for tensor in triton.configs["an_inpaint_unet"].input if tensor.name == "time_ids"]
    ids.dims[0] = 5
    with pytest.raises(FamilyConfigError, match="model an_inpaint_unet takes 5 time_ids, not the 6"):
        await networks.connect(server_of(triton), table(tmp_path, SDXL))


async def test_a_family_waits_for_its_second_encoder(tmp_path: Path) -> None:
    triton = client(pooled=True)
    triton.down.add("a_text_encoder_2")
    source = TritonNetworks(pool_of(triton), families(tmp_path, SDXL))
    await source.refresh()
    assert not source.is_ready("small")
    triton.down.clear()
    await source.refresh()
    assert source.digests("small").keys() == {"text_encoder", "text_encoder_2", "unet", "inpaint_unet", "vae_decoder"}


@pytest.mark.parametrize(
    ("lines", "has", "sent"),
    [
        (CONTROLLED, {"likeness": False}, CONTROL),
        (f"{CONTROLLED}{LIKENESS}control_kinds = []\n", {"control": False}, LIKE),
        (CONTROLLED, {}, CONTROL | LIKE),  # what it takes and the table does not use is zeros
        (f"{CONTROLLED}{LIKENESS}control_kinds = []\n", {}, CONTROL | LIKE),
    ],
    ids=["control alone", "likeness alone", "likeness to spare", "control to spare"],
)
async def test_a_controlled_unet_may_lack_what_the_family_does_not_use(
    lines: str, has: dict[str, bool], sent: dict[str, Any], tmp_path: Path
) -> None:
    triton = client(pooled=False, **has)
    found = await connected(triton, table(tmp_path, lines))
    assert found.controlled_unet is not None
    control = ControlRows(rows(2, 3, 16, 24), rows(2, 1)) if sent.keys() == CONTROL.keys() else None
    image = ImageRows(rows(2, 2, 6), rows(2, 1)) if sent.keys() == LIKE.keys() else None
    await found.controlled_unet(SAMPLE, TIME, HIDDEN, control, image)
    assert triton.sent[0][1] == DENOISED | sent


@pytest.mark.parametrize(
    ("lines", "has", "missing"),
    [
        (CONTROLLED, {"control": False}, "control_image"),
        (CONTROLLED + LIKENESS, {"likeness": False}, "image_embeds"),
    ],
)
async def test_a_controlled_unet_has_what_the_family_uses(
    lines: str, has: dict[str, bool], missing: str, tmp_path: Path
) -> None:
    with pytest.raises(FamilyConfigError, match=f"model a_controlled_unet has no tensor '{missing}'"):
        await networks.connect(server_of(client(pooled=False, **has)), table(tmp_path, lines))


@pytest.mark.parametrize(("channels", "scales", "fits"), [(6, 2, True), (3, 1, False), (6, 1, False), (9, 2, False)])
async def test_the_control_picture_has_three_channels_of_each_kind(
    channels: int, scales: int, fits: bool, tmp_path: Path
) -> None:
    triton = client(pooled=False)
    for tensor in triton.configs["a_controlled_unet"].input:
        if tensor.name in CONTROL:
            tensor.dims[0] = channels if tensor.name == "control_image" else scales
    kinds = table(tmp_path, f'{CONTROLLED}control_kinds = ["canny", "depth"]\n')
    if fits:
        found = await connected(triton, kinds)
        assert found.controlled_unet is not None
        await found.controlled_unet(SAMPLE, TIME, HIDDEN, None, None)
        assert triton.sent[0][1]["control_image"] == (2, 6, 16, 24)
    else:
        with pytest.raises(FamilyConfigError, match=rf"{channels} channels and {scales} .*are 2: canny, depth"):
            await networks.connect(server_of(triton), kinds)
