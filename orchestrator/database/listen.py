"""What other processes say: PostgreSQL's notifications, heard by one connection for the whole process."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress

import psycopg
import stamina
import structlog
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from orchestrator.cancellation import cancel_and_wait
from orchestrator.database.urls import with_options

log = structlog.get_logger()

EVENTS = "imagegen_events"
"""Something happened to the job whose id is the payload."""
DELIVERIES = "imagegen_deliveries"
"""A webhook is due."""
ACCOUNTS = "imagegen_accounts"
"""Keys or accounts were changed."""
QUEUE = "imagegen_queue"
"""A durable job waits for its start."""
CHANNELS = (EVENTS, DELIVERIES, ACCOUNTS, QUEUE)

_KEEPALIVES = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=2"

Callback = Callable[[str | None], None]
"""Takes the payload of a notification, or None: anything may have happened, since the listener was disconnected."""


class Listener:
    """Calls subscribers when they are notified.

    Notifications are lost while the connection is down. So whenever a connection begins, the first one too, every
    subscriber is called with None, to query the database itself.
    """

    def __init__(self, url: str, process_id: str | None = None) -> None:
        """Nothing is opened yet.

        Args:
            url: of the database.
            process_id: of the process, which the connection shows to the others: as long as it is there the process
                has not crashed, however long it says nothing. A machine that vanishes is noticed after 20 s.

        Raises:
            SettingsError: the URL cannot be read.
        """
        self._conninfo = with_options(url)
        if process_id is not None:
            given = conninfo_to_dict(self._conninfo).get("options") or ""
            self._conninfo = make_conninfo(
                self._conninfo, application_name=f"imagegen-{process_id}", options=f"{given} {_KEEPALIVES}".strip()
            )
        self._subscribers: dict[str, list[Callback]] = defaultdict(list)
        self._running: asyncio.Task[None] | None = None

    def subscribe(self, channel: str, callback: Callback) -> Callable[[], None]:
        """Have a function called in the event loop on each notification of a channel of CHANNELS.

        It shall return at once and raise nothing. Returns what unsubscribes it.
        """
        if channel not in CHANNELS:
            raise ValueError(f"unknown channel {channel!r}")
        subscribers = self._subscribers[channel]
        subscribers.append(callback)

        def unsubscribe() -> None:
            with suppress(ValueError):  # a second time
                subscribers.remove(callback)

        return unsubscribe

    async def start(self) -> None:
        """Begin to connect, without waiting for it."""
        self._running = asyncio.create_task(self._run(), name="listen to PostgreSQL")

    async def close(self) -> None:
        """Close the connection; nobody is called any more."""
        if self._running is not None:
            await cancel_and_wait(self._running)

    async def _run(self) -> None:
        while True:
            try:
                async with await self._connect() as connection:
                    log.info("listening")
                    self._wake_all()
                    async for note in connection.notifies():
                        self._call(note.channel, note.payload)
            except psycopg.OperationalError as error:
                log.warning("listening_interrupted", error=str(error))
            except Exception:  # whatever it was: a listener that is gone would leave watchers waiting forever
                log.exception("listening_failed")

    async def _connect(self) -> psycopg.AsyncConnection:
        """A connection that listens to all channels, however long it takes to get one; tried 0.1 to 2 s apart."""
        retrying = stamina.retry_context(
            on=psycopg.Error, attempts=None, timeout=None, wait_initial=0.1, wait_max=2.0, wait_jitter=0.2
        )
        async for attempt in retrying:
            with attempt:
                connection = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)
                try:
                    for channel in CHANNELS:
                        await connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
                except BaseException:
                    await connection.close()
                    raise
                return connection
        raise AssertionError("retried without end")

    def _wake_all(self) -> None:
        for channel in CHANNELS:
            self._call(channel, None)

    def _call(self, channel: str, payload: str | None) -> None:
        for callback in tuple(self._subscribers[channel]):  # it may unsubscribe
            try:
                callback(payload)
            except Exception:  # one subscriber's fault is not the others'
                log.exception("subscriber_failed", channel=channel)
