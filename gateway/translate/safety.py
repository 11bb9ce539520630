"""The safe filter: `safe`, and nsfw_parameters with both spellings of each of its names."""

from gateway.contract.request import ProcessRequest
from gateway.errors import BadRequestError
from gateway.translate import pictures
from imagegen.v1 import generation_pb2 as pb


def set_safety(message: pb.GenerateRequest, request: ProcessRequest, max_bytes: int) -> None:
    """Set the filter; nsfw_parameters act only with safe, as documented.

    Args:
        message: to be changed.
        request: of a client.
        max_bytes: largest picture that may come inside the request.

    Raises:
        BadRequestError: the picture is not one, or is given in both spellings.
    """
    if request.safe is None:
        return
    message.safety.enabled = request.safe
    given = request.nsfw_parameters
    if not request.safe or given is None:
        return
    threshold = given.threshold if given.threshold is not None else given.thresold
    if threshold is not None:
        message.safety.threshold = threshold
    if given.nsfw_image_url and given.image_url and given.nsfw_image_url != given.image_url:
        raise BadRequestError("nsfw_parameters has both nsfw_image_url and image_url; send one of them")
    if url := given.nsfw_image_url or given.image_url:
        message.safety.replacement.CopyFrom(pictures.source(url, "nsfw_parameters.nsfw_image_url", max_bytes))
