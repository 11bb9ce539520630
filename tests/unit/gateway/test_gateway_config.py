"""Settings: defaults, casts, and errors that name the variable."""

import pytest
from pydantic import ValidationError

from common.errors import SettingsError
from gateway.config import Address, Settings


def test_defaults() -> None:
    settings = Settings.from_env({"IMAGEGEN_REST_ADDRESS": "", "IMAGEGEN_UNKNOWN": "x"})
    assert settings == Settings()
    assert str(settings.rest_address) == "127.0.0.1:8080"
    assert settings.rest_max_body_bytes == 64 * 2**20
    assert settings.max_input_bytes == 32 * 2**20
    assert settings.rest_wait_seconds == 25


def test_every_variable() -> None:
    settings = Settings.from_env(
        {
            "IMAGEGEN_REST_ADDRESS": " 127.0.0.2:0 ",
            "IMAGEGEN_ORCHESTRATOR": "[::1]:50051",
            "IMAGEGEN_REST_WAIT_SECONDS": "0.5",
            "IMAGEGEN_OPENAI_WAIT_SECONDS": "60",
            "IMAGEGEN_OPENAI_MODELS": "dall-e-3=realistic, gpt-image-1 = fantasy",
            "IMAGEGEN_REST_MAX_BODY_BYTES": "1024",
            "IMAGEGEN_MAX_INPUT_BYTES": "2048",
            "IMAGEGEN_GRACE_SECONDS": "0",
            "IMAGEGEN_LOG_LEVEL": "DEBUG",
        }
    )
    assert settings == Settings(
        rest_address=Address("127.0.0.2", 0),
        orchestrator=Address("::1", 50051),
        rest_wait_seconds=0.5,
        openai_wait_seconds=60.0,
        openai_models={"dall-e-3": "realistic", "gpt-image-1": "fantasy"},
        rest_max_body_bytes=1024,
        max_input_bytes=2048,
        grace_seconds=0.0,
        log_level="debug",
    )
    assert str(settings.orchestrator) == "[::1]:50051"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IMAGEGEN_REST_ADDRESS", "8080"),
        ("IMAGEGEN_REST_ADDRESS", ":8080"),
        ("IMAGEGEN_REST_ADDRESS", "127.0.0.1:65536"),
        ("IMAGEGEN_ORCHESTRATOR", "host:port"),
        ("IMAGEGEN_ORCHESTRATOR", "host:٣"),
        ("IMAGEGEN_REST_WAIT_SECONDS", "soon"),
        ("IMAGEGEN_REST_WAIT_SECONDS", "nan"),
        ("IMAGEGEN_REST_WAIT_SECONDS", "601"),
        ("IMAGEGEN_REST_MAX_BODY_BYTES", "1e6"),
        ("IMAGEGEN_REST_MAX_BODY_BYTES", "1023"),
        ("IMAGEGEN_MAX_INPUT_BYTES", "1023"),
        ("IMAGEGEN_GRACE_SECONDS", "-1"),
        ("IMAGEGEN_LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}='") as caught:
        Settings.from_env({name: value})
    assert value in str(caught.value)


def test_a_picture_of_the_limit_fits_into_a_body_as_base64() -> None:
    settings = Settings()
    assert settings.max_input_bytes * 4 / 3 + 100_000 < settings.rest_max_body_bytes


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().log_level = "debug"
