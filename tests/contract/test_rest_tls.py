"""TLS through the gateway, over real sockets: clients to REST, REST to the orchestrator, and files that change."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from common.errors import SettingsError
from gateway.__main__ import make_server
from gateway.config import Address, Settings
from gateway.transport.tls import client_credentials
from gateway.upstream.orchestrator import open_channel
from imagegen.v1 import accounts_pb2_grpc, jobs_pb2_grpc
from orchestrator.api import tls
from orchestrator.config import Settings as OrchestratorSettings
from tests.certificates import Authority, Mounted
from tests.contract.rest_fake import KEY, FakeJobs
from tests.contract.rest_stack import NOW, TEXT_ONLY, http_server

CA, OTHER = Authority(), Authority("another CA")


@contextlib.asynccontextmanager
async def orchestrator(files: Mounted) -> AsyncIterator[tuple[int, health.aio.HealthServicer]]:
    """The fake's jobs at a port that wants clients' certificates, made by the orchestrator's own code."""
    server, healthy = grpc.aio.server(), health.aio.HealthServicer()
    jobs = FakeJobs()
    jobs_pb2_grpc.add_JobServiceServicer_to_server(jobs, server)
    accounts_pb2_grpc.add_AccountServiceServicer_to_server(jobs, server)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    settings = OrchestratorSettings(
        grpc_address="127.0.0.1:0", tls_cert_file=files.cert, tls_key_file=files.key, tls_client_ca_file=files.ca
    )
    port = tls.add_port(server, settings)
    await server.start()
    try:
        yield port, healthy
    finally:
        await server.stop(None)


class Folders:
    """Certificates of the three: the orchestrator, the gateway towards it, and the gateway towards its clients."""

    def __init__(self, folder: Path) -> None:
        self.orchestrator = Mounted(folder / "orchestrator", *CA.sign("orchestrator"), CA.pem)
        self.gateway = Mounted(folder / "gateway", *CA.sign("gateway"), CA.pem)
        self.rest = Mounted(folder / "rest", *CA.sign("rest"))

    def settings(self) -> dict[str, Path]:
        return {
            "rest_tls_cert_file": self.rest.cert,
            "rest_tls_key_file": self.rest.key,
            "orchestrator_ca_file": self.gateway.ca,
            "orchestrator_cert_file": self.gateway.cert,
            "orchestrator_key_file": self.gateway.key,
        }


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


async def ask(address: Address, authority: Authority = CA) -> httpx.Response:
    """A request over a new connection."""
    context = ssl.create_default_context(cadata=authority.pem.decode())
    async with httpx.AsyncClient(verify=context, timeout=20) as client:
        return await client.post(f"https://{address}{NOW}", json=TEXT_ONLY, headers={"X-API-KEY": KEY})


async def shown(address: Address) -> bytes:
    """The certificate that a new connection sees, PEM."""
    context = ssl.create_default_context(cadata=CA.pem.decode())
    _, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return ssl.DER_cert_to_PEM_cert(der).encode()


async def test_a_request_goes_through_tls_and_mutual_tls(folders: Folders) -> None:
    async with orchestrator(folders.orchestrator) as (port, _), http_server(port, **folders.settings()) as address:
        answer = await ask(address)
        assert answer.status_code == 200, answer.text
        with pytest.raises(httpx.ConnectError):
            await ask(address, OTHER)
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(f"http://{address}/")


@pytest.mark.promise(
    "a false orchestrator, a false gateway",
    "the gateway asks for the orchestrator's certificate, and shows its own",
    "gateway/upstream/channel.py",
)
@pytest.mark.parametrize("which", ["no certificate", "another CA's certificate", "another CA trusted"])
async def test_a_gateway_that_does_not_fit_gets_no_further(folders: Folders, which: str) -> None:
    settings = folders.settings()
    if which == "no certificate":
        del settings["orchestrator_cert_file"], settings["orchestrator_key_file"]
    elif which == "another CA's certificate":
        folders.gateway.swap(*OTHER.sign("gateway"), CA.pem)
    else:
        folders.gateway.swap(*CA.sign("gateway"), OTHER.pem)
    async with orchestrator(folders.orchestrator) as (port, _), http_server(port, **settings) as address:
        assert (await ask(address)).status_code == 503


@pytest.mark.promise(
    "the same, of REST",
    "at each handshake the newest certificate",
    "gateway/transport/tls.py",
)
async def test_the_rest_certificate_changes_and_a_broken_one_does_not(folders: Folders) -> None:
    async with orchestrator(folders.orchestrator) as (port, _), http_server(port, **folders.settings()) as address:
        context = ssl.create_default_context(cadata=CA.pem.decode())
        async with httpx.AsyncClient(verify=context, base_url=f"https://{address}") as lasting:
            assert (await lasting.get("/none")).status_code == 404
            new, key = CA.sign("rest")
            folders.rest.swap(new, key)
            assert await shown(address) == new
            with capture_logs() as logs:
                folders.rest.swap(*CA.sign("rest")[:1], CA.sign("rest")[1])
                assert [await shown(address) for _ in range(3)] == [new] * 3
            assert [entry["event"] for entry in logs].count("tls_reload_failed") == 1
            assert (await lasting.get("/none")).status_code == 404  # over the connection of before


async def test_the_channel_changes_under_running_calls_and_none_breaks(folders: Folders) -> None:
    settings = Settings(**{name: path for name, path in folders.settings().items() if name.startswith("orch")})  # type: ignore[arg-type]  # they are paths
    async with (
        orchestrator(folders.orchestrator) as (port, healthy),
        open_channel(Address("127.0.0.1", port), client_credentials(settings)) as channel,
    ):
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        streams = [watch(health_pb2.HealthCheckRequest(service="x")) for _ in range(20)]
        assert len([await stream.read() for stream in streams]) == 20  # type: ignore[attr-defined]  # a stream's
        # From now on the orchestrator and the gateway know each other by another CA only: what runs, runs on.
        folders.orchestrator.swap(*OTHER.sign("orchestrator"), OTHER.pem)
        folders.gateway.swap(*OTHER.sign("gateway"), OTHER.pem)
        late = watch(health_pb2.HealthCheckRequest(service="x"))
        await late.read()  # type: ignore[attr-defined]  # a stream's
        await healthy.set("x", health_pb2.HealthCheckResponse.SERVING)
        for stream in (*streams, late):
            assert (await stream.read()).status == health_pb2.HealthCheckResponse.SERVING  # type: ignore[attr-defined]
            stream.cancel()


@pytest.mark.parametrize(
    ("left_out", "named"),
    [
        ("rest_tls_cert_file", "IMAGEGEN_REST_TLS_KEY_FILE=.*needs IMAGEGEN_REST_TLS_CERT_FILE"),
        ("rest_tls_key_file", "IMAGEGEN_REST_TLS_CERT_FILE=.*needs IMAGEGEN_REST_TLS_KEY_FILE"),
        ("orchestrator_key_file", "IMAGEGEN_ORCHESTRATOR_CERT_FILE=.*needs IMAGEGEN_ORCHESTRATOR_KEY_FILE"),
        ("orchestrator_ca_file", "IMAGEGEN_ORCHESTRATOR_CERT_FILE=.*needs IMAGEGEN_ORCHESTRATOR_CA_FILE"),
    ],
)
def test_half_of_the_settings_is_refused(folders: Folders, left_out: str, named: str) -> None:
    variables = {f"IMAGEGEN_{name.upper()}": str(path) for name, path in folders.settings().items() if name != left_out}
    with pytest.raises(SettingsError, match=named):
        Settings.from_env(variables)


def test_files_that_do_not_fit_are_refused_at_start(folders: Folders) -> None:
    folders.rest.swap(CA.sign("rest")[0], CA.sign("rest")[1])
    named = r"IMAGEGEN_REST_TLS_KEY_FILE=.*does not fit the certificate of IMAGEGEN_REST_TLS_CERT_FILE"
    with pytest.raises(SettingsError, match=named):
        make_server(Settings(rest_tls_cert_file=folders.rest.cert, rest_tls_key_file=folders.rest.key))
    folders.gateway.ca.unlink()
    with pytest.raises(SettingsError, match=r"IMAGEGEN_ORCHESTRATOR_CA_FILE=.*No such file"):
        make_server(Settings(orchestrator_ca_file=folders.gateway.ca))
