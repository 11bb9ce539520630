"""The networks that belong to no family, as they ship, through the real Triton."""

import shutil
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as client
from PIL import Image

from local import triton
from local.settings import ROOT
from orchestrator.arrays import Floats

SIDES = {"matting": (320, 320), "face_detector": (256, 256), "face_landmarks": (192, 192), "upscaler": (48, 80)}
ROWS = 8


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[client.InferenceServerClient]:
    """A client of a Triton that serves the four."""
    repository = tmp_path_factory.mktemp("models")
    for name in SIDES:
        shutil.copytree(ROOT / "model_repository" / name, repository / name)
    with (
        triton.running([repository], tmp_path_factory.mktemp("state")) as server,
        client.InferenceServerClient(server.grpc_url) as connection,
    ):
        yield connection


def infer(connection: client.InferenceServerClient, model: str, images: Floats) -> dict[str, Floats]:
    """Every output for pictures [B, 3, h, w] in [-1, 1]."""
    tensor = client.InferInput("image", list(images.shape), "FP32")
    tensor.set_data_from_numpy(np.ascontiguousarray(images, np.float32))
    answer = connection.infer(model, [tensor])
    names = [output.name for output in answer.get_response().outputs]
    return {name: np.asarray(answer.as_numpy(name), np.float32) for name in names}


def read(name: str) -> npt.NDArray[np.uint8]:
    """RGB [H, W, 3] of a picture of the demo."""
    picture = cv2.imread(str(ROOT / "local/pictures" / name))
    assert picture is not None
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def to_tensor(picture: npt.NDArray[np.uint8], width: int, height: int) -> Floats:
    """[1, 3, height, width] in [-1, 1]."""
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32).transpose(2, 0, 1)[None] / np.float32(127.5) - 1


@pytest.mark.parametrize("model", SIDES)
def test_a_row_is_the_same_in_every_batch(connection: client.InferenceServerClient, model: str) -> None:
    height, width = SIDES[model]
    photograph = to_tensor(read("astronaut.jpg"), 2 * width, 2 * height)[0]
    rng = np.random.default_rng(0)
    corners = rng.integers(0, (height, width), (ROWS, 2))
    images = np.stack([photograph[:, y : y + height, x : x + width] for y, x in corners])
    alone = [infer(connection, model, images[row : row + 1]) for row in range(ROWS)]
    for count in range(2, ROWS + 1):
        chosen = rng.permutation(ROWS)[:count]
        together = infer(connection, model, images[chosen])
        for place, row in enumerate(chosen):
            for name, output in together.items():
                assert np.array_equal(output[place], alone[row][name][0]), f"{name} in a batch of {count}"


def test_the_face_networks_find_the_astronauts_face(connection: client.InferenceServerClient) -> None:
    """The face fills about x 180 to 270, y 70 to 175 of the photograph of 512 x 512."""
    picture = cv2.resize(read("astronaut.jpg"), (512, 512), interpolation=cv2.INTER_AREA)
    found = infer(connection, "face_detector", to_tensor(np.asarray(picture, np.uint8), 256, 256))
    best = int(found["scores"][0, :, 0].argmax())
    assert found["scores"][0, best, 0] > 1
    assert best < 2 * 16 * 16, "an anchor of the finer grid: two at each of 16 x 16 places"
    place = np.array([best // 2 % 16, best // 2 // 16])
    centre = (place + 0.5) / 16 * 512 + found["boxes"][0, best, :2] * 2
    assert np.abs(centre - (225, 120)).max() < 25, centre

    face = picture[30:220, 130:320]
    marks = infer(connection, "face_landmarks", to_tensor(np.asarray(face, np.uint8), 192, 192))
    assert marks["score"][0, 0] > 5
    nose = marks["landmarks"][0, 1, :2] * 190 / 192 + (130, 30)
    assert np.abs(nose - (225, 130)).max() < 20, nose
    wall = infer(connection, "face_landmarks", to_tensor(np.asarray(picture[60:200, 300:400], np.uint8), 192, 192))
    assert wall["score"][0, 0] < 0


def test_the_upscaler_keeps_what_it_enlarges(connection: client.InferenceServerClient) -> None:
    """Shrunk again it is nearly what came in, and its edges are steeper than Lanczos'."""
    large = to_tensor(read("coffee.jpg"), 384, 256)
    small = large.reshape(1, 3, 64, 4, 96, 4).mean((3, 5))
    made = infer(connection, "upscaler", small)["upscaled"]
    assert made.shape == large.shape
    assert np.abs(made).max() <= 1
    assert np.abs(made.reshape(1, 3, 64, 4, 96, 4).mean((3, 5)) - small).mean() < 0.04
    plain = cv2.resize(small[0].transpose(1, 2, 0), (384, 256), interpolation=cv2.INTER_LANCZOS4).transpose(2, 0, 1)
    steepest = [np.percentile(np.abs(np.diff(each, axis=2)), 99) for each in (made[0], plain)]
    assert steepest[0] > 1.3 * steepest[1], steepest


def test_the_upscaler_answers_what_its_publisher_does(connection: client.InferenceServerClient) -> None:
    """In bfloat16 too, where the CPU computes in that: by a few levels of 255, on average by less than one."""
    folder = ROOT / "tests/data/realesrgan"
    picture, expected = (np.asarray(Image.open(folder / name), np.float32) for name in ("picture.png", "x4.png"))
    given = np.pad(picture, ((10, 10), (10, 10), (0, 0)), mode="reflect").transpose(2, 0, 1)[None] / 127.5 - 1
    made = infer(connection, "upscaler", given)["upscaled"][0].transpose(1, 2, 0)[40:-40, 40:-40]
    error = np.abs((made + 1) * 127.5 - expected)
    assert error.mean() < 1, error.mean()
    assert error.max() < 12, error.max()
