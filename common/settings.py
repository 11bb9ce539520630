"""Settings, each declared once: type, range, default, unit, meaning. Read from environment variables at start.

    class Settings(EnvironmentSettings):
        fetch_seconds: float = setting(20.0, "longest time for fetching a picture", unit="s", low=0.1, high=600)

The environment variable of a field is IMAGEGEN_<FIELD>, without exception. docs/settings.md is generated from these
declarations by `python -m tests.settings_page`.
"""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from common.errors import SettingsError

PREFIX = "IMAGEGEN_"


@dataclass(frozen=True, slots=True)
class About:
    """Facts about a setting, beyond its type and default.

    Attributes:
        unit: of its number; "" for none.
        low: smallest number; None for text.
        high: largest number; None for text.
        default: as documentation writes it, where the value itself does not say it.
        secret: whether its value holds a secret, which no message may show.
    """

    unit: str = ""
    low: float | None = None
    high: float | None = None
    default: str | None = None
    secret: bool = False


def setting(
    default: object,
    meaning: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    shown: str | None = None,
    secret: bool = False,
) -> Any:  # noqa: ANN401 - a field of any type, as pydantic's Field
    """Declare a field of EnvironmentSettings.

    Args:
        default: its value where the variable is not set, or is set to nothing.
        meaning: for operators.
        unit: of a number.
        low: smallest number that is allowed.
        high: largest number that is allowed; given where `low` is.
        shown: the default as documentation writes it.
        secret: whether its value is left out of messages.
    """
    bounds: dict[str, Any] = {} if low is None else {"ge": low, "le": high}
    if isinstance(default, float):
        bounds["allow_inf_nan"] = False  # NaN is neither too small nor too large
    field: FieldInfo = Field(default, description=meaning, repr=not secret, **bounds)
    field.metadata.append(About(unit, low, high, shown, secret))
    return field


class EnvironmentSettings(BaseSettings):
    """Settings of a program: immutable, given by keywords or by `from_env`, and never read from anywhere else."""

    model_config = SettingsConfigDict(
        frozen=True,
        env_prefix=PREFIX,
        env_ignore_empty=True,
        enable_decoding=False,  # lists are not JSON
        validate_default=False,
        extra="forbid",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's interface
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take keywords alone: a program that is given its settings does not read the environment."""
        return (init_settings,)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the variables that are set; one that is set to nothing counts as not set.

        Raises:
            SettingsError: a value does not parse, is out of range, or does not go with another; the message names
                the variable.
        """
        found = _Environment(cls, environ)()
        try:
            settings = cls(**found)
        except ValidationError as error:
            raise SettingsError(cls._explain(error, found)) from None
        settings.check()
        return settings

    def check(self) -> None:
        """Check that the settings go together.

        Raises:
            SettingsError: they do not; the message names the variables.
        """

    def check_needs(self, *pairs: tuple[str, str]) -> None:
        """Check that settings which need another one have it: half of what TLS needs would serve without TLS.

        Raises:
            SettingsError: the first field of a pair is set, and the second is not.
        """
        for one, other in pairs:
            if (value := getattr(self, one)) is not None and getattr(self, other) is None:
                raise SettingsError(f"{variable_of(one)}={str(value)!r}: needs {variable_of(other)}, which is not set")

    @classmethod
    def _explain(cls, error: ValidationError, found: Mapping[str, object]) -> str:
        """The first fault, in one sentence."""
        fault = error.errors(include_url=False)[0]
        said = str(fault["msg"]).removeprefix("Value error, ")
        name = str(fault["loc"][0])
        field = cls.model_fields[name]
        about = about_of(field)
        if about.low is not None:
            kind = "a number" if field.annotation is float else "an integer"
            said = f"give {kind} from {about.low:.15g} to {about.high:.15g}"
        return f"{variable_of(name)}={'…' if about.secret else repr(found[name])}: {said}"


class _Environment(EnvSettingsSource):
    """Variables out of a mapping."""

    def __init__(self, settings: type[BaseSettings], environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): raw.strip() for name, raw in self._environ.items() if name.isupper() and raw.strip()}


def variable_of(name: str) -> str:
    """The environment variable of a field."""
    return PREFIX + name.upper()


def about_of(field: FieldInfo) -> About:
    """The facts that `setting` noted of a field."""
    return next(each for each in field.metadata if isinstance(each, About))


def parsed(read: Callable[[str], object]) -> BeforeValidator:
    """A validator of text by a function that raises ValueError; values that are not text are taken as they are."""
    return BeforeValidator(lambda raw: read(raw) if isinstance(raw, str) else raw)


def read_address(raw: str) -> str:
    """host:port, an IPv6 host in brackets.

    Raises:
        ValueError: it has another form.
    """
    host, _, port = raw.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError("give host:port, the port from 0 to 65535")
    if not host or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        raise ValueError("give host:port, an IPv6 host in brackets")
    return raw


def is_loopback(address: str) -> bool:
    """Whether host:port is reached from this machine only."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_url(raw: str) -> str:
    """An http or https URL, less the "/" at its end.

    Raises:
        ValueError: it is not one, or has a query or a fragment.
    """
    parts = urlsplit(raw)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("give an http or https URL with a host, without query or fragment")
    return raw.rstrip("/")


def _read_switch(raw: str) -> bool:
    if raw.lower() not in {"true", "false"}:
        raise ValueError("give true or false")
    return raw.lower() == "true"


def choice(*names: str) -> BeforeValidator:
    """A validator of one of several words, in any case."""

    def read(raw: str) -> str:
        if raw.lower() not in names:
            raise ValueError(f"give {', '.join(names[:-1])} or {names[-1]}")
        return raw.lower()

    return parsed(read)


HostPort = Annotated[str, parsed(read_address)]
"""An address to listen on or to connect to."""
WebUrl = Annotated[str, parsed(read_url)]
"""An http or https URL."""
Switch = Annotated[bool, parsed(_read_switch)]
"""true or false, and no other word."""
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], choice("debug", "info", "warning", "error")]
"""The lowest level that is logged."""
