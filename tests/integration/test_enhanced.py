"""Enhancements, captions, paper and files, over gRPC and over REST: the same picture by both, from a real Triton."""

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import PIL.Image
import pytest
import pytest_asyncio

from gateway.translate.enhancements import KINDS
from imagegen.v1 import generation_pb2 as pb
from tests.integration.both_protocols import BothProtocols, Said, both, inline
from tests.integration.pictures import decode, encode, scene
from tests.integration.stack import ADAPTERS_FAMILIES

pytestmark = pytest.mark.asyncio(loop_scope="module")

PHOTOGRAPH = encode(scene())
FACES = encode(scene(256, 128, faces=1))
LOGO = encode(np.full((10, 20, 3), (0, 0, 255), np.uint8))


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="served")
async def _served(adapters_triton: int, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[BothProtocols]:
    async with both(adapters_triton, ADAPTERS_FAMILIES, tmp_path_factory.mktemp("enhanced")) as found:
        yield found


async def same(served: BothProtocols, data: bytes, message: dict[str, Any], body: dict[str, Any]) -> Any:
    """The picture, which is one by both ways."""
    said = await served.grpc(pb.Edit(image=pb.ImageSource(data=data)), prompt="", **message)
    rest = await served.rest(url=inline(data), **body)
    assert (said.code, rest.code) == ("OK", "200"), (said, rest)
    np.testing.assert_array_equal(decode(said.picture), decode(rest.picture))
    return decode(said.picture)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "face_enhance"])
async def test_each_enhancement(served: BothProtocols, name: str) -> None:
    plain = decode(PHOTOGRAPH)
    for level in (0.0, 1.0):
        enhancement = pb.Enhancement(kind=KINDS[name], level=level)
        found = await same(
            served,
            PHOTOGRAPH,
            {"enhancements": [enhancement]},
            {"enhancements": [name], f"{name}_parameters": {"level": level}},
        )
        assert found.shape == plain.shape
        assert (found == plain).all() == (level == 0)


async def test_faces(served: BothProtocols) -> None:
    """Over gRPC with a seed, so that it is one picture; where there is no face, nothing is painted."""
    enhancement = pb.Enhancement(kind=pb.ENHANCEMENT_KIND_FACE_ENHANCE, level=1.0)
    task = pb.Edit(image=pb.ImageSource(data=FACES))
    said = [await served.grpc(task, enhancements=[enhancement], steps=4) for _ in range(2)]
    assert said[0].code == "OK", said
    assert said[0].picture == said[1].picture
    changed = (decode(said[0].picture) != decode(FACES)).any(axis=2)
    assert 0.02 < changed.mean() < 0.9
    assert not changed[:, :20].any()  # far from it
    none = await served.rest(url=inline(PHOTOGRAPH), enhancements=["face_enhance"])
    np.testing.assert_array_equal(decode(none.picture), decode(PHOTOGRAPH))


async def test_a_caption(served: BothProtocols) -> None:
    caption = pb.Caption(
        image=pb.ImageSource(data=LOGO), horizontal=pb.HORIZONTAL_PLACE_LEFT, vertical=pb.VERTICAL_PLACE_TOP
    )
    found = await same(served, PHOTOGRAPH, {"caption": caption}, {"caption": {"url": inline(LOGO), "position": "LT"}})
    rows, columns = np.nonzero((found == (0, 0, 255)).all(axis=2))
    assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (5, 29, 5, 17)


async def test_a_print_is_oriented_as_its_picture(served: BothProtocols) -> None:
    """A6 at 100 dpi, 413 x 583, for a picture that is wider than high."""
    size, output = pb.Size(width=413, height=583, reorient=True), pb.Output(dpi=100)
    found = await same(served, PHOTOGRAPH, {"size": size, "output": output}, {"print_size": "a6", "dpi": 100})
    assert found.shape[:2] == (413, 583)
    for output_format in ("png", "jpeg"):
        said = await served.rest(url=inline(PHOTOGRAPH), print_size="a6", dpi=100, output_format=output_format)
        with PIL.Image.open(io.BytesIO(said.picture)) as image:
            assert [round(each) for each in image.info["dpi"]] == [100, 100]


async def test_a_file_is_the_same_as_base64(served: BothProtocols) -> None:
    form = {"files": {"image": ("a.png", PHOTOGRAPH)}, "data": {"parameters": json.dumps({"enhancements": ["light"]})}}
    answer = (await served.http.post("/rest_api/process_result", **form)).json()  # type: ignore[arg-type]  # files, data
    assert answer["status"] == "complete", answer
    inside = await served.rest(url=inline(PHOTOGRAPH), enhancements=["light"])
    assert (await served.http.get(answer["result_url"])).content == inside.picture


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 7)])
async def test_slivers_with_everything(served: BothProtocols, size: tuple[int, int]) -> None:
    data = encode(np.full((*size, 3), 90, np.uint8))
    said: Said = await served.rest(url=inline(data), enhancements=list(KINDS), caption={"url": inline(LOGO)})
    assert said.code == "200", said
    assert decode(said.picture).shape == (*size, 3)


@pytest.mark.parametrize(
    ("message", "field", "body", "words"),
    [
        (
            {"enhancements": [pb.Enhancement(kind=pb.ENHANCEMENT_KIND_LIGHT, level=2.0)]},
            "enhancements[0].level",
            {"enhancements": ["light"], "light_parameters": {"level": 2}},
            "light_parameters.level must be from 0 to 1, not 2",
        ),
        (
            {"caption": pb.Caption(image=pb.ImageSource(data=b"no picture"))},
            "caption.image",
            {"caption": {"url": inline(b"no picture")}},
            "Unidentified image. caption.url",
        ),
        (
            {"size": pb.Size(width=64, reorient=True)},
            "size.reorient",
            {"print_size": "a0", "dpi": 600},
            "Image cannot be upscaled above 16704 x 16704 pixels limit.",
        ),
    ],
)
async def test_what_is_wrong_is_named_by_both(
    served: BothProtocols, message: dict[str, Any], field: str, body: dict[str, Any], words: str
) -> None:
    said = await served.grpc(pb.Edit(image=pb.ImageSource(data=PHOTOGRAPH)), **message)
    assert (said.code, said.fields) == ("INVALID_ARGUMENT", (field,))
    rest = await served.rest(url=inline(PHOTOGRAPH), **body)
    assert rest.code == "400"
    assert rest.text.startswith(words)
