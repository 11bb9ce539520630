"""The embedded stack as `make up`, `make down` and `make demo` run it, with the tiny networks, on ports of its own."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import pytest

from local import demo, processes, stack
from local.errors import LocalError, ModelsError, PortInUseError
from local.rest import RestClient
from local.settings import HOST, ROOT, Ports, Settings, port_variable
from local.shots import Shot
from tests.conftest import TINY_REPOSITORY
from tests.integration import stubs

NAMES = ["postgres", "triton", "supervisor", "orchestrator", "gateway"]
FAMILIES = ROOT / "tests/integration/families.toml"
GENERATE = {"description": "a red fox", "model_type": "tiny", "sample_num": 5}
SHOTS = (
    Shot("small", {"width": 96, "height": 64, "background": {"generate": GENERATE}}),
    Shot("other", {"width": 64, "height": 128, "background": {"generate": GENERATE}}),
)
FROM_PICTURE = (Shot("half", {"width": "50%"}, picture="chelsea.jpg"),)


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """A stack of the tiny networks; stopped after the test if it runs."""
    settings = Settings(
        state_dir=tmp_path / "state", repositories=(TINY_REPOSITORY,), families=FAMILIES, ports=Ports.free()
    )
    yield settings
    stack.down(settings)


def pids(settings: Settings) -> dict[str, int]:
    running = {name: processes.load(settings.state_dir / f"pids/{name}.json") for name in NAMES}
    return {name: process.pid for name, process in running.items() if process}


def test_up_serves_pictures_and_down_leaves_nothing(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stack.up(settings) == NAMES
    assert set(stack.list_states(settings).values()) == {"ready"}
    before = pids(settings)
    assert stack.up(settings) == [], "a second time there is nothing to do"

    demo.run(settings, tmp_path / "demo", SHOTS, FROM_PICTURE)
    files = list((tmp_path / "demo").glob("*.png"))
    shapes = {path.stem: picture.shape for path in files if (picture := cv2.imread(str(path))) is not None}
    assert shapes.keys() == {"small", "other", "half", "contact_sheet", "adapters"}
    assert shapes["small"] == (64, 96, 3)
    assert shapes["half"] == (150, 226, 3)
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:4] == ["picture", "size", "seed", "steps"]
    assert table[1].split()[:4] == ["small", "96x64", "5", "4"]
    assert "denoise s" in table[0]

    steered = Shot("steered", {"background": {"generate": {**GENERATE, "adapter_type": "control"}}}, "chelsea.jpg")
    of_another = Shot("small", {"width": 96, "height": 64, "background": {"generate": {"description": "a red fox"}}})
    demo.run(settings, tmp_path / "by", (of_another,), (steered, *FROM_PICTURE), family="tiny")
    assert {path.stem for path in (tmp_path / "by").glob("*.png")} == {"small", "half", "contact_sheet", "adapters"}
    assert "tiny does not serve steered" in capsys.readouterr().out
    with pytest.raises(LocalError, match="has no family dragon; it has tiny"):
        demo.run(settings, tmp_path / "by", (of_another,), family="dragon")

    for name in ("triton", "gateway"):
        os.kill(before[name], signal.SIGKILL)
    started = stack.up(settings)
    assert started in (["triton", "gateway"], ["gateway"]), "only what is gone is started; the supervisor may be first"
    assert pids(settings)["orchestrator"] == before["orchestrator"], "it finds Triton again by itself"

    assert stack.down(settings) == [], "all ended by themselves"
    assert set(stack.list_states(settings).values()) == {"stopped"}
    for port in asdict(settings.ports).values():
        with socket.socket() as probe:
            assert probe.connect_ex((HOST, port)) != 0


def test_the_supervisor_replaces_a_triton_whose_model_does_not_infer(settings: Settings) -> None:
    """Its UNet's process is killed, and Triton says that it is ready. Jobs wait, and none fails."""
    stack.up(settings)
    client = RestClient(settings.rest_url, stack.read_api_key(settings))
    client.make_picture(SHOTS[0].request, 20)
    before = pids(settings)
    stubs.send(before["triton"], "tiny_unet", signal.SIGKILL)
    client.make_picture({**SHOTS[0].request, "width": 64}, 120)
    after = pids(settings)
    assert after.pop("triton") != before.pop("triton")
    assert after == before


def test_the_key_is_secret_and_kept_also_with_a_new_database(settings: Settings) -> None:
    with pytest.raises(LocalError, match=r"start the stack first \(`make up`\)"):
        stack.read_api_key(settings)
    stack.up(settings)
    key = stack.read_api_key(settings)
    assert stat.S_IMODE((settings.state_dir / "api-key").stat().st_mode) == 0o600
    with pytest.raises(LocalError, match="404"):
        RestClient(settings.rest_url, "another").make_picture(SHOTS[0].request, 20)
    stack.down(settings)
    shutil.rmtree(settings.state_dir / "postgres")
    stack.up(settings)
    assert stack.read_api_key(settings) == key
    RestClient(settings.rest_url, key).make_picture(SHOTS[0].request, 20)


def test_what_cannot_start_stops_what_was_started(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, settings.ports.rest))
        taken.listen()
        with pytest.raises(PortInUseError, match=f"port {settings.ports.rest} is in use.*IMAGEGEN_REST_PORT"):
            stack.up(settings)
    assert pids(settings) == {}


def test_ports_that_nobody_asked_for_move_and_are_found_again(settings: Settings) -> None:
    movable = replace(settings, movable=frozenset({"rest", "postgres"}))
    environ = {"IMAGEGEN_STATE_DIR": str(settings.state_dir)}
    with socket.socket() as taken:
        taken.bind((HOST, settings.ports.postgres))
        taken.listen()
        with stack.choosing_ports(movable) as (chosen, notes):
            assert chosen.ports == replace(settings.ports, postgres=chosen.ports.postgres)
            assert chosen.ports.postgres != settings.ports.postgres
            assert f"postgres listens on {chosen.ports.postgres} instead" in notes[0]
            stack.up(chosen)
    assert Settings.from_env(environ).ports == chosen.ports, "what a later command finds"
    with stack.choosing_ports(replace(chosen, movable=movable.movable)) as (again, notes):
        assert (again.ports, notes) == (chosen.ports, []), "its own ports are not in its way"
        assert stack.up(again) == []
    stack.down(chosen)
    assert Settings.from_env(environ).ports == Ports(), "the next stack begins with the defaults"


def test_stacks_choose_their_ports_one_after_the_other(settings: Settings, tmp_path: Path) -> None:
    other = replace(settings, state_dir=tmp_path / "other", movable=frozenset(asdict(settings.ports)))
    order = []

    def choose() -> None:
        with stack.choosing_ports(other):
            order.append("second")

    with stack.choosing_ports(settings):
        thread = threading.Thread(target=choose)
        thread.start()
        thread.join(0.5)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_broken_model_is_named_by_up(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "models/broken/1"
    folder.mkdir(parents=True)
    (folder.parent / "config.pbtxt").touch()
    (folder / "model.onnx").touch()
    with pytest.raises(ModelsError, match=r"broken: .* choose ONNX Runtime"):
        stack.up(replace(settings, repositories=(TINY_REPOSITORY, tmp_path / "models")))
    assert pids(settings) == {}


def test_a_service_that_refuses_its_settings_shows_its_log(settings: Settings) -> None:
    with pytest.raises(LocalError, match=r"(?s)orchestrator ended while it started.*nowhere\.toml"):
        stack.up(replace(settings, families=Path("/nowhere.toml")))
    assert pids(settings) == {}


def test_the_command_line(settings: Settings) -> None:
    variables = {port_variable(name): str(port) for name, port in asdict(settings.ports).items()}
    variables |= {
        "IMAGEGEN_STATE_DIR": str(settings.state_dir),
        "IMAGEGEN_MODEL_REPOSITORIES": str(TINY_REPOSITORY),
        "IMAGEGEN_FAMILIES": str(FAMILIES),
    }

    def call(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - this repository's own program
            [sys.executable, "-m", "local", command],
            cwd=ROOT,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    assert call("status").returncode == 1
    up = call("up")
    assert up.returncode == 0
    assert f"REST  http://127.0.0.1:{settings.ports.rest}" in up.stdout
    assert "Starting: done in" in up.stderr
    assert call("status").stdout.split() == [word for name in NAMES for word in (name, "ready")]
    assert call("down").returncode == 0
    assert call("status").stdout.split() == [word for name in NAMES for word in (name, "stopped")]
    variables[port_variable("rest")] = "none"
    wrong = call("up")
    assert wrong.returncode == 1
    assert wrong.stderr.strip() == "error: IMAGEGEN_REST_PORT='none': give a port, 1 to 65535"
