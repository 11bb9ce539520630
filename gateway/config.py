"""Settings of the gateway, read once from the environment. docs/settings.md lists them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from common.settings import EnvironmentSettings, LogLevel, WebUrl, parsed, read_address, setting

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\[\]:-]{1,253}")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or connect. The host of an IPv6 address is in brackets in text, and without them here."""

    host: str
    port: int

    @classmethod
    def parse(cls, raw: str) -> "Address":
        """Read host:port or [host]:port; the port is 0 (any free one, to listen on) to 65535.

        Raises:
            ValueError: it has another form.
        """
        host, _, port = read_address(raw).rpartition(":")
        return cls(host.removeprefix("[").removesuffix("]"), int(port))

    def __str__(self) -> str:
        """Write it as `parse` reads it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _aliases(raw: str) -> Mapping[str, str]:
    """Read NAME=FAMILY and commas between."""
    pairs = [pair.partition("=") for pair in raw.split(",") if pair.strip()]
    if not all(name.strip() and sign and family.strip() for name, sign, family in pairs):
        raise ValueError("give NAME=FAMILY, and commas between several")
    return {name.strip(): family.strip() for name, _, family in pairs}


def _origins(raw: str) -> tuple[str, ...]:
    """Read origins (RFC 6454) and commas between; "*" is any."""
    found = tuple(origin.strip().rstrip("/") for origin in raw.split(",") if origin.strip())
    if not all(origin == "*" or _ORIGIN.fullmatch(origin) for origin in found):
        raise ValueError('give origins such as https://app.example, commas between them, or "*"')
    return found


HostPort = Annotated[Address, parsed(Address.parse)]


class Settings(EnvironmentSettings):
    """What an operator can set."""

    rest_address: HostPort = setting(Address("127.0.0.1", 8080), "address where REST is served")
    orchestrator: HostPort = setting(Address("127.0.0.1", 50051), "the gRPC server behind it")
    rest_tls_cert_file: Path | None = setting(
        None, "PEM file of the REST server's certificate and those between it and its CA; without it plain HTTP"
    )
    rest_tls_key_file: Path | None = setting(None, "PEM file of its key")
    orchestrator_ca_file: Path | None = setting(
        None, "PEM file of the CAs that the orchestrator's certificate may be of; without it no TLS to the orchestrator"
    )
    orchestrator_cert_file: Path | None = setting(None, "PEM file of the gateway's own certificate (mutual TLS)")
    orchestrator_key_file: Path | None = setting(None, "PEM file of its key")
    rest_retry_seconds: float = setting(
        10.0,
        "how long a request is sent again to an orchestrator, or a database, that is unreachable",
        unit="s",
        low=0,
        high=600,
    )
    rest_wait_seconds: float = setting(25.0, "how long process_result waits for a picture", unit="s", low=0, high=600)
    openai_wait_seconds: float = setting(
        590.0, "how long `POST /v1/images/…` waits for its pictures", unit="s", low=1, high=3600
    )
    openai_models: Annotated[Mapping[str, str], parsed(_aliases)] = setting(
        {},
        "families by the names of OpenAI's models, `dall-e-3=realistic,…` ([OpenAI](openai.md))",
        shown="none",
    )
    rest_max_body_bytes: int = setting(
        64 * 2**20,
        "longest request body: one picture of the largest size in base64, and half of another",
        unit="bytes",
        low=1024,
        high=2**30,
    )
    rest_max_held_bytes: int = setting(
        128 * 2**20,
        "request bodies in memory, together: of one account half of it, and one body in any case",
        unit="bytes",
        low=1024,
        high=2**40,
    )
    rest_min_upload_rate: int = setting(
        64 * 1024,
        "what a client must send of a body each second, on average after ten seconds; 0 for any",
        unit="bytes",
        low=0,
        high=2**30,
    )
    rest_max_connections: int = setting(2048, "connections at a time", low=1, high=1_000_000)
    rest_max_connections_of_address: int = setting(
        512, "the same, of one client's address; behind a proxy set it to the number of all", low=1, high=1_000_000
    )
    max_input_bytes: int = setting(
        32 * 2**20, "largest picture inside a request, the orchestrator's limit", unit="bytes", low=1024, high=2**30
    )
    cors_origins: Annotated[tuple[str, ...], parsed(_origins)] = setting(
        (), 'origins whose pages may call every path, with commas between; "*" for any', shown="none"
    )
    presets: Path | None = setting(
        None, "folder of JSON files: more presets than the documented four, or others of their names"
    )
    grace_seconds: float = setting(60.0, "time that running requests have after SIGTERM", unit="s", low=0, high=86_400)
    otlp_endpoint: WebUrl | None = setting(
        None, "URL of an OpenTelemetry collector, OTLP over gRPC, such as http://127.0.0.1:4317; needs tracing.txt"
    )
    trace_ratio: float = setting(0.05, "share of the requests whose traces are recorded", low=0, high=1)
    rest_metrics_address: HostPort | None = setting(None, "address of the Prometheus endpoint, at /metrics")
    log_level: LogLevel = setting("info", "lowest level that is logged: debug, info, warning or error")

    def check(self) -> None:
        """Check that the settings go together.

        Raises:
            SettingsError: half of what TLS needs is set.
        """
        self.check_needs(
            ("rest_tls_cert_file", "rest_tls_key_file"),
            ("rest_tls_key_file", "rest_tls_cert_file"),
            ("orchestrator_cert_file", "orchestrator_key_file"),
            ("orchestrator_key_file", "orchestrator_cert_file"),
            ("orchestrator_cert_file", "orchestrator_ca_file"),
        )
