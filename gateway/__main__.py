"""`python -m gateway`: serves REST until SIGTERM or SIGINT.

Exit codes: 0 stopped, 1 cannot listen, 2 wrong settings.
"""

import asyncio
import os
import signal
import socket
import sys
from functools import partial
from typing import cast

import prometheus_client
import structlog
import uvicorn

from common import logs, tracing
from common.errors import SettingsError
from common.settings import is_loopback
from gateway.app import create_app
from gateway.config import Address, Settings
from gateway.routes.calls import ShutdownSignals
from gateway.transport.connections import Connection, Connections
from gateway.transport.tls import CERT, server_context

# What a waiting request needs to write its answer, once the process is stopping.
_ANSWER_SECONDS = 1.0


class Server(uvicorn.Server):
    """uvicorn, which lets running requests finish, and has those that only wait for a job answer in time."""

    def __init__(self, config: uvicorn.Config, shutdown: ShutdownSignals, grace_seconds: float) -> None:
        super().__init__(config)
        self._shutdown = shutdown
        self._grace_seconds = grace_seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening and finish what runs, within the grace time."""
        self._shutdown.draining.set()
        waits = max(0.0, self._grace_seconds - _ANSWER_SECONDS)
        timer = asyncio.get_running_loop().call_later(waits, self._shutdown.stopping.set)
        try:
            await super().shutdown(sockets)
        finally:
            timer.cancel()


def make_server(settings: Settings) -> Server:
    """Wire the application into a server that is not running yet.

    Raises:
        SettingsError: a file of certificates or presets is missing or wrong.
    """
    shutdown, context = ShutdownSignals(), server_context(settings)
    connections = Connections(settings.rest_max_connections, settings.rest_max_connections_of_address)
    config = uvicorn.Config(
        create_app(settings, shutdown),
        http=cast("type[asyncio.Protocol]", partial(Connection, connections)),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,  # middleware.RequestContext writes a line with more in it
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=round(settings.grace_seconds) + 1,
        ssl_context_factory=None if context is None else lambda *_: context,
    )
    return Server(config, shutdown, settings.grace_seconds)


def listen(address: Address) -> socket.socket:
    """Open the listening socket.

    Raises:
        OSError: the address is taken, or not of this machine.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.create_server((address.host, address.port), family=family, backlog=2048)
    # Accepted connections inherit it. Without it the body of an answer waits up to 40 ms behind its headers; asyncio
    # sets it only on sockets that were opened with the number of TCP, which create_server leaves out.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def main() -> int:
    """Run until a signal. Returns the exit code. What stops the start is one line for a person, not a log line."""
    try:
        settings = Settings.from_env(os.environ)
        server = make_server(settings)
    except SettingsError as error:
        print(f"gateway: {error}", file=sys.stderr)  # noqa: T201
        return 2
    logs.configure(settings.log_level)
    try:
        tracing.start("imagegen-gateway", settings.otlp_endpoint, settings.trace_ratio, "0.1.0")
    except SettingsError as error:
        print(f"gateway: {error}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        if settings.rest_metrics_address is not None:
            address = settings.rest_metrics_address
            prometheus_client.start_http_server(address.port, address.host)
    except OSError as error:
        print(f"gateway: IMAGEGEN_REST_METRICS_ADDRESS={address}: cannot listen: {error}", file=sys.stderr)  # noqa: T201
        return 1
    try:
        listener = listen(settings.rest_address)
    except OSError as error:
        print(f"gateway: IMAGEGEN_REST_ADDRESS={settings.rest_address}: cannot listen: {error}", file=sys.stderr)  # noqa: T201
        return 1
    # uvicorn raises the signal again once it has stopped; with Python's own handlers that would end in exit code 143.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    log = structlog.get_logger()
    log.info("listening", address=str(Address(*listener.getsockname()[:2])), orchestrator=str(settings.orchestrator))
    if settings.rest_tls_cert_file is None and not is_loopback(str(settings.rest_address)):
        log.warning("rest_without_tls", advice=f"set {CERT}, or let an ingress or a mesh encrypt")
    server.run(sockets=[listener])
    tracing.stop()
    log.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
