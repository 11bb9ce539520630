"""API keys: their form, what is shown of them, which are refused."""

import hashlib

import pytest

from orchestrator.accounts import keys
from orchestrator.errors import PreconditionError


def test_a_key_has_256_bits_and_is_new_each_time() -> None:
    made = {keys.make() for _ in range(100)}
    assert len(made) == 100
    for key in made:
        assert len(key) == 46
        assert key.startswith("ig_")
        assert key.removeprefix("ig_").replace("-", "").replace("_", "").isalnum()
        keys.check(key)


def test_it_is_stored_by_its_sha256_and_known_by_its_prefix() -> None:
    key = keys.make()
    assert keys.digest(key) == hashlib.sha256(key.encode()).digest()
    assert keys.prefix(key) == key[:11]
    assert keys.prefix("0123456789abcdef" * 2) == "0123", "little is shown of a key that may be short"


@pytest.mark.parametrize(
    "key", ["", "x" * 31, "ab" * 20, "0123456789abcdef0123456789abcde", "k" * 257, " " * 40, "é" * 40, "a b" * 20]
)
def test_a_weak_key_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(PreconditionError) as caught:
        keys.check(key)
    assert not key.strip() or key not in str(caught.value)
