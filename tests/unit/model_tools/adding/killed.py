"""`model_tools add` with a stand-in for export, killed at a certain network or amid the last moves; for test_add.py."""

import os
import shutil
import signal
import sys
from pathlib import Path

from model_tools.adding import add
from model_tools.export import write
from model_tools.export.parts import Part
from model_tools.export.verify import Check

END = sys.argv[1]
MOVES: list[Path] = []
WORKS = shutil.move


def write_part(part: Part, folder: Path, **_: object) -> write.Written:
    (folder / "1").mkdir(parents=True)
    if part.role == END:
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / "config.pbtxt").write_text(f'name: "{folder.name}"')
    return write.Written("0" * 64, Check(1e-6, 0.0), 10)


def move(source: Path, target: Path) -> None:
    MOVES.append(target)
    if END == "move" and len(MOVES) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    WORKS(source, target)


write.write_part = write_part
shutil.move = move  # type: ignore[assignment]  # takes what it is given here
sys.exit(add.main(sys.argv[2:]))
