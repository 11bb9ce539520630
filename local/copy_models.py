"""Copy models from an image into a volume, whole or not at all, each file checked against its SHA-256.

`python copy_models.py SOURCE SUMS TARGET`: exit code 1 and a line on what is wrong if a file is missing or not
what it should be. A target that holds just these files already is left as it is.
"""

import hashlib
import shutil
import sys
from pathlib import Path


def main(source: Path, sums: Path, target: Path) -> int:
    """Copy, and print the outcome."""
    wanted = read(sums)
    if is_whole(target, wanted):
        print(f"{target} has all {len(wanted)} files already")
        return 0
    for name in sorted(wanted):
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".{place.name}.part")
        shutil.copyfile(source / name, part)
        if digest(part) != wanted[name]:
            part.unlink()
            print(f"{name} does not match its SHA-256", file=sys.stderr)
            return 1
        part.replace(place)
    print(f"{len(wanted)} files are in {target}")
    return 0


def read(sums: Path) -> dict[str, str]:
    """File names and their hashes, as sha256sum writes them."""
    lines = sums.read_text("utf-8").splitlines()
    return {name: found for found, name in (line.split("  ", 1) for line in lines)}


def is_whole(target: Path, wanted: dict[str, str]) -> bool:
    """Whether a folder has every file already, unchanged."""
    return all((target / name).is_file() and digest(target / name) == found for name, found in wanted.items())


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:4])))
