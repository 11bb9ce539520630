"""Clients' pictures by URL, wherever they are: in the web, or in a storage of the account."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from orchestrator.params import RequestParams, is_storage
from orchestrator.results.storages import TARGET, Storages

Fetch = Callable[[str, str], Awaitable[bytes]]
"""Gets the file behind an http or https URL; the second is the request's field that its errors name."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where pictures come from.

    Attributes:
        web: fetches what is not in a storage.
        storages: of the accounts.
    """

    web: Fetch
    storages: Storages

    async def fetch(self, account_id: int, url: str, field: str) -> bytes:
        """The file behind a URL of an account's; `field` is the request's field that errors name.

        Raises:
            InvalidRequestError: it cannot be had; web/fetching.py and storages.py say when.
            ResultStoreUnavailableError, DatabaseUnavailableError: the storage, or what knows of it, does not answer.
        """
        if is_storage(url):
            return await self.storages.read(account_id, url, field)
        return await self.web(url, field)

    async def check(self, account_id: int, params: RequestParams) -> None:
        """Look whether the account has every storage that a request names. Costs nothing where it names none.

        Raises:
            InvalidRequestError: it has not.
            DatabaseUnavailableError: nobody knows.
        """
        for field, source in params.sources.items():
            if source.url is not None and is_storage(source.url):
                await self.storages.check(account_id, source.url, f"{field}.url")
        if params.output.target is not None:
            await self.storages.check(account_id, params.output.target, TARGET)
