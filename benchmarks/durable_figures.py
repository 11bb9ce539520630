"""Figures of the load of durable jobs: a table, whether it stays flat, and a picture."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.durable_load import WINDOW_SECONDS, Load, Window

ROWS = 12
"""Of the table: windows are put together where there are more."""
WIDTH, HEIGHT, MARGIN = 900, 220, 60

Series = list[tuple[float, float]]
"""(seconds, value)."""


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank; NaN of nothing."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def report(load: Load, windows: Sequence[Window]) -> str:
    """A table for people, and a verdict."""
    errors = Counter(error for window in windows for error in window.errors)
    ended = sum(len(window.ended) for window in windows)
    share = -(-len(windows) // ROWS)
    said = ", ".join(f"{count} {name}" for name, count in errors.items()) or "none"
    rises = [_slope(_later(windows, value)) for value in (memory, tail)]
    lines = [
        f"{load.rate:g} jobs/s, {load.seconds:g} s, {load.watchers} idle watchers: {ended} ended; errors: {said}",
        "",
        "| s | ended/s | CreateJob p50 ms | p99 ms | to its end p50 ms | p99 ms | under way | memory MB | CPU cores |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_row(window, share * WINDOW_SECONDS) for window in _together(windows, share)),
        "",
        f"In the last half memory rises by {rises[0]:+.2f} MB a minute, p99 to the end by {rises[1]:+.1f} ms a minute.",
    ]
    return "\n".join(lines)


def as_json(windows: Sequence[Window]) -> list[dict[str, object]]:
    """The same for programs; times in seconds."""
    return [
        {
            "at": window.at,
            "ended": len(window.ended),
            "create_p50": percentile(window.created, 0.5),
            "create_p99": percentile(window.created, 0.99),
            "end_p50": percentile(window.ended, 0.5),
            "end_p99": percentile(window.ended, 0.99),
            "under_way": window.backlog,
            "rss_mb": round(window.rss, 1),
            "cpu": round(window.cpu, 2),
            "errors": window.errors,
        }
        for window in windows
    ]


def memory(window: Window) -> float:
    """MB."""
    return window.rss


def tail(window: Window) -> float:
    """p99 from a job's creation to its end, ms."""
    return percentile(window.ended, 0.99) * 1e3


def draw(windows: Sequence[Window], path: Path) -> None:
    """Memory and p99 over time, from 0 up."""
    minutes = [window.at / 60 for window in windows]
    plots = [
        _plot(list(zip(minutes, map(memory, windows), strict=True)), "memory of the orchestrator, MB"),
        _plot(list(zip(minutes, map(tail, windows), strict=True)), "p99 from CreateJob to the end of the watch, ms"),
    ]
    cv2.imwrite(str(path), np.vstack(plots))


def _together(windows: Sequence[Window], share: int) -> list[Window]:
    """Windows of `share` neighbours put together each."""
    groups = [windows[start : start + share] for start in range(0, len(windows), share)]
    return [
        Window(
            at=group[-1].at,
            created=[value for window in group for value in window.created],
            ended=[value for window in group for value in window.ended],
            backlog=group[-1].backlog,
            rss=group[-1].rss,
            cpu=sum(window.cpu for window in group) / len(group),
        )
        for group in groups
    ]


def _row(window: Window, lasted: float) -> str:
    times = [percentile(values, share) * 1e3 for values in (window.created, window.ended) for share in (0.5, 0.99)]
    cells = [f"{window.at:.0f}", f"{len(window.ended) / lasted:.1f}", *(f"{value:.0f}" for value in times)]
    return "| " + " | ".join([*cells, str(window.backlog), f"{window.rss:.0f}", f"{window.cpu:.2f}"]) + " |"


def _later(windows: Sequence[Window], value: Callable[[Window], float]) -> Series:
    """What a value is in the last half of the time."""
    return [(window.at, value(window)) for window in windows[len(windows) // 2 :]]


def _slope(series: Series) -> float:
    """Rise in a minute, by least squares; 0 of fewer than two."""
    if len(series) < 2:
        return 0.0
    seconds, values = np.array(series).T
    return float(np.polyfit(seconds / 60, values, 1)[0])


def _plot(series: Series, title: str) -> npt.NDArray[np.uint8]:
    """One line over minutes."""
    canvas = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    most, last = max(value for _, value in series) * 1.15, max(at for at, _ in series)

    def point(at: float, value: float) -> tuple[int, int]:
        x = MARGIN + (WIDTH - 2 * MARGIN) * at / last
        return round(x), round(HEIGHT - 30 - (HEIGHT - 60) * value / most)

    def write(text: str, x: int, y: int) -> None:
        cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)

    for part in range(5):
        value = most * part / 4
        at = last * part / 4
        cv2.line(canvas, point(0, value), point(last, value), (200, 200, 200))
        write(f"{value:.0f}", 5, point(0, value)[1] + 4)
        write(f"{at:.1f} min", point(at, 0)[0] - 20, HEIGHT - 10)
    line = np.array([point(*each) for each in series], np.int32)
    cv2.polylines(canvas, [line], isClosed=False, color=(180, 90, 20), thickness=2, lineType=cv2.LINE_AA)
    write(title, MARGIN, 20)
    return canvas
