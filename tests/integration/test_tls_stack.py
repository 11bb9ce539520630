"""A picture through the whole stack, encrypted at every hop but the one to Triton, which is real."""

import asyncio
import ssl
from pathlib import Path

import httpx
from prometheus_client import REGISTRY

from gateway.__main__ import listen, make_server
from gateway.config import Address
from gateway.config import Settings as GatewaySettings
from tests.accounts import new_key
from tests.certificates import Authority, Mounted
from tests.integration.stack import serving, settings

CA = Authority()


async def test_a_picture_comes_through_tls_and_again_after_all_certificates_changed(
    tiny_triton: int, tmp_path: Path
) -> None:
    inner = Mounted(tmp_path / "orchestrator", *CA.sign("orchestrator"), CA.pem)
    gateway = Mounted(tmp_path / "gateway", *CA.sign("gateway"), CA.pem)
    outer = Mounted(tmp_path / "rest", *CA.sign("rest"))
    listener = listen(Address("127.0.0.1", 0))
    base = f"https://127.0.0.1:{listener.getsockname()[1]}"
    tls = {"tls_cert_file": inner.cert, "tls_key_file": inner.key, "tls_client_ca_file": inner.ca}
    config = settings(tiny_triton, tmp_path, anonymous=False, public_url=base, **tls)
    key = await new_key(config.database_url, "test")
    async with serving(config) as (orchestrator, _):
        gateway_settings = GatewaySettings(
            orchestrator=Address("127.0.0.1", orchestrator.grpc_port),
            rest_tls_cert_file=outer.cert,
            rest_tls_key_file=outer.key,
            orchestrator_ca_file=gateway.ca,
            orchestrator_cert_file=gateway.cert,
            orchestrator_key_file=gateway.key,
        )
        server = make_server(gateway_settings)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await picture(base, CA, key)
            other = Authority("the next CA")
            inner.swap(*other.sign("orchestrator"), other.pem)
            gateway.swap(*other.sign("gateway"), other.pem)
            outer.swap(*other.sign("rest"))
            await picture(base, other, key)
        finally:
            server.should_exit = True
            await running
    assert REGISTRY.get_sample_value("imagegen_tls_reloads_total", {"outcome": "done"})


async def picture(base: str, authority: Authority, key: str) -> None:
    """Ask for one by a client that trusts that CA alone, and read it."""
    context = ssl.create_default_context(cadata=authority.pem.decode())
    async with httpx.AsyncClient(verify=context, base_url=base, headers={"X-API-KEY": key}, timeout=60) as client:
        body = {"width": 64, "height": 64, "background": {"generate": {"description": "a red apple"}}}
        answer = await client.post("/rest_api/process_result", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["result_url"].startswith(base)
        file = await client.get(answer.json()["result_url"])
        assert file.headers["content-type"].startswith("image/")
        assert len(file.content) > 100
