"""Settings of the gateway, read once from the environment. README.md lists them with units and defaults."""

import dataclasses
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

Number = TypeVar("Number", int, float)


class SettingsError(Exception):
    """An environment variable is wrong. The message is for the operator and names the variable."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or connect. The host of an IPv6 address stands in brackets in text, and without them here."""

    host: str
    port: int

    @classmethod
    def parse(cls, raw: str) -> "Address":
        """Read host:port or [host]:port; the port is 0 (any free one, to listen on) to 65535.

        Raises:
            ValueError: it has another form.
        """
        host, colon, port = raw.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not (bare and colon and port.isascii() and port.isdigit() and int(port) < 65536):
            raise ValueError("give host:port, the port below 65536")
        return cls(bare, int(port))

    def __str__(self) -> str:
        """Write it as `parse` reads it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator can set.

    Attributes:
        address: where REST is served (IMAGEGEN_REST_ADDRESS).
        orchestrator: the gRPC server behind it (IMAGEGEN_ORCHESTRATOR).
        tls_cert_file: PEM file of the REST server's certificate and those between it and its CA; None for no TLS
            (IMAGEGEN_REST_TLS_CERT_FILE).
        tls_key_file: PEM file of its key (IMAGEGEN_REST_TLS_KEY_FILE).
        orchestrator_ca_file: PEM file of the CAs that the orchestrator's certificate may be of; None for no TLS
            (IMAGEGEN_ORCHESTRATOR_CA_FILE).
        orchestrator_cert_file: PEM file of this gateway's certificate for it (IMAGEGEN_ORCHESTRATOR_CERT_FILE).
        orchestrator_key_file: PEM file of that one's key (IMAGEGEN_ORCHESTRATOR_KEY_FILE).
        retry_seconds: how long a request is sent again to an orchestrator that is away, 0 to 600
            (IMAGEGEN_REST_RETRY_SECONDS).
        wait_seconds: how long process_result waits for a picture, 0 to 600 (IMAGEGEN_REST_WAIT_SECONDS).
        openai_wait_seconds: how long POST /v1/images waits for its pictures, 1 to 3,600
            (IMAGEGEN_OPENAI_WAIT_SECONDS).
        openai_models: families by the names that clients of OpenAI have for models, NAME=FAMILY and commas between
            (IMAGEGEN_OPENAI_MODELS).
        max_body_bytes: longest request body, 1 KiB to 1 GiB (IMAGEGEN_REST_MAX_BODY_BYTES).
        max_input_bytes: largest picture inside a request, 1 KiB to 1 GiB; the orchestrator's limit
            (IMAGEGEN_MAX_INPUT_BYTES).
        presets: folder of JSON files, more presets than the documented ones, or others of their names
            (IMAGEGEN_PRESETS).
        grace_seconds: time that running requests have after SIGTERM, 0 to 86,400 (IMAGEGEN_GRACE_SECONDS).
        log_level: lowest level that is logged: debug, info, warning or error (IMAGEGEN_LOG_LEVEL).
    """

    address: Address = Address("127.0.0.1", 8080)
    orchestrator: Address = Address("127.0.0.1", 50051)
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    orchestrator_ca_file: Path | None = None
    orchestrator_cert_file: Path | None = None
    orchestrator_key_file: Path | None = None
    retry_seconds: float = 10.0
    wait_seconds: float = 25.0
    openai_wait_seconds: float = 590.0
    openai_models: Mapping[str, str] = dataclasses.field(default_factory=dict)
    max_body_bytes: int = 64 * 1024 * 1024
    max_input_bytes: int = 32 * 1024 * 1024
    presets: Path | None = None
    grace_seconds: float = 60.0
    log_level: str = "info"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the variables that are set; one that is set to nothing counts as not set.

        Raises:
            SettingsError: a value does not parse or lies out of range; the message names the variable.
        """
        values: dict[str, object] = {}
        for field, (variable, cast) in _VARIABLES.items():
            if raw := environ.get(variable, "").strip():
                try:
                    values[field] = cast(raw)
                except ValueError as error:
                    raise SettingsError(f"{variable}={raw!r}: {error}") from None
        for one, other in _TOGETHER:
            if one in values and other not in values:
                there, missing = _VARIABLES[one][0], _VARIABLES[other][0]
                raise SettingsError(f"{there}={str(values[one])!r}: needs {missing}, which is not set")
        return cls(**values)  # type: ignore[arg-type]  # the casts of _VARIABLES give each field its type


def is_loopback(address: Address) -> bool:
    """Whether it is reached from this machine only."""
    try:
        return ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return address.host == "localhost"


def _ranged(cast: Callable[[str], Number], low: Number, high: Number) -> Callable[[str], Number]:
    """Make a cast to a number from low to high."""
    wanted = f"give {'an integer' if cast is int else 'a number'} from {low} to {high}"

    def parse(raw: str) -> Number:
        try:
            number = cast(raw)
        except ValueError:
            raise ValueError(wanted) from None
        if not low <= number <= high:  # also catches NaN
            raise ValueError(wanted)
        return number

    return parse


def _level(raw: str) -> str:
    if raw.lower() not in {"debug", "info", "warning", "error"}:
        raise ValueError("give debug, info, warning or error")
    return raw.lower()


def _aliases(raw: str) -> Mapping[str, str]:
    """Read NAME=FAMILY and commas between."""
    pairs = [pair.partition("=") for pair in raw.split(",") if pair.strip()]
    if not all(name.strip() and sign and family.strip() for name, sign, family in pairs):
        raise ValueError("give NAME=FAMILY, and commas between several")
    return MappingProxyType({name.strip(): family.strip() for name, _, family in pairs})


_VARIABLES: dict[str, tuple[str, Callable[[str], object]]] = {
    "address": ("IMAGEGEN_REST_ADDRESS", Address.parse),
    "orchestrator": ("IMAGEGEN_ORCHESTRATOR", Address.parse),
    "tls_cert_file": ("IMAGEGEN_REST_TLS_CERT_FILE", Path),
    "tls_key_file": ("IMAGEGEN_REST_TLS_KEY_FILE", Path),
    "orchestrator_ca_file": ("IMAGEGEN_ORCHESTRATOR_CA_FILE", Path),
    "orchestrator_cert_file": ("IMAGEGEN_ORCHESTRATOR_CERT_FILE", Path),
    "orchestrator_key_file": ("IMAGEGEN_ORCHESTRATOR_KEY_FILE", Path),
    "retry_seconds": ("IMAGEGEN_REST_RETRY_SECONDS", _ranged(float, 0.0, 600.0)),
    "wait_seconds": ("IMAGEGEN_REST_WAIT_SECONDS", _ranged(float, 0.0, 600.0)),
    "openai_wait_seconds": ("IMAGEGEN_OPENAI_WAIT_SECONDS", _ranged(float, 1.0, 3600.0)),
    "openai_models": ("IMAGEGEN_OPENAI_MODELS", _aliases),
    "max_body_bytes": ("IMAGEGEN_REST_MAX_BODY_BYTES", _ranged(int, 1024, 1024**3)),
    "max_input_bytes": ("IMAGEGEN_MAX_INPUT_BYTES", _ranged(int, 1024, 1024**3)),
    "presets": ("IMAGEGEN_PRESETS", Path),
    "grace_seconds": ("IMAGEGEN_GRACE_SECONDS", _ranged(float, 0.0, 86_400.0)),
    "log_level": ("IMAGEGEN_LOG_LEVEL", _level),
}
# Each needs the other: half of what TLS needs would serve, or call, without it.
_TOGETHER = (
    ("tls_cert_file", "tls_key_file"),
    ("tls_key_file", "tls_cert_file"),
    ("orchestrator_cert_file", "orchestrator_key_file"),
    ("orchestrator_key_file", "orchestrator_cert_file"),
    ("orchestrator_cert_file", "orchestrator_ca_file"),
)
