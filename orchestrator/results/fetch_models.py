"""`python -m orchestrator.results.fetch_models URL FOLDER`: models from a bucket into a folder.

URL is s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX. The bucket has a file models.sha256, as
sha256sum writes it, that names every other file. Each is fetched whole, checked and only then given its name; one that
is there already, unchanged, is not fetched. Keys, endpoint and account are those of results (AWS_*, GOOGLE_*, AZURE_*,
IMAGEGEN_S3_ENDPOINT, IMAGEGEN_S3_REGION, IMAGEGEN_AZURE_ACCOUNT). Exit code 1, and a line, if anything is not as it
should be: what is wrong is then missing in the folder.
"""

import asyncio
import hashlib
import os
import sys
from pathlib import Path, PurePosixPath

from orchestrator.results.buckets import Bucket
from orchestrator.results.faults import MissingError, RefusedError, UnreachableError
from orchestrator.results.location import open_cloud

SUMS = "models.sha256"
MAX_SUMS = 4 * 1024 * 1024
_SETTINGS = ("S3_ENDPOINT", "S3_REGION", "AZURE_ACCOUNT")


class ModelsError(Exception):
    """The models are not what they should be; the message is for the operator."""


async def fetch(bucket: Bucket, folder: Path) -> tuple[int, int]:
    """Fetch what the folder lacks; returns how many files it then has, and how many of them were fetched.

    Raises:
        ModelsError: a file is missing, or not what it should be.
        RefusedError, UnreachableError: of the bucket.
    """
    wanted = _read((await bucket.read(SUMS, MAX_SUMS)).decode("utf-8", "replace"))
    lacking = [name for name in wanted if not await asyncio.to_thread(_is_there, folder / name, wanted[name])]
    for number, name in enumerate(lacking, 1):
        await _fetch_one(bucket, name, wanted[name], folder / name)
        print(f"{number}/{len(lacking)} {name}", flush=True)  # noqa: T201 - for the log of an init container
    return len(wanted), len(lacking)


def _read(text: str) -> dict[str, str]:
    """Names and hashes."""
    found = {}
    for line in text.splitlines():
        digest, _, name = line.partition("  ")
        path = PurePosixPath(name)
        if len(digest) != 64 or not name or path.is_absolute() or ".." in path.parts:
            raise ModelsError(f"{SUMS} has a line that is not in the format of sha256sum: {line[:100]!r}")
        found[name] = digest
    if not found:
        raise ModelsError(f"{SUMS} is empty")
    return found


async def _fetch_one(bucket: Bucket, name: str, digest: str, target: Path) -> None:
    try:
        _, chunks = await bucket.get(name)
    except MissingError:
        raise ModelsError(f"{name} is missing in the bucket") from None
    target.parent.mkdir(parents=True, exist_ok=True)
    part, seen = target.with_name(f".{target.name}.part"), hashlib.sha256()
    with part.open("wb") as file:
        async for chunk in chunks:
            seen.update(chunk)
            file.write(chunk)
    if seen.hexdigest() != digest:
        part.unlink()
        raise ModelsError(f"{name} does not match {SUMS}")
    part.replace(target)


def _is_there(path: Path, digest: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest


def main(url: str, folder: str) -> int:
    """Fetch, and print the outcome."""
    try:
        endpoint, region, account = (os.environ.get(f"IMAGEGEN_{name}") or None for name in _SETTINGS)
        files, fetched = asyncio.run(fetch(open_cloud(url, endpoint, region, azure_account=account), Path(folder)))
    except (ModelsError, MissingError, RefusedError, UnreachableError) as error:
        print(f"fetch_models: {str(error) or type(error).__name__}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"{files} files are in {folder}; {fetched} were fetched")  # noqa: T201
    return 0


if __name__ == "__main__":
    code = main(*sys.argv[1:3])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # obstore's threads may still want the interpreter, and abort the process if it is being taken down
