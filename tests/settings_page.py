"""`python -m tests.settings_page`: writes docs/settings.md, of the declarations of the settings."""

from collections.abc import Iterator
from pathlib import Path

from common.settings import EnvironmentSettings, about_of, variable_of
from gateway.config import Settings as GatewaySettings
from orchestrator.config import Settings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
HEAD = """# Settings

For operators. All settings are environment variables, read once at start. A variable that is set to
nothing counts as not set. A value that is wrong ends the program with status 2 and a line that
names the variable. The embedded stack (`make up`) passes the variables that are set on to what it
starts.

This page is generated from `orchestrator/config.py` and `gateway/config.py` by
`python -m tests.settings_page`.
"""
EMBEDDED = """
## Embedded stack

| variable | default | meaning |
| -- | -- | -- |
| `IMAGEGEN_REST_PORT`, `IMAGEGEN_GRPC_PORT`, `IMAGEGEN_METRICS_PORT` | 8080, 50051, 9090 | \
ports on 127.0.0.1, in place of the addresses above |
| `IMAGEGEN_TRITON_HTTP_PORT`, `IMAGEGEN_TRITON_GRPC_PORT`, `IMAGEGEN_TRITON_METRICS_PORT` | 8000, 8001, 8002 | \
Triton's |
| `IMAGEGEN_POSTGRES_PORT` | 5433 | the embedded PostgreSQL's |
| `IMAGEGEN_DATABASE_URL` | none: the embedded PostgreSQL | a PostgreSQL of your own |
| `IMAGEGEN_STATE_DIR` | .local | database, results, logs, pids, API key |
| `IMAGEGEN_HOME` | the source folder; [elsewhere](install.md) where it cannot be written | \
`.venv`, `.triton`, `.local`, `demo` and the generated package |
| `IMAGEGEN_MODEL_REPOSITORIES` | model_repository | folders of Triton models, separated by ":" |
| `IMAGEGEN_TRITON_MODELS` | all | \
models that the CPU image serves, with commas between them |
| `IMAGEGEN_ENGINE_THREADS` | 0: one on each physical core | CPU threads of each model |
"""


def render() -> str:
    """The page."""
    return HEAD + _section("Orchestrator", Settings) + _section("Gateway", GatewaySettings) + EMBEDDED


def _section(title: str, settings: type[EnvironmentSettings]) -> str:
    return f"\n## {title}\n\n| variable | default | range | meaning |\n| -- | -- | -- | -- |\n" + "".join(
        _rows(settings)
    )


def _rows(settings: type[EnvironmentSettings]) -> Iterator[str]:
    for name, field in settings.model_fields.items():
        about = about_of(field)
        default = about.default or _text(field.default)
        bounds = "" if about.low is None else f"{_text(about.low)} to {_text(about.high)} {about.unit}".rstrip()
        meaning = field.description or ""
        yield f"| `{variable_of(name)}` | {default} | {bounds} | {meaning} |\n"


def _text(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.15g}" if isinstance(value, float) and not value.is_integer() else str(_whole(value))


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) else value


if __name__ == "__main__":
    PAGE.write_text(render(), "utf-8")
