"""Settings: strict casts, and errors that name the variable."""

from pathlib import Path

import pytest

from common.errors import SettingsError
from orchestrator.config import ANY_PORT, WEB_PORTS, Settings


def from_env(**variables: str) -> Settings:
    return Settings.from_env({f"IMAGEGEN_{name.upper()}": value for name, value in variables.items()})


def test_nothing_set_gives_the_defaults() -> None:
    assert Settings.from_env({}) == Settings()
    assert Settings.from_env({"IMAGEGEN_MAX_QUEUED": "  ", "PATH": "/bin", "IMAGEGEN_UNKNOWN": "x"}) == Settings()


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("grpc_address", "127.0.0.1:0", "127.0.0.1:0"),
        ("grpc_address", "[::1]:50051", "[::1]:50051"),
        ("metrics_address", "0.0.0.0:9090", "0.0.0.0:9090"),
        ("triton_url", "triton.models.svc:8001", "triton.models.svc:8001"),
        ("triton_timeout_seconds", "0.1", 0.1),
        ("families", "/etc/families.toml", Path("/etc/families.toml")),
        ("results_url", "/var/results", "/var/results"),
        ("results_url", "file:///var/results", "file:///var/results"),
        ("results_url", "s3://pictures/made here", "s3://pictures/made here"),
        ("result_links", "Gateway", "gateway"),
        ("s3_endpoint", "http://127.0.0.1:9000/", "http://127.0.0.1:9000"),
        ("s3_region", "eu-central-1", "eu-central-1"),
        ("public_url", "https://pictures.example/base/", "https://pictures.example/base"),
        ("anonymous", "true", True),
        ("max_connection_age_seconds", "60", 60.0),
        ("picture_memory", "67108864", 64 << 20),
        ("decoders", "3", 3),
        ("decode_seconds", "1", 1),
        ("max_pixels", "4096", 4096),
        ("max_input_bytes", "1024", 1024),
        ("max_input_pixels", "1073741824", 1 << 30),
        ("fetch_seconds", "0.1", 0.1),
        ("fetch_private", "True", True),
        ("fetch_private", "false", False),
        ("fetch_ports", "80, 443,9000", frozenset({80, 443, 9000})),
        ("fetch_ports", "ANY", ANY_PORT),
        ("webhook_ports", "8443", frozenset({8443})),
        ("max_in_flight", " 16 ", 16),
        ("max_queued", "0", 0),
        ("grace_seconds", "0", 0.0),
        ("health_interval_seconds", "0.05", 0.05),
        ("log_level", "DEBUG", "debug"),
    ],
)
def test_each_variable(name: str, raw: str, value: object) -> None:
    read = getattr(from_env(**{name: raw}), name)
    assert read == value
    assert type(read) is type(value) or isinstance(value, Path)


def test_every_setting_can_be_set() -> None:
    """No field without a variable: each one's wrong or right text is noticed."""
    for name in Settings.model_fields:
        try:
            changed = from_env(**{name: "https://[::1]:7"})
        except SettingsError as error:
            assert f"IMAGEGEN_{name.upper()}=" in str(error)  # noqa: PT017  # either end is right
        else:
            assert getattr(changed, name) != getattr(Settings(), name)


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        *[
            ("grpc_address", raw)
            for raw in ("localhost", ":50051", "localhost:", "localhost:x", "::1:50051", "a:65536")
        ],
        ("grpc_address", "localhost:-1"),
        ("metrics_address", "localhost:²"),
        ("triton_url", "http://localhost:8001"),
        *[("triton_timeout_seconds", raw) for raw in ("0", "nan", "inf", "1 s", "86401")],
        *[("public_url", raw) for raw in ("pictures.example", "ftp://x", "https://", "http:///path", "http://a/?q=1")],
        *[("results_url", raw) for raw in ("file://host/folder", "file:results", "http://x/y", "ftp://bucket")],
        *[("results_url", raw) for raw in ("s3://", "s3:///p", "s3://a", "s3://Bad_Name/p", "s3://bucket/?x=1")],
        *[("result_links", raw) for raw in ("true", "s3")],
        *[("s3_endpoint", raw) for raw in ("127.0.0.1:9000", "s3://x")],
        *[("max_pixels", raw) for raw in ("4095", "268435457", "1e6", "many")],
        *[("max_in_flight", raw) for raw in ("0", "1025", "1.5", "true")],
        ("max_queued", "-1"),
        *[("max_input_bytes", raw) for raw in ("1023", "536870913", "32M")],
        *[("max_input_pixels", raw) for raw in ("4095", "1073741825")],
        *[("picture_memory", raw) for raw in ("-1", "1000", "much")],
        *[("decoders", raw) for raw in ("0", "257")],
        *[("decode_seconds", raw) for raw in ("0", "601", "0.5")],
        *[("fetch_seconds", raw) for raw in ("0", "601", "nan")],
        *[("fetch_private", raw) for raw in ("1", "yes", "0")],
        *[("fetch_ports", raw) for raw in ("0", "65536", "80,", "80;443", "http", "80-90", "-1", "\u0661")],
        ("webhook_ports", "all"),
        ("grace_seconds", "-0.1"),
        ("health_interval_seconds", "0"),
        ("log_level", "loud"),
    ],
)
def test_a_wrong_value_is_refused_by_its_variable(name: str, raw: str) -> None:
    with pytest.raises(SettingsError, match=f"^IMAGEGEN_{name.upper()}="):
        from_env(**{name: raw})


def test_ports_are_those_of_web_servers_unless_the_network_is_closed() -> None:
    assert from_env().source_ports == from_env().receiver_ports == {80, 443, 8080, 8443}
    closed = from_env(fetch_private="true")
    assert (closed.source_ports, closed.receiver_ports) == (ANY_PORT, WEB_PORTS)
    closed = from_env(fetch_private="true", webhook_private="true", fetch_ports="8000")
    assert (closed.source_ports, closed.receiver_ports) == (frozenset({8000}), ANY_PORT)


@pytest.mark.parametrize("raw", ["abc", "5000"])
def test_the_message_gives_the_range(raw: str) -> None:
    with pytest.raises(SettingsError, match=rf"^IMAGEGEN_MAX_IN_FLIGHT='{raw}': .*from 1 to 1024"):
        from_env(max_in_flight=raw)


@pytest.mark.promise(
    "a server without keys that others reach",
    "`IMAGEGEN_ANONYMOUS` is refused but on loopback",
    "orchestrator/config.py",
)
@pytest.mark.parametrize(
    "address", ["0.0.0.0:1", "[::]:1", "10.0.0.7:1", "imagegen:1", "127.example.com:1", "localhost.example.com:1"]
)
def test_without_keys_only_loopback_is_served(address: str) -> None:
    with pytest.raises(SettingsError, match=r"^IMAGEGEN_ANONYMOUS is true, and IMAGEGEN_GRPC_ADDRESS="):
        from_env(grpc_address=address, anonymous="true")
    assert not from_env(grpc_address=address).anonymous


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1"])
def test_loopback_may_do_without_keys(address: str) -> None:
    assert from_env(grpc_address=address, anonymous="true").anonymous
    assert not from_env(grpc_address=address).anonymous, "but only where that is asked for"
