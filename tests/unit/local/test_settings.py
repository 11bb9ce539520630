"""Settings of the local stack."""

import dataclasses
import socket
from pathlib import Path

import pytest

from local.errors import LocalError, PortInUseError
from local.settings import HOST, ROOT, Ports, Settings, check_ports_free


def test_the_defaults_are_the_documented_ones() -> None:
    settings = Settings.from_env({})
    assert dataclasses.astuple(settings.ports) == (8080, 50051, 9090, 8000, 8001, 8002, 5433)
    assert settings.state_dir == ROOT / ".local"
    assert settings.repositories == (ROOT / "model_repository",)
    assert settings.rest_url == "http://127.0.0.1:8080"


def test_everything_can_be_set() -> None:
    settings = Settings.from_env(
        {
            "IMAGEGEN_STATE_DIR": "/var/state",
            "IMAGEGEN_MODEL_REPOSITORIES": "model_repository:/more",
            "IMAGEGEN_FAMILIES": "other.toml",
            "IMAGEGEN_REST_PORT": "18080",
            "IMAGEGEN_TRITON_HTTP_PORT": " ",
        }
    )
    assert settings.state_dir == Path("/var/state")
    assert settings.repositories == (ROOT / "model_repository", Path("/more"))
    assert settings.families == ROOT / "other.toml"
    assert settings.ports == Ports(rest=18080)


@pytest.mark.parametrize("value", ["0", "65536", "-1", "http", "80.5"])
def test_what_is_no_port_is_named(value: str) -> None:
    with pytest.raises(LocalError, match=f"IMAGEGEN_GRPC_PORT='{value}'"):
        Settings.from_env({"IMAGEGEN_GRPC_PORT": value})


def test_two_services_cannot_share_a_port() -> None:
    with pytest.raises(LocalError, match="each service needs a port of its own"):
        Settings.from_env({"IMAGEGEN_GRPC_PORT": "8080"})


def test_free_ports_differ() -> None:
    ports = dataclasses.astuple(Ports.free())
    assert len(set(ports)) == len(ports)


def test_a_port_in_use_is_named_with_its_variable() -> None:
    ports = Ports.free()
    check_ports_free(ports, ("rest", "grpc"))
    with socket.socket() as taken:
        taken.bind((HOST, ports.grpc))
        taken.listen()
        with pytest.raises(PortInUseError, match=f"port {ports.grpc} is in use.*make down.*IMAGEGEN_GRPC_PORT"):
            check_ports_free(ports, ("rest", "grpc"))
