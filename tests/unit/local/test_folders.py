"""Where everything that is written goes."""

import ast
import os
from pathlib import Path

import pytest

from local.folders import ROOT, find_home, hash_path


def test_it_is_the_source_folder_where_that_can_be_written(tmp_path: Path) -> None:
    assert find_home({"HOME": "/home/me"}, tmp_path) == tmp_path


@pytest.mark.parametrize(
    ("environ", "home"),
    [
        ({"HOME": "/home/me"}, "/home/me/.local/share/imagegen/{}"),
        ({"HOME": "/home/me", "XDG_DATA_HOME": "/data"}, "/data/imagegen/{}"),
        ({"HOME": "/home/me", "XDG_DATA_HOME": "relative"}, "/home/me/.local/share/imagegen/{}"),
        ({"IMAGEGEN_HOME": "/srv/ig", "HOME": "/home/me"}, "/srv/ig"),
    ],
)
def test_a_read_only_source_folder_has_one_elsewhere(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], home: str
) -> None:
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)
    assert find_home(environ, Path("/usr/src/a b")) == Path(home.format(hash_path(Path("/usr/src/a b"))))


def test_without_a_home_it_stays_the_source_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container whose user has no entry in /etc/passwd: what needs a folder is set there."""
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)
    assert find_home({}, Path("/srv")) == Path("/srv")


def test_the_first_part_keeps_to_the_grammar_of_the_oldest_python_that_it_names() -> None:
    first = "__main__ doctor environments errors folders host port_owners ports progress pythons settings stubs"
    for name in first.split():
        ast.parse((ROOT / "local" / f"{name}.py").read_text(), name, feature_version=(3, 9))
