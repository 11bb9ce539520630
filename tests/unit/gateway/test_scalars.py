"""Numbers as clients write them."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from gateway.contract import scalars

ANYTHING = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()))


@pytest.mark.parametrize("value", [12, 12.0, "12", " 12 ", "12.0", "+12"])
def test_whole_reads(value: object) -> None:
    assert scalars.whole(100)(value) == 12


@pytest.mark.parametrize(
    "value",
    [
        True,
        None,
        -1,
        "-1",
        12.5,
        "12.5",
        "",
        "1e1",
        "0x10",
        "١٢",
        "1_000",
        101,
        1e300,
        pytest.param(10**5000, id="huge"),
        math.inf,
        math.nan,
        [],
        {},
    ],
)
def test_whole_refuses(value: object) -> None:
    with pytest.raises(PydanticCustomError):
        scalars.whole(100)(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1920, 1920), ("1920", 1920), (1024.0, 1024), ("200%", "200%"), (" 12.5 % ", "12.5%"), (0, 0)],
)
def test_side_reads(value: object, expected: int | str) -> None:
    assert scalars.side(value) == expected


@pytest.mark.parametrize("value", [True, -5, "-5", "abc", "%", "-1%", "1920px", 2**32, 0.5, None, "1" * 5000])
def test_side_refuses(value: object) -> None:
    with pytest.raises(PydanticCustomError):
        scalars.side(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (500_000, 500_000),
        ("500000", 500_000),
        ("500kb", 512_000),
        ("500 KB", 512_000),
        ("2 MB", 2_097_152),
        ("1.5mb", 1_572_864),
        ("1gb", 2**30),
        ("1g", 2**30),
        ("10b", 10),
        ("9007199254740993", 9_007_199_254_740_993),
    ],
)
def test_file_size_reads(value: object, expected: int) -> None:
    assert scalars.file_size(value) == expected


@pytest.mark.parametrize("value", ["kb", "-1kb", "many", "1tb", "1 k b", "99999999999999999999gb", -1, True, 1.5, None])
def test_file_size_refuses(value: object) -> None:
    with pytest.raises(PydanticCustomError):
        scalars.file_size(value)


@pytest.mark.parametrize(
    "value", [True, None, "x", "nan", math.inf, -math.inf, "1e400", pytest.param(10**400, id="large"), [1]]
)
def test_number_refuses(value: object) -> None:
    with pytest.raises(PydanticCustomError):
        scalars.number(value)


def outcome(read: Callable[[object], int | str], value: object) -> int | str | PydanticCustomError:
    """What is read, or the refusal."""
    try:
        return read(value)
    except PydanticCustomError as error:
        return error


@given(ANYTHING)
def test_what_is_read_fits_the_proto_and_the_rest_is_refused_in_few_words(value: object) -> None:
    for read, limit in (
        (scalars.whole(scalars.UINT32), scalars.UINT32),
        (scalars.side, scalars.UINT32),
        (scalars.file_size, scalars.UINT64),
    ):
        found = outcome(read, value)
        if isinstance(found, PydanticCustomError):
            assert len(found.message()) < 200
        else:
            assert isinstance(found, str) or 0 <= found <= limit
