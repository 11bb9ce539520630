"""TLS of the gRPC server, over real sockets: who gets in, and certificates that change while it serves."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from common.errors import SettingsError
from orchestrator.api import tls
from orchestrator.config import Settings
from tests.certificates import Authority, Mounted

CA = Authority()
OTHER = Authority("another CA")


class Served:
    """A server with a health service, at a port with TLS."""

    def __init__(self, port: int, servicer: health.aio.HealthServicer) -> None:
        self.port, self.health = port, servicer

    def channel(self, roots: bytes = CA.pem, key: bytes | None = None, chain: bytes | None = None) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(f"127.0.0.1:{self.port}", grpc.ssl_channel_credentials(roots, key, chain))

    async def check(self, channel: grpc.aio.Channel) -> int:
        async with channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        return int(answer.status)

    async def refuses(self, channel: grpc.aio.Channel) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.check(channel)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    async def shown(self) -> bytes:
        """The certificate that a new connection sees, PEM."""
        context = ssl.create_default_context(cadata=CA.pem.decode())
        context.set_alpn_protocols(["h2"])
        _, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()
        with contextlib.suppress(ssl.SSLError, OSError):
            await writer.wait_closed()
        return ssl.DER_cert_to_PEM_cert(der).encode()


@contextlib.asynccontextmanager
async def served(files: Mounted, *, mutual: bool = False) -> AsyncIterator[Served]:
    server, servicer = grpc.aio.server(), health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = tls.add_port(server, settings(files, mutual=mutual))
    await server.start()
    try:
        yield Served(port, servicer)
    finally:
        await server.stop(0)


def settings(files: Mounted, *, mutual: bool = False) -> Settings:
    ca = files.ca if mutual else None
    return Settings(grpc_address="127.0.0.1:0", tls_cert_file=files.cert, tls_key_file=files.key, tls_client_ca_file=ca)


@pytest.fixture
def files(tmp_path: Path) -> Mounted:
    return Mounted(tmp_path / "tls", *CA.sign("server"), CA.pem)


def reloads(outcome: str) -> float:
    return REGISTRY.get_sample_value("imagegen_tls_reloads_total", {"outcome": outcome}) or 0.0


@pytest.mark.promise(
    "listeners and impostors on the network",
    "TLS 1.2 or later",
    "orchestrator/api/tls.py",
)
async def test_a_client_that_trusts_the_ca_gets_in_and_no_other(files: Mounted) -> None:
    async with served(files) as server:
        assert await server.check(server.channel()) == health_pb2.HealthCheckResponse.SERVING
        await server.refuses(server.channel(OTHER.pem))
        await server.refuses(grpc.aio.insecure_channel(f"127.0.0.1:{server.port}"))


@pytest.mark.promise(
    "programs that are no client of this cluster",
    "mutual TLS",
    "orchestrator/api/tls.py",
)
async def test_mutual_tls_takes_certificates_of_its_ca_only(files: Mounted) -> None:
    chain, key = CA.sign("client")
    foreign, foreign_key = OTHER.sign("client")
    async with served(files, mutual=True) as server:
        assert await server.check(server.channel(CA.pem, key, chain)) == health_pb2.HealthCheckResponse.SERVING
        await server.refuses(server.channel())
        await server.refuses(server.channel(CA.pem, foreign_key, foreign))
        files.swap(*CA.sign("server"), OTHER.pem)  # the clients' CA rotates, too
        assert await server.check(server.channel(CA.pem, foreign_key, foreign))
        await server.refuses(server.channel(CA.pem, key, chain))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_old_tls_is_refused(files: Mounted, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cadata=CA.pem.decode())
    context.set_alpn_protocols(["h2"])
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # or this client would not offer TLS 1.1
    async with served(files) as server:
        context.minimum_version = context.maximum_version = version
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
        writer.transport.abort()
        with contextlib.suppress(ssl.SSLError, OSError):
            await writer.wait_closed()
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = ssl.TLSVersion.TLSv1_1
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", server.port, ssl=context)


async def test_certificates_change_under_twenty_streams_and_none_breaks(files: Mounted) -> None:
    async with served(files) as server, contextlib.AsyncExitStack() as stack:
        # Channels of the same options share a connection, unless each has a pool of its own.
        own = [("grpc.use_local_subchannel_pool", 1)]
        credentials = grpc.ssl_channel_credentials(CA.pem)
        address = f"127.0.0.1:{server.port}"
        channels = [grpc.aio.secure_channel(address, credentials, options=own) for _ in range(20)]
        stubs = [health_pb2_grpc.HealthStub(await stack.enter_async_context(channel)) for channel in channels]
        streams: list[Any] = [stub.Watch(health_pb2.HealthCheckRequest(service="x")) for stub in stubs]
        assert {(await stream.read()).status for stream in streams} == {health_pb2.HealthCheckResponse.SERVICE_UNKNOWN}
        before, done = await server.shown(), reloads("done")
        for state in (health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING):
            new = CA.sign("server")
            files.swap(*new, CA.pem)
            assert await server.shown() == new[0] != before
            await server.health.set("x", state)
            assert [(await stream.read()).status for stream in streams] == [state] * 20
        assert reloads("done") == done + 2


@pytest.mark.promise(
    "certificates that end",
    ("files are read again when they change; a broken one leaves the old; a metric reports the end"),
    "common/certificates.py",
)
@pytest.mark.parametrize("broken", ["cut off", "not a pair", "gone"])
async def test_broken_new_files_leave_the_old_ones(files: Mounted, broken: str) -> None:
    async with served(files) as server:
        old, failed = await server.shown(), reloads("failed")
        new, key = CA.sign("server")
        if broken == "gone":
            files.key.unlink()
        else:
            files.swap(new[:100], key) if broken == "cut off" else files.swap(new, CA.sign("x")[1])
        with capture_logs() as logs:
            assert await server.shown() == old
            assert await server.check(server.channel()) == health_pb2.HealthCheckResponse.SERVING
        (logged,) = [entry for entry in logs if entry["event"] == "tls_reload_failed"]  # once, not at each handshake
        assert "IMAGEGEN_TLS_" in logged["reason"]
        assert reloads("failed") == failed + 1
        if broken != "gone":
            files.swap(new, key)
            assert await server.shown() == new


def expiry() -> float:
    value = REGISTRY.get_sample_value("imagegen_tls_certificate_expiry_timestamp_seconds")
    assert value is not None
    return value


async def test_the_end_of_the_certificate_is_a_metric_that_follows_the_files(tmp_path: Path) -> None:
    past, later = (datetime.now(UTC).replace(microsecond=0) + timedelta(hours=hours) for hours in (-1, 5))
    files = Mounted(tmp_path / "tls", *CA.sign("server", past))
    async with served(files) as server:
        assert expiry() == past.timestamp()
        await server.refuses(server.channel())
        files.swap(*CA.sign("server", later))
        assert expiry() == later.timestamp()  # before any client has come
        assert await server.check(server.channel()) == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"cert": b""}, "TLS_CERT_FILE"),
        ({"cert": b"no certificate"}, "TLS_CERT_FILE"),
        ({"key": b"no key"}, "TLS_KEY_FILE=.*without a password"),
        ({"key": CA.sign("x")[1]}, "TLS_KEY_FILE=.*does not fit the certificate of IMAGEGEN_TLS_CERT_FILE"),
        ({"ca": b"no CA"}, "TLS_CLIENT_CA_FILE"),
    ],
)
def test_what_is_wrong_at_start_names_the_variable(
    files: Mounted, tmp_path: Path, change: dict[str, bytes], named: str
) -> None:
    chain, key = CA.sign("server")
    right = {"certificate": chain, "key": key, "ca": CA.pem}
    files.swap(**{**right, **{"certificate" if name == "cert" else name: data for name, data in change.items()}})
    with pytest.raises(SettingsError, match=named):
        tls.Certificates.from_settings(settings(files, mutual=True))
    missing = Settings(tls_cert_file=tmp_path / "none.pem", tls_key_file=files.key)
    with pytest.raises(SettingsError, match=r"TLS_CERT_FILE=.*none.pem.*No such file"):
        tls.Certificates.from_settings(missing)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["TLS_CERT_FILE"], "TLS_CERT_FILE=.*needs IMAGEGEN_TLS_KEY_FILE"),
        (["TLS_KEY_FILE"], "TLS_KEY_FILE=.*needs IMAGEGEN_TLS_CERT_FILE"),
        (["TLS_CLIENT_CA_FILE"], "TLS_CLIENT_CA_FILE=.*needs IMAGEGEN_TLS_CERT_FILE"),
    ],
)
def test_half_of_the_settings_is_refused(given: list[str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        Settings.from_env({f"IMAGEGEN_{name}": "/x.pem" for name in given})


class TakesAnyPort:
    """A server that binds nothing: tests stay on loopback."""

    def add_insecure_port(self, _address: str) -> int:
        return 1


@pytest.mark.parametrize(
    ("address", "warned"), [("0.0.0.0:50051", 1), ("[::]:50051", 1), ("127.0.0.1:1", 0), ("[::1]:1", 0)]
)
def test_a_port_without_tls_is_warned_of_where_others_can_reach_it(address: str, warned: int) -> None:
    server: Any = TakesAnyPort()
    with capture_logs() as logs:
        tls.add_port(server, Settings(grpc_address=address))
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["grpc_without_tls"] * warned
