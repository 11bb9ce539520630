"""Settings of the orchestrator, read once from the environment. docs/settings.md lists them."""

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from common.errors import SettingsError
from common.settings import (
    EnvironmentSettings,
    HostPort,
    LogLevel,
    Switch,
    WebUrl,
    choice,
    is_loopback,
    parsed,
    read_address,
    setting,
)

Ports = frozenset[int]
"""Of servers that clients name."""
ANY_PORT: Ports = frozenset(range(1, 65536))
WEB_PORTS: Ports = frozenset({80, 443, 8080, 8443})
"""Ports of web servers. Others would let clients knock on every port of other people's machines."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_AZURE_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
CLOUDS = ("s3", "gs", "az")
"""Schemes of URLs of buckets: S3's, Google's, Azure's."""
# Narrower than a URL is: obstore ends the process for what it cannot read.
_ENDPOINT = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")


def read_mark(raw: str) -> str:
    """32 bits written as hexadecimal digits; ValueError says what is wrong."""
    if not re.fullmatch(r"[0-9A-Fa-f]{8}", raw):
        raise ValueError("give 8 hexadecimal digits, such as 1A2B3C4D")
    return raw.upper()


def read_s3_endpoint(raw: str) -> str:
    """URL of an S3 server; ValueError says what is wrong."""
    if not _ENDPOINT.fullmatch(url := raw.rstrip("/")):
        raise ValueError("give an http or https URL: a host, perhaps a port and a path")
    return url


def read_results_url(raw: str) -> str:
    """Where pictures may be kept; ValueError says what is wrong."""
    parts = urlsplit(raw)
    if parts.scheme not in {"", "file", *CLOUDS} or (parts.scheme and (parts.query or parts.fragment)):
        raise ValueError(
            "give a folder, or a URL: file:///FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
        )
    if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise ValueError("give file:// and an absolute path: file:///var/lib/imagegen")
    if parts.scheme in CLOUDS and not _BUCKET.fullmatch(parts.netloc):
        raise ValueError(f"give {parts.scheme}:// and the bucket's name: 3 to 63 characters of a-z 0-9 . _ -")
    return raw


def _azure_account(raw: str) -> str:
    if not _AZURE_ACCOUNT.fullmatch(raw):
        raise ValueError("give the name of a storage account: 3 to 24 characters of a-z 0-9")
    return raw


def _addresses(raw: str) -> str:
    return ",".join(read_address(each.strip()) for each in raw.split(","))


def _database_url(raw: str) -> str:
    if raw and urlsplit(raw).scheme not in {"postgresql", "postgres"}:
        raise ValueError("give a postgresql:// URL")
    return raw


def _ports(raw: str) -> Ports:
    if raw.lower() == "any":
        return ANY_PORT
    ports = [each.strip() for each in raw.split(",")]
    if not all(each.isascii() and each.isdigit() and 0 < int(each[:6]) < 65536 for each in ports):
        raise ValueError("give ports from 1 to 65535, separated by commas, or any")
    return frozenset(map(int, ports))


PortList = Annotated[Ports, parsed(_ports)]


class Settings(EnvironmentSettings):
    """What an operator can set."""

    grpc_address: HostPort = setting("127.0.0.1:50051", "address of the gRPC server")
    tls_cert_file: Path | None = setting(
        None, "PEM file of the gRPC server's certificate and those between it and its CA; without it no TLS"
    )
    tls_key_file: Path | None = setting(None, "PEM file of its key")
    tls_client_ca_file: Path | None = setting(
        None, "PEM file of the CAs of clients, which then need a certificate (mutual TLS)"
    )
    max_connection_age_seconds: float = setting(
        3600.0,
        "age at which a connection is asked to end once its calls have, so that clients find new replicas",
        unit="s",
        low=1,
        high=30 * 86_400,
    )
    metrics_address: HostPort = setting("127.0.0.1:9090", "address of the Prometheus endpoint, at /metrics")
    triton_url: Annotated[str, parsed(_addresses)] = setting(
        "127.0.0.1:8001",
        "Triton's gRPC endpoint, or several with commas between them; each address that a host resolves to is one"
        " Triton",
    )
    triton_timeout_seconds: float = setting(300.0, "longest time for one Triton call", unit="s", low=0.1, high=86_400)
    probe_seconds: float = setting(
        10.0, "time without an answer after which a model is sent a known tensor", unit="s", low=0.1, high=3600
    )
    probe_timeout_seconds: float = setting(
        20.0,
        "longest time for its answer, beyond three of the model's slowest executions "
        "([when Triton fails](operations.md#when-triton-fails))",
        unit="s",
        low=0.1,
        high=3600,
    )
    families: Path = setting(Path("families/families.toml"), "the model families")
    database_url: Annotated[str, parsed(_database_url)] = setting(
        "",
        "`postgresql://` URL of the database of jobs and accounts, PostgreSQL 14 or newer (tested: 15 and 18)",
        shown="none: must be set",
        secret=True,
    )
    database_connections: int = setting(
        10, "most connections of this process, in addition to one that listens and 4 of the queue", low=2, high=1000
    )
    results_url: Annotated[str, parsed(read_results_url)] = setting(
        ".local/results", "where pictures are kept: a folder, or a URL of S3, Google or Azure ([results](results.md))"
    )
    result_links: Annotated[str, choice("presigned", "gateway")] = setting(
        "presigned", "who serves pictures in S3: S3 itself (presigned), or the gateway"
    )
    s3_endpoint: Annotated[str | None, parsed(read_s3_endpoint)] = setting(
        None, "http or https URL of the S3 of `IMAGEGEN_RESULTS_URL`", shown="AWS's"
    )
    s3_region: str | None = setting(None, "its region", shown="AWS_REGION, else us-east-1")
    azure_account: Annotated[str | None, parsed(_azure_account)] = setting(
        None, "storage account of `az://` in `IMAGEGEN_RESULTS_URL`", shown="none"
    )
    result_seconds: float = setting(
        86_400.0, "how long a picture stays in the result store", unit="s", low=1, high=366 * 86_400
    )
    max_stored_bytes: int = setting(
        100 * 1024 * 1024 * 1024,
        "images in the result store, of all accounts together; when it is full, requests are refused and jobs wait",
        unit="bytes",
        low=1,
        high=1 << 60,
    )
    max_account_stored_bytes: int = setting(
        20 * 1024 * 1024 * 1024,
        "the same of each account that has no limit of its own (`accounts set --max-stored-bytes`); more get"
        " RESOURCE_EXHAUSTED",
        unit="bytes",
        low=1,
        high=1 << 60,
    )
    job_seconds: float = setting(
        7 * 86_400.0, "how long a job is known after its end", unit="s", low=1, high=3660 * 86_400
    )
    public_url: WebUrl = setting("http://127.0.0.1:8080", "base URL of results: where the gateway serves them")
    anonymous: Switch = setting(
        False, "true: calls without a key are accepted, for the account `anonymous`; on a loopback address only"
    )
    price: float = setting(
        1.0, "what a picture costs an account whose credits are counted", unit="credits", low=0, high=1e6
    )
    max_pixels: int = setting(
        200_000_000,
        "largest width times height of a result: up to 4096 x 4096 is composed at full size, the rest is enlarged as"
        " the file is written",
        unit="pixels",
        low=64 * 64,
        high=1 << 28,
    )
    max_input_bytes: int = setting(
        32 * 2**20,
        "largest file of a client's picture; a gRPC message holds two and 1 MiB",
        unit="bytes",
        low=1024,
        high=512 * 2**20,
    )
    max_input_pixels: int = setting(
        64 * 2**20,
        "largest width times height of a client's picture",
        unit="pixels",
        low=64 * 64,
        high=2**30,
    )
    picture_memory: int | None = setting(
        None,
        "memory for client pictures, received, decoded and worked on. What does not fit waits; files of waiting "
        "streams beyond a tenth are refused with a time to retry. At start defaults that do not fit are lowered, and "
        "settings that cannot fit are refused with the numbers ([files](files.md#memory))",
        unit="bytes",
        low=64 * 2**20,
        high=2**42,
        shown="80 % of what the machine or its cgroup has above 512 MiB",
    )
    decoders: int = setting(2, "files that are decoded at a time, each in a process of its own", low=1, high=256)
    decode_seconds: int = setting(60, "longest time for decoding one", unit="s", low=1, high=600)
    fetch_seconds: float = setting(20.0, "longest time for fetching a picture by its URL", unit="s", low=0.1, high=600)
    fetch_private: Switch = setting(
        False, "true: pictures may be fetched from loopback and private addresses (tests, closed networks)"
    )
    fetch_ports: PortList | None = setting(
        None,
        "ports that pictures may be fetched from, with commas between them, or `any`",
        shown="80,443,8080,8443; any where `IMAGEGEN_FETCH_PRIVATE` is true",
    )
    engine_requests: int = setting(
        0,
        "requests that may use one Triton at once; 0: as many of one shape as saturate it, as measured"
        " ([who runs when](operations.md#who-runs-when))",
        low=0,
        high=1024,
    )
    embedding_cache_bytes: int = setting(
        64 * 1024 * 1024,
        "answers of text encoders that are kept, so that a prompt that comes again is not encoded again; 0: none",
        unit="bytes",
        low=0,
        high=1 << 40,
    )
    measure_seconds: float = setting(
        20.0,
        "that measuring the networks of a Triton that nothing is known of may take, after the start and while nobody"
        " uses it; 0: they are measured only as they run",
        unit="s",
        low=0,
        high=3600,
    )
    max_in_flight: int = setting(
        8,
        "streams that run at once: that have their pictures in memory, and take their turns at Triton",
        low=1,
        high=1024,
    )
    max_queued: int = setting(
        256, "streams that may wait; excess requests are refused with a time to retry", low=0, high=1_000_000
    )
    worker_slots: int = setting(
        4, "jobs that run at once in this process; 0: it accepts jobs and runs none", low=0, high=1024
    )
    max_queued_jobs: int = setting(100_000, "jobs that may wait, in all", low=0, high=100_000_000)
    max_attempts: int = setting(
        3,
        "crashes of a process that ran a job alone, after which it fails (POISON_JOB); and attempts that ran too long"
        " (ATTEMPT_TIMEOUT)",
        low=1,
        high=100,
    )
    attempt_seconds: float = setting(
        1800.0,
        "that an attempt at a job may take; more if jobs of its cost took more than a twentieth of it lately",
        unit="s",
        low=1,
        high=30 * 86_400,
    )
    max_job_bytes: int = setting(
        8 * 1024 * 1024 * 1024,
        "images in the requests of durable jobs that wait or run, together; more get RESOURCE_EXHAUSTED",
        unit="bytes",
        low=0,
        high=1 << 50,
    )
    max_account_job_bytes: int = setting(
        2 * 1024 * 1024 * 1024, "the same, of one account", unit="bytes", low=0, high=1 << 50
    )
    job_deadline_seconds: float = setting(
        3600.0,
        "how long after its creation a job is retried while Triton or the result store is unreachable",
        unit="s",
        low=1,
        high=30 * 86_400,
    )
    webhook_private: Switch = setting(
        False, "true: webhooks may go to loopback and private addresses (tests, closed networks)"
    )
    webhook_ports: PortList | None = setting(
        None,
        "ports that webhooks may be sent to, with commas between them, or `any`",
        shown="80,443,8080,8443; any where `IMAGEGEN_WEBHOOK_PRIVATE` is true",
    )
    grace_seconds: float = setting(60.0, "time that running work has after SIGTERM", unit="s", low=0, high=86_400)
    health_interval_seconds: float = setting(
        1.0, "time between two checks of Triton's models", unit="s", low=0.05, high=60
    )
    wake_seconds: float = setting(
        0.0,
        "how long a stream waits for a family whose models no Triton serves, where Tritons are started on demand; the"
        " server is healthy meanwhile. 0: such streams are refused at once",
        unit="s",
        low=0,
        high=86_400,
    )
    otlp_endpoint: WebUrl | None = setting(
        None, "URL of an OpenTelemetry collector, OTLP over gRPC, such as http://127.0.0.1:4317; needs tracing.txt"
    )
    trace_ratio: float = setting(0.05, "share of the requests whose traces are recorded", low=0, high=1)
    log_level: LogLevel = setting("info", "lowest level that is logged: debug, info, warning or error")
    charge_filtered: Switch = setting(False, "true: a picture that the safety filter stops is paid for like any other")
    mark_pictures: Switch = setting(True, "true: files state in XMP that they are generated")
    invisible_mark: Annotated[str | None, parsed(read_mark)] = setting(
        None, "8 hexadecimal digits that generated pictures carry invisibly, such as 1A2B3C4D"
    )
    c2pa_cert_file: Path | None = setting(
        None, "PEM file of the certificate that signs C2PA manifests, and those between it and its CA"
    )
    c2pa_key_file: Path | None = setting(None, "PEM file of its key")
    c2pa_signer_url: WebUrl | None = setting(
        None,
        "in place of a key file: URL of a service that keeps the key, and answers a POST of bytes with their signature"
        " ([the protocol](responsible-use.md#a-key-that-stays-elsewhere))",
    )
    c2pa_signer_token: str | None = setting(
        None, "what that service knows this one by: Authorization: Bearer …", secret=True
    )
    c2pa_signer_seconds: float = setting(10.0, "longest time for one of its signatures", unit="s", low=0.1, high=300)
    c2pa_algorithm: Annotated[str, choice("es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519")] = setting(
        "es256", "of the signature: es256, es384, es512, ps256, ps384, ps512 or ed25519"
    )
    c2pa_timestamp_url: WebUrl | None = setting(None, "URL of an RFC 3161 time-stamping authority")
    c2pa_trust_file: Path | None = setting(None, "PEM file of the CAs whose manifests Verify calls trusted")

    @property
    def source_ports(self) -> Ports:
        """Ports that pictures may be fetched from. A closed network's own servers listen where they like."""
        return self.fetch_ports or (ANY_PORT if self.fetch_private else WEB_PORTS)

    @property
    def receiver_ports(self) -> Ports:
        """Ports that webhooks may go to."""
        return self.webhook_ports or (ANY_PORT if self.webhook_private else WEB_PORTS)

    def check(self) -> None:
        """Check that the settings go together.

        Raises:
            SettingsError: half of what TLS or C2PA needs is set; calls without keys on an address that others reach.
        """
        self.check_needs(
            ("tls_cert_file", "tls_key_file"),
            ("tls_key_file", "tls_cert_file"),
            ("tls_client_ca_file", "tls_cert_file"),
            ("c2pa_key_file", "c2pa_cert_file"),
            ("c2pa_signer_url", "c2pa_cert_file"),
            ("c2pa_signer_token", "c2pa_signer_url"),
        )
        if self.c2pa_cert_file and bool(self.c2pa_key_file) is bool(self.c2pa_signer_url):
            raise SettingsError(
                f"IMAGEGEN_C2PA_CERT_FILE={str(self.c2pa_cert_file)!r} needs either IMAGEGEN_C2PA_KEY_FILE or "
                "IMAGEGEN_C2PA_SIGNER_URL, not both"
            )
        if self.anonymous and not is_loopback(self.grpc_address):
            raise SettingsError(
                f"IMAGEGEN_ANONYMOUS is true, and IMAGEGEN_GRPC_ADDRESS={self.grpc_address!r} is not on loopback: "
                "a server that asks for no keys would let everybody in"
            )
