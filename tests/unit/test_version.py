"""The version is common.VERSION; what cannot read it from there repeats it."""

import re

import pytest

from common import VERSION
from tests.security_page import ROOT

_REPEATED = {
    "helm/imagegen/Chart.yaml": r'^appVersion: "(.+)"$',
    **dict.fromkeys(
        (
            str(path.relative_to(ROOT))
            for path in ROOT.glob("docker/*.Dockerfile")
            if "ARG VERSION=" in path.read_text("utf-8")
        ),
        r"^ARG VERSION=(.+)$",
    ),
}


@pytest.mark.parametrize("path", _REPEATED)
def test_it_is_the_same_everywhere(path: str) -> None:
    found = re.findall(_REPEATED[path], (ROOT / path).read_text("utf-8"), re.MULTILINE)
    assert found
    assert set(found) == {VERSION}
