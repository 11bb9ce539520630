"""Settings of the orchestrator, read once from the environment. README.md lists them with units and defaults."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from orchestrator.errors import SettingsError

Number = TypeVar("Number", int, float)

Ports = frozenset[int]
"""Of servers that clients name."""
ANY_PORT: Ports = frozenset(range(1, 65536))
WEB_PORTS: Ports = frozenset({80, 443, 8080, 8443})
"""Ports of web servers. Others would let clients knock on every port of other people's machines."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# Narrower than a URL is: obstore ends the process for what it cannot read.
_ENDPOINT = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator can set.

    Attributes:
        grpc_address: host:port of the gRPC server.
        tls_cert_file: PEM file of the gRPC server's certificate and those between it and its CA; None for no TLS.
        tls_key_file: PEM file of its key.
        tls_client_ca_file: PEM file of the CAs of clients, which then need a certificate; None to ask for none.
        max_connection_age_seconds: after about so long a connection is asked to end once its calls have, so that
            clients find new replicas.
        metrics_address: host:port of the Prometheus endpoint.
        triton_url: host:port of Triton's gRPC endpoint, or several with commas between them. Each address that a host
            resolves to is a Triton of its own.
        triton_timeout_seconds: longest time for one Triton call.
        probe_seconds: a model that has answered nobody for so long is sent a known tensor.
        probe_timeout_seconds: longest time for its answer, while the model answers nobody else either.
        families: path of families.toml.
        database_url: postgresql:// URL of the database of jobs and accounts.
        database_connections: most connections of this process, beside one that listens and the worker's own.
        results_url: of the result store: a folder's path or file:// URL, or s3://BUCKET/PREFIX.
        result_links: how pictures in S3 are handed out: "presigned" (from S3 itself) or "gateway".
        s3_endpoint: http or https URL of the S3 of results_url; None for AWS's.
        s3_region: its region; None for AWS_REGION, else us-east-1.
        result_seconds: how long a picture stays in the result store.
        job_seconds: how long a job is known after its end.
        public_url: scheme and host under which the gateway serves results.
        anonymous: whether calls without an API key are taken, for the account "anonymous"; allowed on loopback only.
        price: credits that a picture costs an account whose credits are counted.
        max_pixels: largest width times height of a picture that is made.
        max_input_bytes: largest file of a client's picture.
        max_input_pixels: largest width times height of a client's picture.
        picture_memory: bytes for client pictures, received, decoded and worked on; None: by the machine or its cgroup.
        decoders: files that are decoded at a time.
        decode_seconds: longest time for decoding one.
        fetch_seconds: longest time for fetching a picture.
        fetch_private: whether pictures may be fetched from loopback and private addresses; for closed networks.
        fetch_ports: of servers that pictures may be fetched from; None: WEB_PORTS, or any where fetch_private is true.
        max_in_flight: pipelines that run at once.
        max_queued: Generate streams that may wait.
        worker_slots: durable jobs that run at once in this process; 0 for none.
        max_queued_jobs: durable jobs that may wait, in all.
        max_attempts: after so many deaths of workers under it a job fails.
        job_deadline_seconds: how long a job that cannot run for want of Triton is tried again, from its creation on.
        webhook_private: whether webhooks may go to loopback and private addresses; for closed networks.
        webhook_ports: of servers that webhooks may go to; None: as fetch_ports, by webhook_private.
        grace_seconds: time that running work has after SIGTERM.
        health_interval_seconds: time between two looks at Triton's models.
        log_level: lowest level that is logged.
        mark_pictures: whether files state in XMP that they are generated.
        c2pa_cert_file: PEM file of the certificate that signs C2PA manifests, and those between it and its CA; None
            for no manifests.
        c2pa_key_file: PEM file of its key.
        c2pa_algorithm: of the signature: es256, es384, es512, ps256, ps384, ps512 or ed25519.
        c2pa_timestamp_url: of an RFC 3161 time-stamping authority; None for none.
        c2pa_trust_file: PEM file of the CAs whose manifests Verify calls trusted; None for none.
    """

    grpc_address: str = "127.0.0.1:50051"
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_client_ca_file: Path | None = None
    max_connection_age_seconds: float = 3600.0
    metrics_address: str = "127.0.0.1:9090"
    triton_url: str = "127.0.0.1:8001"
    triton_timeout_seconds: float = 300.0
    probe_seconds: float = 10.0
    probe_timeout_seconds: float = 10.0
    families: Path = Path("families/families.toml")
    database_url: str = field(default="", repr=False)
    database_connections: int = 10
    results_url: str = ".local/results"
    result_links: str = "presigned"
    s3_endpoint: str | None = None
    s3_region: str | None = None
    result_seconds: float = 24 * 3600.0
    job_seconds: float = 7 * 24 * 3600.0
    public_url: str = "http://127.0.0.1:8080"
    anonymous: bool = False
    price: float = 1.0
    max_pixels: int = 4096 * 4096
    max_input_bytes: int = 32 * 1024 * 1024
    max_input_pixels: int = 64 * 1024 * 1024
    picture_memory: int | None = None
    decoders: int = 2
    decode_seconds: int = 60
    fetch_seconds: float = 20.0
    fetch_private: bool = False
    fetch_ports: Ports | None = None
    max_in_flight: int = 8
    max_queued: int = 256
    worker_slots: int = 4
    max_queued_jobs: int = 100_000
    max_attempts: int = 3
    job_deadline_seconds: float = 3600.0
    webhook_private: bool = False
    webhook_ports: Ports | None = None
    grace_seconds: float = 60.0
    health_interval_seconds: float = 1.0
    log_level: str = "info"
    mark_pictures: bool = True
    c2pa_cert_file: Path | None = None
    c2pa_key_file: Path | None = None
    c2pa_algorithm: str = "es256"
    c2pa_timestamp_url: str | None = None
    c2pa_trust_file: Path | None = None

    @property
    def source_ports(self) -> Ports:
        """Ports that pictures may be fetched from. A closed network's own servers listen where they like."""
        return self.fetch_ports or (ANY_PORT if self.fetch_private else WEB_PORTS)

    @property
    def receiver_ports(self) -> Ports:
        """Ports that webhooks may go to."""
        return self.webhook_ports or (ANY_PORT if self.webhook_private else WEB_PORTS)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read IMAGEGEN_<FIELD> for each field that is set.

        Raises:
            SettingsError: a value does not parse or lies out of range; the message names the variable.
        """
        values: dict[str, object] = {}
        for name, cast in _CASTS.items():
            variable = f"IMAGEGEN_{name.upper()}"
            if raw := environ.get(variable, "").strip():
                try:
                    values[name] = cast(raw)
                except ValueError as error:
                    shown = "…" if name in _SECRET else repr(raw)
                    raise SettingsError(f"{variable}={shown}: {error}") from None
        settings = cls(**values)  # type: ignore[arg-type]  # the casts of _CASTS give each field its type
        _check_tls(settings)
        if settings.anonymous and not is_loopback(settings.grpc_address):
            raise SettingsError(
                f"IMAGEGEN_ANONYMOUS is true, and IMAGEGEN_GRPC_ADDRESS={settings.grpc_address!r} is not on loopback: "
                "a server that asks for no keys would let everybody in"
            )
        return settings


def _check_tls(settings: Settings) -> None:
    """Refuse half of what TLS needs: it would serve without."""
    needs = {
        "tls_cert_file": "tls_key_file",
        "tls_key_file": "tls_cert_file",
        "tls_client_ca_file": "tls_cert_file",
        "c2pa_cert_file": "c2pa_key_file",
        "c2pa_key_file": "c2pa_cert_file",
    }
    for one, other in needs.items():
        if (path := getattr(settings, one)) is not None and getattr(settings, other) is None:
            there, missing = f"IMAGEGEN_{one.upper()}={str(path)!r}", f"IMAGEGEN_{other.upper()}"
            raise SettingsError(f"{there}: needs {missing}, which is not set")


def _address(raw: str) -> str:
    host, _, port = raw.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError("give host:port, the port from 0 to 65535")
    if not host or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        raise ValueError("give host:port, an IPv6 host in brackets")
    return raw


def _addresses(raw: str) -> str:
    return ",".join(_address(each.strip()) for each in raw.split(","))


def is_loopback(address: str) -> bool:
    """Whether host:port is reached from this machine only."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _ranged(cast: Callable[[str], Number], low: Number, high: Number) -> Callable[[str], Number]:
    def parse(raw: str) -> Number:
        try:
            number = cast(raw)
        except ValueError:
            raise ValueError(f"give {'an integer' if cast is int else 'a number'} from {low} to {high}") from None
        if not low <= number <= high:  # also catches NaN
            raise ValueError(f"must be from {low} to {high}")
        return number

    return parse


def _ports(raw: str) -> Ports:
    if raw.lower() == "any":
        return ANY_PORT
    ports = [each.strip() for each in raw.split(",")]
    if not all(each.isascii() and each.isdigit() and 0 < int(each[:6]) < 65536 for each in ports):
        raise ValueError("give ports from 1 to 65535, separated by commas, or any")
    return frozenset(map(int, ports))


def _url(raw: str) -> str:
    parts = urlsplit(raw)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("give an http or https URL with a host, without query or fragment")
    return raw.rstrip("/")


def _database_url(raw: str) -> str:
    if urlsplit(raw).scheme not in {"postgresql", "postgres"}:
        raise ValueError("give a postgresql:// URL")
    return raw


def s3_endpoint(raw: str) -> str:
    """URL of an S3 server; ValueError says what is wrong."""
    if not _ENDPOINT.fullmatch(url := raw.rstrip("/")):
        raise ValueError("give an http or https URL: a host, perhaps a port and a path")
    return url


def results_url(raw: str) -> str:
    """Where pictures may be kept; ValueError says what is wrong."""
    parts = urlsplit(raw)
    if parts.scheme not in {"", "file", "s3"} or (parts.scheme and (parts.query or parts.fragment)):
        raise ValueError("give a folder, or a URL: file:///FOLDER or s3://BUCKET/PREFIX")
    if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise ValueError("give file:// and an absolute path: file:///var/lib/imagegen")
    if parts.scheme == "s3" and not _BUCKET.fullmatch(parts.netloc):
        raise ValueError("give s3:// and the bucket's name: 3 to 63 characters of a-z 0-9 . -")
    return raw


def _links(raw: str) -> str:
    if raw.lower() not in {"presigned", "gateway"}:
        raise ValueError("give presigned or gateway")
    return raw.lower()


def _switch(raw: str) -> bool:
    if raw.lower() not in {"true", "false"}:
        raise ValueError("give true or false")
    return raw.lower() == "true"


def _algorithm(raw: str) -> str:
    known = ("es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519")  # C2PA 2.2, section 13.2.1
    if raw.lower() not in known:
        raise ValueError(f"give one of {', '.join(known)}")
    return raw.lower()


def _level(raw: str) -> str:
    if raw.lower() not in {"debug", "info", "warning", "error"}:
        raise ValueError("give debug, info, warning or error")
    return raw.lower()


_SECRET = {"database_url"}  # holds a password: not shown, however wrong it is
_CASTS: dict[str, Callable[[str], object]] = {
    "grpc_address": _address,
    "tls_cert_file": Path,
    "tls_key_file": Path,
    "tls_client_ca_file": Path,
    "max_connection_age_seconds": _ranged(float, 1.0, 30 * 86_400.0),
    "metrics_address": _address,
    "triton_url": _addresses,
    "triton_timeout_seconds": _ranged(float, 0.1, 86_400.0),
    "probe_seconds": _ranged(float, 0.1, 3600.0),
    "probe_timeout_seconds": _ranged(float, 0.1, 3600.0),
    "families": Path,
    "database_url": _database_url,
    "database_connections": _ranged(int, 2, 1000),
    "results_url": results_url,
    "result_links": _links,
    "s3_endpoint": s3_endpoint,
    "s3_region": str,
    "result_seconds": _ranged(float, 1.0, 366 * 86_400.0),
    "job_seconds": _ranged(float, 1.0, 3660 * 86_400.0),
    "public_url": _url,
    "anonymous": _switch,
    "price": _ranged(float, 0.0, 1e6),
    "max_pixels": _ranged(int, 64 * 64, 4096 * 4096),
    "max_input_bytes": _ranged(int, 1024, 512 * 1024 * 1024),
    "max_input_pixels": _ranged(int, 64 * 64, 1 << 30),
    "picture_memory": _ranged(int, 64 << 20, 1 << 42),
    "decoders": _ranged(int, 1, 256),
    "decode_seconds": _ranged(int, 1, 600),
    "fetch_seconds": _ranged(float, 0.1, 600.0),
    "fetch_private": _switch,
    "fetch_ports": _ports,
    "max_in_flight": _ranged(int, 1, 1024),
    "max_queued": _ranged(int, 0, 1_000_000),
    "worker_slots": _ranged(int, 0, 1024),
    "max_queued_jobs": _ranged(int, 0, 100_000_000),
    "max_attempts": _ranged(int, 1, 100),
    "job_deadline_seconds": _ranged(float, 1.0, 30 * 86_400.0),
    "webhook_private": _switch,
    "webhook_ports": _ports,
    "grace_seconds": _ranged(float, 0.0, 86_400.0),
    "health_interval_seconds": _ranged(float, 0.05, 60.0),
    "log_level": _level,
    "mark_pictures": _switch,
    "c2pa_cert_file": Path,
    "c2pa_key_file": Path,
    "c2pa_algorithm": _algorithm,
    "c2pa_timestamp_url": _url,
    "c2pa_trust_file": Path,
}
