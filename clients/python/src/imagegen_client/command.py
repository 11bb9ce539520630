"""`imagegen`: pictures from a shell.

Exit codes: 0 done, 1 the service refused or failed, 2 wrong arguments, 130 interrupted.
"""

import argparse
import re
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from imagegen_client.calls import ADDRESS, KEY
from imagegen_client.client import Client
from imagegen_client.errors import ImagegenError
from imagegen_client.events import Event, Preview, Progress, Queued
from imagegen_client.pictures import Picture
from imagegen_client.tasks import (
    Control,
    Edit,
    Face,
    FaceSwap,
    GenerateBackground,
    ImageToImage,
    Inpaint,
    Outpaint,
    Task,
    Upscale,
)

_TASKS: dict[str, Callable[[argparse.Namespace], Task]] = {
    "image_to_image": lambda given: ImageToImage(given.image, strength=given.strength, references=given.reference),
    "inpaint": lambda given: Inpaint(given.image, given.mask, strength=given.strength, references=given.reference),
    "generate_background": lambda given: GenerateBackground(given.image),
    "face": lambda given: Face(given.image),
    "face_swap": lambda given: FaceSwap(given.image, given.face, strength=given.strength),
    "control": lambda given: Control(given.image, strength=given.strength),
    "upscale": lambda given: Upscale(given.image),
    "outpaint": lambda given: Outpaint(given.image),
    "edit": lambda given: Edit(given.image, remove_background=given.remove_background),
}
_SIZE = re.compile(r"(\d+)x(\d+)")
_BAR = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = _parser().parse_args(arguments)
    try:
        with Client(given.address, given.key, tls=given.ca or False, timeout=given.timeout) as client:
            given.run(client, given)
    except KeyboardInterrupt:
        return 130
    except (ImagegenError, OSError, ValueError) as error:
        print(f"imagegen: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--address", help=f"host:port, or grpcs://host:port; default: {ADDRESS}")
    common.add_argument("--key", help=f"API key; default: {KEY}")
    common.add_argument("--ca", help="PEM file of the CAs of the server")
    common.add_argument("--timeout", type=float, default=600.0, help="seconds that a picture may take (600)")
    parser = argparse.ArgumentParser(prog="imagegen", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, run: Callable[[Client, argparse.Namespace], None], text: str, *aliases: str
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, aliases=aliases, help=text, description=text, parents=[common])
        command.set_defaults(run=run)
        return command

    generate = add("generate", _generate, "Generate a picture from text.", "draw")
    generate.add_argument("prompt")
    _add_options(generate)
    edit = add("edit", _generate, "Generate a picture from a picture.")
    edit.add_argument("image", help="path or address")
    edit.add_argument("prompt", nargs="?")
    edit.add_argument(
        "--task",
        choices=_TASKS,
        help="default: inpaint with --mask, face_swap with --face, else image_to_image; edit without prompt",
    )
    edit.add_argument("--face", help="path or address of the picture with the new face of face_swap")
    edit.add_argument(
        "--reference",
        action="append",
        default=[],
        help="path or address of a picture whose likeness steers; repeatable",
    )
    edit.add_argument("--mask", help="path or address of the mask of inpaint: white changes")
    edit.add_argument("--strength", type=float, help="how much is changed, above 0 to 1")
    edit.add_argument("--remove-background", choices=("auto", "human", "item"), help="of the task edit")
    _add_options(edit)
    jobs = add("jobs", _jobs, "List the account's jobs, newest first.")
    jobs.add_argument("--state", choices=("queued", "running", "succeeded", "failed", "cancelled", "deleted"))
    jobs.add_argument("--limit", type=int, default=20, help="how many (20)")
    watch = add("watch", _watch, "Follow a job, and save its picture.")
    watch.add_argument("job")
    watch.add_argument("--output", "-o", help="path; default: the job's id")
    cancel = add("cancel", _cancel, "Stop a job.")
    cancel.add_argument("job")
    replay = add("replay", _replay, "Generate a job's picture again, and report what differs; exit code 1 if it does.")
    replay.add_argument("job")
    replay.add_argument("--picture", action="append", default=[], help="path of a picture sent with it; repeatable")
    replay.add_argument("--output", "-o", help="path; default: the job's id")
    add("families", _families, "List the model families.")
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", "-o", help="path; default: the seed")
    parser.add_argument("--size", type=_size, help="WIDTHxHEIGHT in pixels")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--negative-prompt")
    parser.add_argument("--family")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--sampler")
    parser.add_argument("--guidance-scale", type=float)
    parser.add_argument("--format", choices=("png", "jpeg", "webp"), help="default: as the output's suffix, else png")
    parser.add_argument("--quality", type=int, help="of jpeg and webp, 0 to 100")
    parser.add_argument("--priority", choices=("high", "normal", "low"))
    parser.add_argument("--deadline-seconds", type=float, help="refuse at once what would be finished later")


def _size(text: str) -> tuple[int, int]:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError("give WIDTHxHEIGHT, such as 512x512")
    return int(found[1]), int(found[2])


def _generate(client: Client, given: argparse.Namespace) -> None:
    names = (
        *("seed", "negative_prompt", "family", "steps", "sampler", "guidance_scale", "quality", "priority", "format"),
        "deadline_seconds",
    )
    options: dict[str, Any] = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
    if given.size is not None:
        options["width"], options["height"] = given.size
    if "format" not in options and given.output and Path(given.output).suffix:
        options["format"] = Path(given.output).suffix.lstrip(".").lower().replace("jpg", "jpeg")
    picture = _follow(client.stream(given.prompt, _task(given), **options))
    print(picture.save(given.output or str(picture.seed)))


def _task(given: argparse.Namespace) -> Task | None:
    if not hasattr(given, "image"):
        return None
    without = "inpaint" if given.mask else "face_swap" if given.face else "image_to_image" if given.prompt else "edit"
    name = given.task or without
    for task, option in (("inpaint", "mask"), ("face_swap", "face")):
        if name == task and not getattr(given, option):
            raise ValueError(f"the task {task} needs --{option}")
    return _TASKS[name](given)


def _watch(client: Client, given: argparse.Namespace) -> None:
    picture = _follow(client.job(given.job).watch())
    print(picture.save(given.output or given.job))


def _replay(client: Client, given: argparse.Namespace) -> None:
    replay = client.replay(given.job, given.picture)
    print(replay.picture.save(given.output or given.job))
    if replay.differences:
        raise ValueError("the picture was generated again, and differs\n  " + "\n  ".join(replay.differences))


def _cancel(client: Client, given: argparse.Namespace) -> None:
    print(client.job(given.job).cancel().state)


def _jobs(client: Client, given: argparse.Namespace) -> None:
    for number, job in enumerate(client.jobs(given.state)):
        if number >= given.limit:
            return
        status = job.status
        created = status.created.isoformat(timespec="seconds") if status.created else ""
        print(f"{status.id}  {status.state:<9}  {created}  {status.task:<19}  {status.family}  {status.error}".rstrip())


def _families(client: Client, _: argparse.Namespace) -> None:
    for family in client.families():
        ready = "ready" if family.ready else "not ready"
        size, tasks = f"{family.width}x{family.height}", ", ".join(family.tasks)
        print(f"{family.name:<16}  {ready:<9}  {size:<9}  {family.license}  {tasks}")


def _follow(events: Generator[Event, None, None]) -> Picture:
    """Show progress on a terminal, and return the picture."""
    shows = sys.stderr.isatty()
    try:
        for event in events:
            if isinstance(event, Picture):
                return event
            if shows and not isinstance(event, Preview):
                sys.stderr.write(f"\r\033[K{_line(event)}")
                sys.stderr.flush()
    finally:
        events.close()
        if shows:
            sys.stderr.write("\r\033[K")
    raise AssertionError("the last event is the picture, or an error is raised")


def _line(event: Event) -> str:
    if isinstance(event, Progress):
        done = _BAR * event.step // max(1, event.total)
        return f"{event.stage:<8} [{'#' * done}{'.' * (_BAR - done)}] {event.step}/{event.total}"
    if isinstance(event, Queued):
        wait = "" if event.wait is None else f", about {event.wait:.0f} s"
        return f"queued: {event.position} before it{wait}"
    return "started"


if __name__ == "__main__":
    sys.exit(main())
