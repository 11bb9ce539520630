"""Settings: each declared once, documented from its declaration, refused by its variable."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import ValidationError

from common.errors import SettingsError
from common.settings import EnvironmentSettings, HostPort, Switch, about_of, setting
from gateway.config import Settings as GatewaySettings
from local.folders import ROOT
from local.ports import Ports, port_variable
from orchestrator.config import Settings as OrchestratorSettings
from tests.settings_page import PAGE, render


class Example(EnvironmentSettings):
    """Settings of this test."""

    address: HostPort = setting("127.0.0.1:1", "an address")
    count: int = setting(3, "a number", low=1, high=9)
    seconds: float = setting(0.5, "a time", unit="s", low=0.1, high=1e6)
    switch: Switch = setting(False, "a switch")
    password: str = setting("", "a secret", secret=True)
    path: Path | None = setting(None, "a file")
    other: Path | None = setting(None, "its other half")

    def check(self) -> None:
        self.check_needs(("path", "other"))


def test_the_page_is_that_of_the_declarations() -> None:
    """`python -m tests.settings_page` writes it."""
    assert PAGE.read_text("utf-8") == render()


def test_the_embedded_stack_is_on_the_page() -> None:
    """Its settings are read before anything is installed, and so by the standard library: the page has a table."""
    text = "".join(path.read_text("utf-8") for path in (ROOT / "local").glob("*.py"))
    read = set(re.findall(r'environ\.get\("(IMAGEGEN_\w+)"', text)) | {
        port_variable(field.name) for field in fields(Ports)
    }
    assert len(read) > 9
    assert [name for name in sorted(read) if f"`{name}`" not in PAGE.read_text("utf-8")] == []


@pytest.mark.parametrize("settings", [OrchestratorSettings, GatewaySettings])
def test_every_setting_says_what_it_means(settings: type[EnvironmentSettings]) -> None:
    for name, field in settings.model_fields.items():
        assert field.description, name
        about = about_of(field)
        is_number = field.annotation in {int, float, int | None}
        assert (about.low is not None) == is_number, f"{name}: a number has a range"
        if name.endswith(("_seconds", "_bytes", "_pixels")):
            assert about.unit, name


def test_variables_of_both_programs_mean_the_same() -> None:
    for name in OrchestratorSettings.model_fields.keys() & GatewaySettings.model_fields.keys():
        assert OrchestratorSettings.model_fields[name].default == GatewaySettings.model_fields[name].default, name


def test_what_is_set_is_read_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEGEN_COUNT", "7")
    assert Example().count == 3, "keywords alone"
    assert Example.from_env({}).count == 3, "the mapping alone"
    read = Example.from_env({"IMAGEGEN_COUNT": " 9 ", "IMAGEGEN_SWITCH": "TRUE", "IMAGEGEN_PATH": "", "COUNT": "1"})
    assert (read.count, read.switch, read.path) == (9, True, None)


@pytest.mark.parametrize(
    ("name", "raw", "said"),
    [
        *[("COUNT", raw, "give an integer from 1 to 9") for raw in ("0", "10", "1.5", "x", "1e0", "true", "\u0663x")],
        *[("SECONDS", raw, "give a number from 0.1 to 1000000") for raw in ("0", "nan", "inf", "-inf", "1 s", "2e6")],
        *[("SWITCH", raw, "give true or false") for raw in ("1", "yes", "on", "t")],
        *[("ADDRESS", raw, "give host:port") for raw in ("8080", ":1", "a:65536", "::1:1", "a:\u0663")],
    ],
)
def test_a_wrong_value_is_named_with_what_is_right(name: str, raw: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Example.from_env({f"IMAGEGEN_{name}": raw})
    assert str(caught.value).startswith(f"IMAGEGEN_{name}={raw!r}: {said}")


def test_half_of_a_pair_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^IMAGEGEN_PATH='/a': needs IMAGEGEN_OTHER, which is not set$"):
        Example.from_env({"IMAGEGEN_PATH": "/a"})
    assert Example.from_env({"IMAGEGEN_PATH": "/a", "IMAGEGEN_OTHER": "/b"}).other == Path("/b")


def test_a_secret_is_shown_nowhere() -> None:
    wrong = "mysql://user:secret@host/db"
    with pytest.raises(SettingsError, match=r"^IMAGEGEN_DATABASE_URL=…: give a postgresql:// URL$") as caught:
        OrchestratorSettings.from_env({"IMAGEGEN_DATABASE_URL": wrong})
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "secret" not in repr(OrchestratorSettings(database_url="postgresql://user:secret@host/db"))


def test_settings_do_not_change_and_have_no_others() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Example().count = 4
    with pytest.raises(ValidationError, match="not permitted"):
        Example(cuont=4)  # type: ignore[call-arg]
