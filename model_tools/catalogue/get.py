"""`python -m model_tools get NAME`: a published checkpoint is fetched from a model hub, verified, and added.

What is interrupted goes on: within a run huggingface_hub asks for the rest of a file, the next run fetches the files
that the last one did not finish, and `add` goes on from the networks that are finished.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from model_tools.adding.names import names_in
from model_tools.catalogue import entries
from model_tools.catalogue.fetching import fetch
from model_tools.checkpoints.errors import CheckpointError

FAMILIES = Path("families/families.toml")


def main(words: list[str]) -> int:
    """Fetch, verify and add one entry of the catalogue; options of `add` are passed on to it.

    Returns:
        0; 1 after an error, with one line that says it; 130 if it was stopped, to go on later.
    """
    asked, further = _parser().parse_known_args(words)
    try:
        entry = entries.find(asked.entry, asked.file)
        if asked.if_missing and entry.name in names_in(asked.families)["families"]:
            print(f"{entry.name}: {asked.families} has it")
            return 0
        from model_tools.adding import add, options  # noqa: PLC0415  # torch and diffusers take seconds

        # Of two options the later counts, so the user's come last. Wrong ones are found before anything is fetched.
        given = [*entry.options, "--families", str(asked.families), *further]
        options.parse([entry.name, "--checkpoint", entry.hub, *given])
        checkpoint = fetch(entry, asked.revision or entry.revision, asked.hub)
    except (CheckpointError, OSError, ValueError) as error:
        print(f"get: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("get: stopped; the same command goes on from what is fetched", file=sys.stderr)
        return 130
    return add.main([entry.name, "--checkpoint", str(checkpoint), *given])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m model_tools get",
        description="Fetch a checkpoint of the catalogue, verify it and add it. Options of `add` may follow.",
    )
    parser.add_argument("entry", metavar="NAME", help="of the catalogue; the family is called the same")
    parser.add_argument("--hub", metavar="URL", help="of the model hub, in place of HF_ENDPOINT or the public one")
    parser.add_argument("--revision", help="branch, tag or commit, in place of the catalogue's")
    parser.add_argument("--file", type=Path, default=entries.CATALOGUE, help="another catalogue")
    parser.add_argument("--if-missing", action="store_true", help="do nothing where there is a family of that name")
    parser.add_argument("--families", type=Path, default=FAMILIES, help="as of add")
    return parser
