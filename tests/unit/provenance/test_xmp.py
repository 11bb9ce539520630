"""XMP packets: in files of our encoders, read by Pillow, which knows nothing of us; and read from any bytes."""

import io
import xml.etree.ElementTree as ET

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from orchestrator.imaging import codec
from orchestrator.imaging.density import with_density
from orchestrator.params import ImageFormat, OutputParams
from orchestrator.provenance import xmp
from orchestrator.provenance.origin import Origin

SOURCE_TYPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
RECIPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}AIPromptInformation"
DESCRIPTION = ".//{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"


def picture(channels: int, side: int = 65) -> np.ndarray:
    """Noise, with some opacity where there is a fourth channel."""
    return np.random.default_rng(channels).integers(0, 256, (side, side + 1, channels), dtype=np.uint8)


def embedded(data: bytes) -> bytes:
    """The packet that Pillow finds."""
    with Image.open(io.BytesIO(data)) as file:
        file.load()
        found = file.info.get("xmp") or file.info["XML:com.adobe.xmp"]
    return found if isinstance(found, bytes) else found.encode()


@pytest.mark.parametrize("image_format", ImageFormat)
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("quality", [80, 100])
@pytest.mark.parametrize("origin", [Origin.GENERATED, Origin.COMPOSITE])
def test_a_marked_file_states_its_origin_and_shows_the_same_picture(
    image_format: ImageFormat, channels: int, quality: int, origin: Origin
) -> None:
    plain = codec.encode(picture(channels), OutputParams(format=image_format, quality=quality)).data
    packet = xmp.packet(origin, "1.2.3")
    assert packet is not None
    marked = xmp.with_packet(plain, image_format, packet)
    assert len(marked) - len(plain) <= xmp.overhead(image_format, packet)
    tree = ET.fromstring(embedded(marked))  # noqa: S314  # our own
    description = tree.find(DESCRIPTION)
    assert description is not None
    assert description.attrib[SOURCE_TYPE] == origin.digital_source_type
    before, after = (np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")) for data in (plain, marked))
    assert np.array_equal(before, after)
    decoded = cv2.imdecode(np.frombuffer(marked, np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded is not None
    assert decoded.shape[:2] == (65, 66)
    assert xmp.read(marked) == xmp.Statement(origin, origin.value, "imagegen 1.2.3")


@pytest.mark.parametrize("image_format", [ImageFormat.PNG, ImageFormat.JPEG])
def test_the_density_stays(image_format: ImageFormat) -> None:
    plain = with_density(codec.encode(picture(3), OutputParams(format=image_format)).data, image_format, 300)
    packet = xmp.packet(Origin.GENERATED, "1.2.3")
    assert packet is not None
    with Image.open(io.BytesIO(xmp.with_packet(plain, image_format, packet))) as file:
        assert [round(each) for each in file.info["dpi"]] == [300, 300]


@given(recipe=st.text(max_size=9000))
def test_any_recipe_gives_xml_that_holds_it(recipe: str) -> None:
    packet = xmp.packet(Origin.GENERATED, "1.2.3", recipe)
    assert packet is not None
    found = ET.fromstring(packet).find(f"{DESCRIPTION}/{RECIPE}")  # noqa: S314  # our own
    assert found is not None
    allowed = "".join(c for c in recipe if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff"))
    expected = allowed[: xmp.MAX_PROMPT_CHARACTERS].replace("\r\n", "\n").replace("\r", "\n")
    assert (found.text or "") == expected
    data = codec.encode(picture(3), OutputParams(format=ImageFormat.JPEG)).data
    assert xmp.with_packet(data, ImageFormat.JPEG, packet)  # even the longest fits into a segment


def test_a_plain_edit_has_nothing_to_state() -> None:
    assert xmp.packet(Origin.EDITED, "1.2.3") is None
    recipe_only = xmp.packet(Origin.EDITED, "1.2.3", "a recipe")
    assert recipe_only is not None
    assert b"DigitalSourceType" not in recipe_only


@given(data=st.binary(max_size=400))
def test_reading_never_raises(data: bytes) -> None:
    xmp.read(data)
    xmp.read(b"<x:xmpmeta xmlns" + data + b"</x:xmpmeta>")


def test_other_source_types_are_named_and_are_no_origin_of_ours() -> None:
    packet = b'<x:xmpmeta a="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"></x:xmpmeta>'
    assert xmp.read(b"junk" + packet) == xmp.Statement(None, "digitalCapture", None)


def test_an_endless_packet_is_left_alone() -> None:
    assert xmp.read(b"<x:xmpmeta " + b"a" * (2 << 20) + b"</x:xmpmeta>") == xmp.Statement()


def test_foreign_files_are_refused() -> None:
    packet = xmp.packet(Origin.GENERATED, "1.2.3")
    assert packet is not None
    for image_format in (ImageFormat.JPEG, ImageFormat.WEBP):
        with pytest.raises(ValueError, match="has no"):
            xmp.with_packet(b"no such file at all, but long enough", image_format, packet)
