"""`safe` and nsfw_parameters, in every spelling of the documents."""

from typing import Any

import pytest

from gateway.contract.request import ProcessRequest
from gateway.errors import BadRequestError
from gateway.translate.request import to_proto
from imagegen.v1 import generation_pb2 as pb

URL, BLURRED = "https://a.example/a.png", "https://a.example/blurred.png"


def safety(**fields: Any) -> pb.Safety | None:
    """What a plain edit with those fields asks of the filter."""
    message = to_proto(ProcessRequest.model_validate({"url": URL, **fields}), "r", 1 << 20)
    return message.safety if message.HasField("safety") else None


def test_it_is_left_to_the_account_where_nothing_is_said() -> None:
    assert safety() is None
    assert safety(nsfw_parameters={"threshold": 0.5}) is None  # acts only with safe


def test_it_can_be_switched() -> None:
    assert safety(safe=True) == pb.Safety(enabled=True)
    assert safety(safe="true") == pb.Safety(enabled=True)
    assert safety(safe=False, nsfw_parameters={"threshold": 0.5}) == pb.Safety(enabled=False)


@pytest.mark.parametrize("threshold", ["threshold", "thresold"])
@pytest.mark.parametrize("picture", ["nsfw_image_url", "image_url"])
def test_each_spelling_of_the_documents(threshold: str, picture: str) -> None:
    found = safety(safe=True, nsfw_parameters={threshold: 0.0, picture: BLURRED})
    assert found == pb.Safety(enabled=True, threshold=0.0, replacement=pb.ImageSource(url=BLURRED))


def test_two_pictures_are_one_too_many() -> None:
    with pytest.raises(BadRequestError, match="both nsfw_image_url and image_url"):
        safety(safe=True, nsfw_parameters={"nsfw_image_url": URL, "image_url": BLURRED})
    assert safety(safe=True, nsfw_parameters={"nsfw_image_url": URL, "image_url": URL}) is not None
