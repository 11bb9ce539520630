"""A run: tables of cases, mutations and floods against one stack, with another client next to them."""

import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagegen.v1 import generation_pb2 as pb
from tests.contract.test_rest_connections import HEADS
from tests.hostile import cases, floods, mutations
from tests.hostile.client import Attacker, Tally, attacker
from tests.hostile.stack import Stack
from tests.integration.stack import REPOSITORY

EDIT = "/imagegen.v1.GenerationService/Generate"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of it.

    Attributes:
        mutations: in all; of messages 45 %, JSON 28 %, heads 25 %, picture files 2 %, which take longest.
        flood_seconds: for which a flood lasts that has no end of its own.
        floods: names of them; empty for all.
        seed: of the mutations.
    """

    mutations: int = 60_000
    flood_seconds: float = 5.0
    floods: tuple[str, ...] = ()
    seed: int = 1


@dataclass
class Phase:
    """What one attack came to; memory in MB, times in seconds."""

    name: str
    sent: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    p99: dict[str, float] = field(default_factory=dict)
    asked: int = 0
    faults: list[str] = field(default_factory=list)
    kills: int = 0


class Run:
    """The phases of a run, as they come."""

    def __init__(self, stack: Stack, folder: Path, report: Callable[[Phase, "Run"], None] = lambda *_: None) -> None:
        self.stack, self.phases = stack, list[Phase]()
        self._lines, self._report = folder / "probe.jsonl", report

    @contextlib.asynccontextmanager
    async def probing(self) -> AsyncIterator[None]:
        """Let another client ask all the time."""
        with self._lines.open("wb") as lines:
            arguments = (str(self.stack.rest_port), str(self.stack.grpc_port), self.stack.neighbour)
            probe = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.hostile.probe", *arguments, cwd=REPOSITORY, stdout=lines
            )
            try:
                yield
            finally:
                probe.kill()
                await probe.wait()

    async def phase(self, name: str, work: Callable[[Tally], Awaitable[None]]) -> Phase:
        """Do an attack, and note what it came to."""
        phase, tally = Phase(name), Tally()
        phase.before = {program.name: program.memory() for program in self.stack.programs}
        kills = sum(program.oom_kills() for program in self.stack.programs)
        started = time.time()
        await work(tally)
        await self._settle()
        ended = time.time()
        phase.sent, phase.wrong, phase.seconds = tally.sent, tally.wrong, ended - started
        phase.after = {program.name: program.memory() for program in self.stack.programs}
        phase.kills = sum(program.oom_kills() for program in self.stack.programs) - kills
        phase.kills += sum(not program.is_alive for program in self.stack.programs)
        self._judge(phase, started, ended)
        self.phases.append(phase)
        self._report(phase, self)
        return phase

    async def _settle(self) -> None:
        """Wait until the other client is answered as before, half a minute at most. It is part of the attack."""
        for _ in range(30):
            await asyncio.sleep(1.0)
            newest = self._lines.read_text("utf-8").splitlines()[-4:]
            with contextlib.suppress(ValueError):
                if all(time.time() - (found := json.loads(each))["at"] < 3.0 > found["seconds"] for each in newest):
                    return

    def _judge(self, phase: Phase, started: float, ended: float) -> None:
        seconds: dict[str, list[float]] = {}
        for line in self._lines.read_text("utf-8").splitlines():
            with contextlib.suppress(ValueError):
                found: dict[str, Any] = json.loads(line)
                if started <= found["at"] <= ended:
                    seconds.setdefault(found["name"], []).append(found["seconds"])
                    if found["fault"]:
                        phase.faults.append(f"{found['name']}: {found['fault']}")
        phase.asked = sum(map(len, seconds.values()))
        for name, values in seconds.items():
            phase.p99[name] = round(sorted(values)[int(len(values) * 0.99)], 3)


async def run(stack: Stack, plan: Plan, folder: Path, report: Callable[[Phase, "Run"], None] = lambda *_: None) -> Run:
    """Everything, one after another."""
    found = Run(stack, folder, report)
    async with found.probing(), attacker(stack) as hands:
        await asyncio.sleep(2.0)  # the other client warms up
        await found.phase("nothing", _nothing)
        await found.phase("cases: REST", lambda tally: _rest_cases(hands, tally))
        await found.phase("cases: gRPC", lambda tally: _grpc_cases(hands, tally))
        await found.phase("cases: heads", lambda tally: _heads(hands, tally))
        await found.phase("cases: files", lambda tally: _files(hands, tally))
        for name, share, work in (
            ("messages", 0.45, _messages),
            ("JSON", 0.28, _documents),
            ("heads", 0.25, _mutated_heads),
            ("picture files", 0.02, _pictures),
        ):
            number = round(plan.mutations * share)
            await found.phase(
                f"mutations: {name}",
                lambda tally, work=work, number=number: work(hands, tally, random.Random(plan.seed), number),  # type: ignore[misc]  # noqa: S311
            )
        for name, flood in floods.FLOODS.items():
            if not plan.floods or name in plan.floods:
                await found.phase(name, lambda tally, flood=flood: flood(hands, tally, plan.flood_seconds))  # type: ignore[misc]
        await asyncio.sleep(5.0)
        await found.phase("nothing, after it all", _nothing)
    return found


async def _nothing(_tally: Tally) -> None:
    await asyncio.sleep(5.0)


async def _all(works: Iterable[Callable[[], Awaitable[None]]], at_once: int) -> None:
    """Do all, a limited number at a time."""
    waiting = iter(works)

    async def one() -> None:
        for work in waiting:
            await work()

    await asyncio.gather(*(one() for _ in range(at_once)))


async def _rest_cases(hands: Attacker, tally: Tally) -> None:
    async def body(case: cases.RestCase) -> None:
        tally.note(case.name, await hands.post(case.body, case.echo, case.headers))

    async def path(text: str) -> None:
        for method in ("GET", "DELETE", "PUT"):
            tally.note(f"{method} {text[:60]}", await hands.ask(method, text))

    await _all((lambda case=case: body(case) for case in cases.rest_cases()), 8)  # type: ignore[misc]
    await _all((lambda text=text: path(text) for text in cases.PATHS), 4)  # type: ignore[misc]


async def _grpc_cases(hands: Attacker, tally: Tally) -> None:
    async def one(name: str, method: str, message: bytes) -> None:
        tally.note(name, await hands.call(method, message))

    await _all((lambda case=case: one(*case) for case in cases.grpc_cases()), 8)  # type: ignore[misc]


async def _heads(hands: Attacker, tally: Tally) -> None:
    for name, (text, _) in HEADS.items():
        tally.note(name, await hands.raw(text.encode("latin-1")))


async def _files(hands: Attacker, tally: Tally) -> None:
    for name, data in cases.files().items():
        request = pb.GenerateRequest(edit=pb.Edit(image=pb.ImageSource(data=data)))
        tally.note(name, await hands.call(EDIT, request.SerializeToString()))


async def _messages(hands: Attacker, tally: Tally, rng: random.Random, number: int) -> None:
    originals = mutations.messages()

    async def one(at: int) -> None:
        method, message = originals[at % len(originals)]
        data = mutations.mutate(message, rng)
        tally.note(f"{method} {data[:40].hex()}", await hands.call(method, data))

    await _all((lambda at=at: one(at) for at in range(number)), 16)  # type: ignore[misc]


async def _documents(hands: Attacker, tally: Tally, rng: random.Random, number: int) -> None:
    texts = mutations.documents(rng)

    async def one() -> None:
        text = next(texts)
        tally.note(text[:100].decode("utf-8", "replace"), await hands.post(text))

    await _all((one for _ in range(number)), 16)


async def _mutated_heads(hands: Attacker, tally: Tally, rng: random.Random, number: int) -> None:
    originals = mutations.heads(hands.stack.attacker)

    async def one(at: int) -> None:
        data = mutations.mutate(originals[at % len(originals)], rng)
        tally.note(repr(data[:80]), await hands.raw(data))

    await _all((lambda at=at: one(at) for at in range(number)), 16)  # type: ignore[misc]


async def _pictures(hands: Attacker, tally: Tally, rng: random.Random, number: int) -> None:
    originals = mutations.pictures()

    async def one(at: int) -> None:
        data = mutations.mutate(originals[at % len(originals)], rng)
        request = pb.GenerateRequest(edit=pb.Edit(image=pb.ImageSource(data=data)))
        tally.note(f"file {at}", await hands.call(EDIT, request.SerializeToString()))

    await _all((lambda at=at: one(at) for at in range(number)), 8)  # type: ignore[misc]
