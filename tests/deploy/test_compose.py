"""docker/compose.yaml against the images and the settings; no engine runs it here."""

import re

import yaml

from tests.deploy.tools import ROOT

TEXT = (ROOT / "docker" / "compose.yaml").read_text("utf-8")
SERVICES = yaml.safe_load(TEXT)["services"]


def test_every_image_is_built_here_or_is_the_database() -> None:
    built = {path.name.removesuffix(".Dockerfile") for path in (ROOT / "docker").glob("*.Dockerfile")}
    for name, service in SERVICES.items():
        if name != "postgres":
            found = re.fullmatch(r"\$\{IMAGEGEN_REGISTRY:-localhost\}/imagegen/([a-z-]+):\$\{.*\}", service["image"])
            assert found is not None, name
            assert found[1] in built, name


def test_variables_are_those_of_the_programs() -> None:
    known = (ROOT / "docs" / "settings.md").read_text("utf-8")
    for service in SERVICES.values():
        for variable in service.get("environment", {}):
            assert not variable.startswith("IMAGEGEN_") or f"`{variable}`" in known, variable


def test_what_is_waited_for_and_mounted_is_there() -> None:
    volumes = yaml.safe_load(TEXT)["volumes"]
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", {})) <= SERVICES.keys(), name
        assert {each.partition(":")[0] for each in service.get("volumes", [])} <= volumes.keys(), name


def test_only_what_gives_volumes_away_is_root_and_ports_are_of_loopback() -> None:
    for name, service in SERVICES.items():
        if name not in {"folders", "postgres"}:
            assert service["user"] == "10001:10001", name
        if name != "postgres":
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_there_is_no_password_that_everybody_knows() -> None:
    assert "IMAGEGEN_DB_PASSWORD:?" in TEXT
    assert not re.search(r"PASSWORD: [a-z]", TEXT)
