"""The sentences of the documented API, word for word. What this service has to add follows them."""

from collections.abc import Mapping
from types import MappingProxyType

from imagegen.v1 import generation_pb2 as pb

NO_PICTURE = "File or image url is required"
NO_KEY = "No x-api-key header is provided"
UNKNOWN_KEY = "No user found for provided token"
UNKNOWN_JOB = "Job not found"
DELETED = "Image deleted"
NO_CREDITS = "You dont have enough credits to perform those actions"
NO_REQUESTS = "No more requests are available"
UNKNOWN_PRESET = "Preset {preset_name} not found!"
TOO_LARGE = "Image cannot be upscaled above {max_width} x {max_height} pixels limit."
TOO_MANY_JOBS = (
    "Image cannot be processed right now. Your rate limit is {rate_limit} and you are currently processing "
    "{active_jobs_amount} images."
)
FAILED = "We have encountered some technical issues while processing the image. No credits were lost. Please try again."

# Where a storage is at fault, the documents have one sentence for the source and one for the target.
_BY_REASON: Mapping[pb.ViolationReason.ValueType, str | tuple[str, str]] = MappingProxyType(
    {
        pb.VIOLATION_REASON_UNIDENTIFIED_IMAGE: "Unidentified image.",
        pb.VIOLATION_REASON_STORAGE_UNKNOWN: ("Invalid source storage.", "Invalid target storage."),
        pb.VIOLATION_REASON_STORAGE_CREDENTIALS: (
            "The source storage credentials are incorrect.",
            "The target storage credentials are incorrect.",
        ),
        pb.VIOLATION_REASON_STORAGE_PERMISSION: (
            "Make sure your source url/storage has sufficient permissions.",
            "Make sure your target url/storage has sufficient permissions.",
        ),
        pb.VIOLATION_REASON_STORAGE_MISSING: (
            "Make sure your source url/storage is correct.",
            "Make sure your target url/storage is correct.",
        ),
        pb.VIOLATION_REASON_STORAGE_TOKEN: (
            "The source storage token has been expired or revoked.",
            "The target storage token has been expired or revoked.",
        ),
        pb.VIOLATION_REASON_STORAGE_FOLDER: "Found folder instead of file.",
        pb.VIOLATION_REASON_STORAGE_PATH_REQUIRED: "File key not specified.",
        pb.VIOLATION_REASON_STORAGE_NOT_IMAGE: "The file is not an image.",
    }
)


def of(reason: pb.ViolationReason.ValueType, *, is_target: bool) -> str:
    """The documented sentence for a kind of fault, "" where there is none. It ends with a full stop."""
    found = _BY_REASON.get(reason, "")
    return found if isinstance(found, str) else found[is_target]
