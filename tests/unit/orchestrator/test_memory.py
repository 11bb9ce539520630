"""Memory for pictures: from the cgroup's limit, and settings that cannot fit."""

import os
from pathlib import Path

import pytest

from common.errors import SettingsError
from orchestrator.api import transport
from orchestrator.api.receiving import large_at_once
from orchestrator.config import Settings
from orchestrator.memory import PictureMemory, service_limit
from orchestrator.tasks.memory_needs import fitted

GIB = 1 << 30
MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def machine(root: Path, cgroups: str, limits: dict[str, str]) -> Path:
    """A machine's files, as far as limits are read from them."""
    for name, text in {"proc/self/cgroup": cgroups, **limits}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.mark.parametrize(
    ("cgroups", "limits", "expected"),
    [
        ("0::/\n", {"sys/fs/cgroup/memory.max": f"{GIB}\n"}, GIB),
        ("0::/pod/box\n", {"sys/fs/cgroup/pod/box/memory.max": "max\n"}, MACHINE),
        (
            "0::/pod/box\n",
            {"sys/fs/cgroup/pod/box/memory.max": f"{2 * GIB}\n", "sys/fs/cgroup/pod/memory.max": f"{GIB}\n"},
            GIB,
        ),
        ("0::/not/mounted/here\n", {"sys/fs/cgroup/memory.max": f"{GIB}\n"}, GIB),
        (
            "5:cpu,cpuacct:/a\n4:memory:/docker/1\n",
            {"sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": f"{GIB}\n"},
            GIB,
        ),
        ("4:memory:/docker/1\n", {"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}\n"}, GIB),
        ("4:memory:/\n", {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, MACHINE),
        ("", {}, MACHINE),
    ],
)
def test_the_limit_is_the_least_of_the_cgroups_and_the_machine(
    tmp_path: Path, cgroups: str, limits: dict[str, str], expected: int
) -> None:
    assert service_limit(machine(tmp_path, cgroups, limits)) == expected


def test_this_machine_has_a_limit() -> None:
    assert 0 < service_limit() <= MACHINE


def test_one_budget_is_shared_between_what_waits_and_what_works() -> None:
    memory = PictureMemory.of(Settings(), 4 * GIB)
    assert memory.limit == 4 * GIB
    parts = memory.arriving + memory.held + memory.fetched + memory.working
    assert parts == memory.total < 4 * GIB - (512 << 20)
    assert PictureMemory.of(Settings(picture_memory=GIB), 4 * GIB).total == GIB


@pytest.mark.parametrize(("gib", "messages"), [(1, 2), (4, 8), (64, 16)])
def test_messages_that_are_received_at_a_time_follow_the_memory(gib: int, messages: int) -> None:
    settings = Settings()
    memory = PictureMemory.of(settings, gib * GIB)
    assert large_at_once(memory.arriving, transport.max_message_bytes(settings)) == messages


def test_the_defaults_fit_the_charts_limit() -> None:
    assert fitted(Settings(), PictureMemory.of(Settings(), 4 * GIB)) == Settings()


def test_a_small_machine_lowers_the_defaults_so_that_they_fit() -> None:
    memory = PictureMemory.of(Settings(), 2 * GIB)
    lowered = fitted(Settings(), memory)
    assert lowered.max_pixels < Settings().max_pixels
    assert lowered.max_input_pixels < Settings().max_input_pixels
    assert fitted(lowered, memory) == lowered


@pytest.mark.promise(
    "settings that do not fit the memory",
    "refused at start, with the numbers",
    "orchestrator/tasks/memory_needs.py",
)
@pytest.mark.parametrize(("name", "value"), [("max_input_pixels", 1 << 30), ("max_input_bytes", 512 << 20)])
def test_settings_that_cannot_fit_are_refused_with_the_numbers(name: str, value: int) -> None:
    settings = Settings.from_env({f"IMAGEGEN_{name.upper()}": str(value)})
    with pytest.raises(
        SettingsError, match=rf"IMAGEGEN_{name.upper()}={value} may need \d+ MiB, and \d+ MiB"
    ) as caught:
        fitted(settings, PictureMemory.of(settings, 4 * GIB))
    assert "of the 4096 MiB of this machine or its cgroup" in str(caught.value)
    assert f"Lower IMAGEGEN_{name.upper()}, raise the memory limit" in str(caught.value)


def test_a_machine_that_is_too_small_for_any_picture_is_named() -> None:
    with pytest.raises(SettingsError, match="of the 640 MiB of this machine or its cgroup"):
        fitted(Settings(), PictureMemory.of(Settings(), 640 << 20))
