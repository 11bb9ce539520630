"""The database's URL, checked without being shown, for it holds a password; and how a lost connection is noticed."""

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from common.errors import SettingsError

CONNECTING: dict[str, str] = {
    "application_name": "imagegen",
    "connect_timeout": "5",
    # A database whose machine has vanished says nothing more: found after 20 s, whether we wait for it or it for us.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "2",
    "tcp_user_timeout": "20000",
}
"""Parameters of libpq for every connection; those that the URL sets itself go before them."""


def with_options(url: str) -> str:
    """The URL as libpq's keywords, with CONNECTING.

    Raises:
        SettingsError: it is empty or cannot be parsed. The message does not show it.
    """
    if not url:
        raise SettingsError("IMAGEGEN_DATABASE_URL is not set: give the postgresql:// URL of the database of jobs")
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:  # whose text quotes the URL
        raise SettingsError("IMAGEGEN_DATABASE_URL: PostgreSQL's client cannot read this URL") from None
    return make_conninfo(url, **{name: value for name, value in CONNECTING.items() if name not in given})
