"""Settings of the local stack."""

import dataclasses
import os
import socket
from pathlib import Path

import pytest

from local.errors import LocalError, PortInUseError
from local.settings import HOST, ROOT, Ports, Settings, check_ports_free, move_ports


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
def test_what_is_not_a_port_is_named(value: str) -> None:
    with pytest.raises(LocalError, match=f"IMAGEGEN_GRPC_PORT='{value}'"):
        Settings.from_env({"IMAGEGEN_GRPC_PORT": value})


def test_two_services_cannot_share_a_port() -> None:
    with pytest.raises(LocalError, match="each service needs a port of its own"):
        Settings.from_env({"IMAGEGEN_GRPC_PORT": "8080", "IMAGEGEN_REST_PORT": "8080"})


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
        with pytest.raises(PortInUseError, match=rf"in use by .*python.* \(process {os.getpid()}\)"):
            check_ports_free(ports, ("grpc",))


def test_a_port_that_nobody_asked_for_is_moved() -> None:
    ports = Ports.free()
    settings = Settings(ports=ports, movable=frozenset({"rest"}))
    assert move_ports(settings, ("rest", "grpc")) == (settings, [])
    with socket.socket() as taken:
        taken.bind((HOST, ports.rest))
        taken.listen()
        moved, lines = move_ports(settings, ("rest", "grpc"))
    assert moved.ports.rest not in dataclasses.astuple(ports)
    assert dataclasses.replace(moved.ports, rest=ports.rest) == ports
    (line,) = lines
    assert line.startswith(f"port {ports.rest} is in use by ")
    assert line.endswith(f"(process {os.getpid()}): rest listens on {moved.ports.rest} instead")


def test_a_port_that_was_asked_for_stays() -> None:
    ports = Ports.free()
    with socket.socket() as taken:
        taken.bind((HOST, ports.rest))
        taken.listen()
        settings = Settings.from_env({"IMAGEGEN_REST_PORT": str(ports.rest)})
        assert "rest" not in settings.movable
        assert move_ports(settings, ("rest",))[0].ports.rest == ports.rest


def test_a_default_moves_out_of_the_way_of_a_port_that_was_asked_for() -> None:
    settings = Settings.from_env({"IMAGEGEN_GRPC_PORT": "8080"})
    moved, lines = move_ports(settings, ("rest", "grpc"))
    assert moved.ports.grpc == 8080
    assert moved.ports.rest != 8080
    assert lines == [
        f"port 8080 is in use by another service of this stack: rest listens on {moved.ports.rest} instead"
    ]


def test_later_commands_find_the_ports_of_the_stack_that_runs(tmp_path: Path) -> None:
    environ = {"IMAGEGEN_STATE_DIR": str(tmp_path)}
    ports = Ports.free()
    settings = dataclasses.replace(Settings.from_env(environ), ports=ports)
    settings.write_ports()
    assert Settings.from_env(environ).ports == ports
    assert Settings.from_env({**environ, "IMAGEGEN_REST_PORT": "18080"}).ports == dataclasses.replace(ports, rest=18080)
    (tmp_path / "ports.json").write_text("{}")
    assert Settings.from_env(environ).ports == Ports()
    settings.write_ports()
    settings.forget_ports()
    assert Settings.from_env(environ).ports == Ports()
