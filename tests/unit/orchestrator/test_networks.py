"""The networks over a Triton of configurations and formulas: what is checked, what is sent, what is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from google.protobuf import text_format

from orchestrator.errors import EngineUnavailableError, FamilyConfigError, UnsupportedTaskError
from orchestrator.models import networks, tool_networks
from orchestrator.models.contracts import ControlRows, ImageRows
from orchestrator.models.families import Families
from orchestrator.models.readiness import TritonNetworks
from orchestrator.models.specs import FAMILY_ROLES, TOOL_ROLES
from orchestrator.models.tools import Tools
from orchestrator.models.triton import check_model
from tests.unit.orchestrator.triton_fake import Client, config, pool_of, server_of
from tests.unit.orchestrator.world import FAMILIES, write_families

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.models.triton import ModelInfo, TritonServer

TOOLS = '\n[tools]\nmatting = "a_matting"\nface_detector = "a_face_detector"\nupscaler = "an_upscaler"\n'
STEERED = """pad_id = 0
vae_encoder = "small_vae_encoder"
controlled_unet = "small_unet"
image_encoder = "small_image_encoder"
"""


ALL_TOOLS = {
    "matting": "a_matting",
    "face_detector": "a_face_detector",
    "face_landmarks": "a_face_landmarks",
    "upscaler": "an_upscaler",
}
UNET_INPUTS = ("control_image", "control_scale", "image_embeds", "image_scale")


def client() -> Client:
    """All models of the small family, its UNet a controlled one, and of the tools."""
    configs = {f"small_{role}": config(spec) for role, spec in FAMILY_ROLES.items()}
    configs["small_unet"] = config(FAMILY_ROLES["controlled_unet"], optional=UNET_INPUTS)
    configs["small_image_encoder"] = config(FAMILY_ROLES["image_encoder"], side=32)
    configs |= {f"a_{role}": config(spec) for role, spec in TOOL_ROLES.items()}
    configs["a_matting"] = config(TOOL_ROLES["matting"], side=64)
    configs |= {f"a_{role}": config(TOOL_ROLES[role], side=64) for role in ("nsfw", "watermark_decoder")}
    configs["a_watermark_encoder"] = config(TOOL_ROLES["watermark_encoder"], side=64)
    configs["an_upscaler"] = config(TOOL_ROLES["upscaler"])
    return Client(configs)


def families(tmp_path: Path, tools: str = TOOLS) -> Families:
    return Families.load(write_families(tmp_path, FAMILIES.replace("pad_id = 0", STEERED) + tools))


async def test_roles_are_networks_and_a_model_of_two_roles_is_named_once(tmp_path: Path) -> None:
    server = server_of(client())
    family = await networks.connect(server, families(tmp_path).get(None).networks)
    found = family.networks(server)
    assert isinstance(found.unet, networks.TritonUnet)
    assert isinstance(found.controlled_unet, networks.TritonControlledUnet)
    assert found.image_encoder is not None
    assert found.image_encoder.side == 32
    assert (found.inpaint_unet, found.face_encoder) == (None, None)
    names = ["small_text_encoder", "small_unet", "small_vae_decoder", "small_vae_encoder", "small_image_encoder"]
    assert {role: digest.model for role, digest in family.digests.items()} == {
        **{name.removeprefix("small_"): name for name in names},
        "controlled_unet": "small_unet",
    }


async def test_the_smallest_batch_of_all_is_the_familys(tmp_path: Path) -> None:
    small = client()
    small.configs["small_vae_encoder"].max_batch_size = 3
    server = server_of(small)
    family = await networks.connect(server, families(tmp_path).get(None).networks)
    assert family.networks(server).max_rows == 3


@pytest.mark.parametrize(
    ("role", "change", "message"),
    [
        ("unet", "max_batch_size: 1", "max_batch_size of m is 1, less than 2"),
        ("vae_encoder", "max_batch_size: 0", "max_batch_size of m is 0, less than 1"),
        ("unet", 'input { name: "y" data_type: TYPE_FP32 dims: [ 1 ] }', "needs inputs that are not given: y"),
        ("image_encoder", "", "image is -1 x -1, not a square of fixed side"),
    ],
)
async def test_a_model_that_breaks_its_contract_is_refused(role: str, change: str, message: str) -> None:
    made = config(FAMILY_ROLES[role])
    text_format.Merge(change, made) if change else None
    server = server_of(Client({"m": made}))
    info = await server.describe("m")

    def use() -> object:
        check_model(info, FAMILY_ROLES[role])
        return networks.FAMILY_NETWORKS[role](server, info)

    with pytest.raises(FamilyConfigError, match=message):
        use()


async def test_a_further_input_may_be_optional() -> None:
    made = config(FAMILY_ROLES["unet"])
    text_format.Merge('input { name: "y" data_type: TYPE_FP32 dims: [ 1 ] optional: true }', made)
    info = await server_of(Client({"m": made})).describe("m")
    check_model(info, FAMILY_ROLES["unet"])
    assert info.optional == {"y"}


@pytest.mark.parametrize("name", [tensor.name for tensor in FAMILY_ROLES["controlled_unet"].inputs])
async def test_every_input_of_a_role_must_be_there(name: str) -> None:
    made = config(FAMILY_ROLES["controlled_unet"])
    kept = [tensor for tensor in made.input if tensor.name != name]
    del made.input[:]
    made.input.extend(kept)
    info = await server_of(Client({"m": made})).describe("m")
    with pytest.raises(FamilyConfigError, match=f"no tensor '{name}'"):
        check_model(info, FAMILY_ROLES["controlled_unet"])


def rows(*shape: int) -> Any:
    return np.ones(shape, np.float32)


async def info_of(server: TritonServer, optional: Sequence[str]) -> ModelInfo:
    cast("Client", server._client).configs["m"] = config(FAMILY_ROLES["controlled_unet"], optional=optional)
    return await server.describe("m")


@pytest.mark.parametrize(
    ("optional", "sides"),
    [((), (16, 24)), (UNET_INPUTS, (1, 1))],
    ids=["required", "optional: a placeholder of 1 x 1"],
)
async def test_what_does_not_steer_is_sent_as_zeros(optional: Sequence[str], sides: tuple[int, int]) -> None:
    """So all requests bring the same inputs, and Triton merges them."""
    server = server_of(Client({}))
    info, sent = await info_of(server, optional), cast("Client", server._client).sent
    plain, steered = networks.TritonUnet(server, info), networks.TritonControlledUnet(server, info)
    sample, time, hidden = rows(2, 4, 2, 3), rows(2, 1), rows(2, 8, 6)
    control = ControlRows(rows(2, 3, 16, 24), rows(2, 1))
    image = ImageRows(rows(2, 2, 6), rows(2, 1))
    await plain(sample, time, hidden)
    await steered(sample, time, hidden, None, None)
    await steered(sample, time, hidden, control, None)
    await steered(sample, time, hidden, None, image)
    whole = {
        "sample": (2, 4, 2, 3),
        "timestep": (2, 1),
        "encoder_hidden_states": (2, 8, 6),
        "control_image": (2, 3, 16, 24),
        "control_scale": (2, 1),
        "image_embeds": (2, 2, 6),
        "image_scale": (2, 1),
    }
    without_control = whole | {"control_image": (2, 3, *sides)}
    assert [shapes for _, shapes in sent] == [without_control, without_control, whole, without_control]


async def test_a_fixed_batch_pads_every_network(tmp_path: Path) -> None:
    table = families(tmp_path).get(None).networks.model_copy(update={"fixed_batch": 8})
    padded = client()
    server = server_of(padded)
    found = (await networks.connect(server, table)).networks(server)
    assert found.image_encoder is not None
    embeds, negative = await found.image_encoder(rows(1, 3, 32, 32))
    assert (embeds.shape, negative.shape) == ((1, 2, 6), (1, 2, 6))
    assert padded.sent == [("small_image_encoder", {"image": (8, 3, 32, 32)})]


async def test_a_tool_is_asked_by_its_contract() -> None:
    server = server_of(client())
    infos = {role: await tool_networks.connect_tool(server, role, name) for role, name in ALL_TOOLS.items()}
    assert infos["upscaler"].digest.model == "an_upscaler"
    made = {role: tool_networks.make_tool(server, role, info) for role, info in infos.items()}
    tools = Tools(**made)  # type: ignore[arg-type]  # each by its role
    assert tools.need("matting").side == 64
    assert (await tools.need("matting")(rows(1, 3, 64, 64))).shape == (1, 1, 64, 64)
    assert [each.shape for each in await tools.need("face_detector")(rows(2, 3, 256, 256))] == [
        (2, 896, 16),
        (2, 896, 1),
    ]
    assert [each.shape for each in await tools.need("face_landmarks")(rows(1, 3, 192, 192))] == [(1, 468, 3), (1, 1)]
    assert (await tools.need("upscaler")(rows(1, 3, 4, 4))).shape == (1, 3, 8, 8)


@pytest.mark.parametrize(("parameter", "scale"), [(None, 2), ("4", 4)])
async def test_an_upscaler_says_its_factor(parameter: str | None, scale: int) -> None:
    made = client()
    if parameter is not None:
        made.configs["an_upscaler"].parameters["scale"].string_value = parameter
    server = server_of(made)
    info = await tool_networks.connect_tool(server, "upscaler", "an_upscaler")
    upscaler = tool_networks.make_tool(server, "upscaler", info)
    assert Tools(upscaler=upscaler).need("upscaler").scale == scale  # type: ignore[arg-type]  # it is one


async def test_tools_come_and_go_without_the_families(tmp_path: Path) -> None:
    triton = client()
    source = TritonNetworks(pool_of(triton), families(tmp_path))
    with pytest.raises(EngineUnavailableError, match="matting network is not ready") as caught:
        source.tools().need("matting")
    assert caught.value.retry_after > 0
    await source.refresh()
    assert source.tools().waiting == frozenset()
    assert source.tools().need("matting").side == 64
    triton.down.add("a_matting")
    await source.refresh()
    assert source.is_ready("small")
    with pytest.raises(EngineUnavailableError):
        source.tools().need("matting")
    assert source.tools().need("upscaler").scale == 2
    triton.down.clear()
    await source.refresh()
    assert source.tools().need("matting").side == 64


async def test_a_tool_that_is_not_named_is_not_waited_for(tmp_path: Path) -> None:
    source = TritonNetworks(pool_of(client()), families(tmp_path))
    await source.refresh()
    with pytest.raises(UnsupportedTaskError, match="no face landmarks network"):
        source.tools().need("face_landmarks")


async def test_a_tool_that_breaks_its_contract_is_not_ready(tmp_path: Path) -> None:
    triton = client()
    triton.configs["a_matting"] = config(TOOL_ROLES["matting"])  # of any side
    source = TritonNetworks(pool_of(triton), families(tmp_path))
    await source.refresh()
    assert source.tools().waiting == {"matting"}


async def test_a_family_waits_for_every_network_that_it_names(tmp_path: Path) -> None:
    triton = client()
    triton.down.add("small_image_encoder")
    source = TritonNetworks(pool_of(triton), families(tmp_path))
    await source.refresh()
    assert not source.is_ready("small")
    assert source.digests("small").keys() == {"matting", "face_detector", "upscaler"}
    triton.down.clear()
    await source.refresh()
    assert source.networks("small").image_encoder is not None
    assert source.digests("small")["image_encoder"].model == "small_image_encoder"
