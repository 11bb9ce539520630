"""`python -m model_tools COMMAND …`: adding models, building engines, training what ships with the repository."""

from __future__ import annotations

import sys
from importlib import import_module

COMMANDS = {
    "add": "model_tools.adding.add",
    "add-embedding": "model_tools.adding.add_embedding",
    "add-lora": "model_tools.adding.add_lora",
    "catalogue": "model_tools.catalogue.catalogue",
    "get": "model_tools.catalogue.get",
    "engines": "model_tools.export.engines_command",
    "starter": "model_tools.training.starter.command",
    "tools": "model_tools.training.tool_networks.command",
}


def main(words: list[str]) -> int:
    """Run a command by its name; its module is loaded then, since not all need torch."""
    if not words or words[0] not in COMMANDS:
        print("usage: python -m model_tools {" + ",".join(COMMANDS) + "} …  (see --help of each)", file=sys.stderr)
        return 0 if words[:1] in (["-h"], ["--help"]) else 2
    code: int = import_module(COMMANDS[words[0]]).main(words[1:])
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
