"""Clients' pictures by URL, wherever they are: in the web, or in a storage of the account."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from orchestrator.config import ANY_PORT
from orchestrator.database.pool import Database
from orchestrator.errors import InvalidRequestError, Violation
from orchestrator.params import RequestParams, is_storage
from orchestrator.results.storages import TARGET, Storages
from orchestrator.web.hosts import Hosts, allows
from orchestrator.web.urls import UrlError, parse

Fetch = Callable[[str, str, Hosts | None], Awaitable[bytes]]
"""Fetches an http or https URL: the URL, the request's field that errors name, the hosts allowed (None: any)."""

_HOSTS = "SELECT source_hosts FROM imagegen.accounts WHERE id = %(account)s"


@dataclass(frozen=True, slots=True)
class Sources:
    """Where pictures come from.

    Attributes:
        web: fetches what is not in a storage.
        storages: of the accounts.
        hosts: that an account may fetch from, by its id; None for any.
    """

    web: Fetch
    storages: Storages
    hosts: Callable[[int], Awaitable[Hosts | None]]

    async def fetch(self, account_id: int, url: str, field: str) -> bytes:
        """The file behind a URL of an account's; `field` is the request's field that errors name.

        Raises:
            InvalidRequestError: it cannot be had; web/fetching.py and storages.py say when.
            ResultStoreUnavailableError, DatabaseUnavailableError: the storage, or what knows of it, does not answer.
        """
        if is_storage(url):
            return await self.storages.read(account_id, url, field)
        return await self.web(url, field, await self.hosts(account_id))

    async def check(self, account_id: int, params: RequestParams) -> None:
        """Check every storage and host that a request names. Costs nothing where it names none.

        Raises:
            InvalidRequestError: the account does not have the storage, or may not fetch from the host.
            DatabaseUnavailableError: the database does not answer.
        """
        urls = {f"{field}.url": source.url for field, source in params.sources.items() if source.url is not None}
        hosts = await self.hosts(account_id) if any(not is_storage(url) for url in urls.values()) else None
        for field, url in urls.items():
            if is_storage(url):
                await self.storages.check(account_id, url, field)
            elif hosts is not None:
                _check_host(url, hosts, field)
        if params.output.target is not None:
            await self.storages.check(account_id, params.output.target, TARGET)


async def source_hosts(database: Database, account_id: int) -> Hosts | None:
    """The hosts that an account may fetch from; None for any.

    Raises:
        DatabaseUnavailableError: the database does not answer.
    """
    rows = await database.run(_HOSTS, {"account": account_id})
    hosts = rows[0]["source_hosts"] if rows else []
    return None if hosts is None else tuple(hosts)


def _check_host(url: str, hosts: Hosts, field: str) -> None:
    """What else is wrong with a URL is found when it is fetched."""
    with suppress(UrlError):
        parsed = parse(url, ports=ANY_PORT)
        if not allows(hosts, parsed):
            text = f"leads to {parsed.host[:100]}, which is not one of the account's source hosts"
            raise InvalidRequestError(Violation(field, text))
