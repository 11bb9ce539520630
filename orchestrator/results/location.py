"""What the settings say about where the result store is."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from common.errors import SettingsError
from orchestrator.config import CLOUDS, Settings
from orchestrator.results.buckets import Bucket, S3Location
from orchestrator.results.faults import BucketError, RefusedError

PRESIGNED_SECONDS = 7 * 86_400.0
"""Longest life of a presigned URL (AWS Signature Version 4, query parameters: X-Amz-Expires)."""

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def open_bucket(settings: Settings) -> Bucket:
    """The bucket of IMAGEGEN_RESULTS_URL.

    Raises:
        SettingsError: it cannot be created, or obstore does not accept it.
    """
    url = urlsplit(settings.results_url)
    try:
        if url.scheme in CLOUDS:
            return open_cloud(
                settings.results_url, settings.s3_endpoint, settings.s3_region, azure_account=settings.azure_account
            )
        return Bucket.local(Path(unquote(url.path) if url.scheme == "file" else settings.results_url))
    except (OSError, BucketError) as error:
        raise SettingsError(f"IMAGEGEN_RESULTS_URL={settings.results_url!r}: {error}") from error


def open_cloud(url: str, endpoint: str | None, region: str | None, *, azure_account: str | None) -> Bucket:
    """The bucket of s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX.

    Args:
        url: it.
        endpoint: of an S3 that is not AWS's.
        region: of an S3.
        azure_account: storage account of a container.

    Raises:
        RefusedError: obstore does not take it, or there is no account.
    """
    parts = urlsplit(url)
    prefix = parts.path.strip("/")
    if parts.scheme == "gs":
        return Bucket.gcs(parts.netloc, prefix)
    if parts.scheme == "az":
        if not azure_account:
            raise RefusedError("az:// needs the name of a storage account: set IMAGEGEN_AZURE_ACCOUNT")
        return Bucket.azure(azure_account, parts.netloc, prefix)
    return Bucket.s3(parse_location(url, endpoint, region))


def parse_location(
    url: str, endpoint: str | None, region: str | None, keys: tuple[str, str] | None = None
) -> S3Location:
    """The location that s3://BUCKET/PREFIX names."""
    parts = urlsplit(url)
    return S3Location(bucket=parts.netloc, prefix=parts.path.strip("/"), endpoint=endpoint, region=region, keys=keys)


def signs_links(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Whether links lead to S3 itself.

    Raises:
        SettingsError: they are to, and would end before the picture does.
    """
    if urlsplit(settings.results_url).scheme != "s3" or settings.result_links != "presigned":
        return False
    if settings.result_seconds > PRESIGNED_SECONDS:
        raise SettingsError(
            f"IMAGEGEN_RESULT_SECONDS={settings.result_seconds:g}: presigned URLs of S3 last {PRESIGNED_SECONDS:g} "
            "seconds (7 days) at most; set less, or IMAGEGEN_RESULT_LINKS=gateway"
        )
    if not all(environ.get(name) for name in KEYS) or environ.get("AWS_SESSION_TOKEN"):
        raise SettingsError(
            f"IMAGEGEN_RESULT_LINKS=presigned needs {' and '.join(KEYS)}, and no AWS_SESSION_TOKEN: what a role's keys "
            "have signed ends with them, before the picture does; set a user's keys, or IMAGEGEN_RESULT_LINKS=gateway"
        )
    return True
