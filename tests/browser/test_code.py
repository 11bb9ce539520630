"""The code that the page shows is run as it is printed, and gives the picture that the page has."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser.page import PICTURE, Page, fetch
from tests.browser.seen import ended
from tests.browser.states import quick

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(1500)]  # several pictures each, on slow cores
NASTY = "it's a \"cat\"; $HOME `ls` \\n {x} $(id) 'é'"
ROOT = Path(__file__).parents[2]


def printed(page: Page, language: str) -> str:
    """The text of a language for the picture that is shown, once it is there."""
    page.click(f"code-{language}")
    page.until(lambda: page["code-panel"].get_attribute("aria-labelledby") == f"code-{language}")
    page.until(lambda: page.text("code") not in {"", "…"})
    return page.text("code")


def run(page: Page, folder: Path, language: str, text: str) -> bytes:
    """The picture that a text gives, run in a folder with the picture it starts from."""
    tools = folder / "bin"
    if not tools.exists():
        tools.mkdir()
        if shutil.which("grpcurl") is None:
            script = f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m tests.browser.grpcurl "$@"\n'
            (tools / "grpcurl").write_text(script)
            (tools / "grpcurl").chmod(0o755)
    environment = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "IMAGEGEN_API_KEY": page.key,
        "IMAGEGEN_ADDRESS": page.grpc,
        "PYTHONPATH": f"{ROOT / 'clients' / 'python' / 'src'}:{ROOT}",
        "HOME": str(folder),
    }
    command = [sys.executable, "-c", text] if language in {"python", "openai"} else ["/bin/bash", "-c", text]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - as shown
    assert done.returncode == 0, done.stderr
    if language == "python":
        return (folder / "picture.png").read_bytes()
    if language == "openai":
        return (folder / "picture-1.png").read_bytes()
    if language == "curl":
        answer = json.loads(done.stdout)  # "in_progress" after half a minute, on slow cores
        return fetch(ended(page, answer["job"])["result_url"]).content
    uri = json.loads("{" + done.stdout.rpartition("\n{")[2])["artifact"]["uri"]
    return fetch(uri).content


@pytest.mark.parametrize("task", ["text", "inpaint", "background"])
def test_the_code_gives_the_same_picture(page: Page, tmp_path: Path, task: str) -> None:
    """In all four languages, with a prompt full of quotes and semicolons, and with a picture and a mask."""
    page.sign_in()
    name = 'it\'s a "cat"; 1.jpg'
    shutil.copy(PICTURE, tmp_path / name)
    page.task(task)
    if task != "text":
        page.choose(tmp_path / name)
    if task == "inpaint":
        page.paint()
    quick(page, NASTY, size="128")
    if task != "text":
        page.set("width", "256")
        page.set("height", "192")
    page.unfold("sampling")
    page.set("background.generate.negative_prompt", 'rain; "snow"')
    assert page.generate()[-1].startswith("Done"), page.text("error") or page.text("problem")
    shown = page["download"].get_attribute("href")
    assert shown is not None
    picture = fetch(shown).content
    page.click("tab-code")
    page.driver.execute_script(
        "const s = document.getElementById('code-source'); s.value = 'picture'; s.dispatchEvent(new Event('change'))"
    )
    for language in ("curl", "python", "openai", "grpc"):
        text = printed(page, language)
        assert page.key not in text
        assert run(page, tmp_path, language, text) == picture, language


def test_several_pictures_by_code(page: Page, tmp_path: Path) -> None:
    page.sign_in()
    quick(page)
    page.set("imagegen.n", "2")
    page.set("background.generate.sample_num", "5")
    page.click("tab-code")
    text = printed(page, "python")
    assert "submit_many(2" in text or "submit_many(\n    2," in text
    (tmp_path / "picture.png").touch()
    run(page, tmp_path, "python", text)
    assert len({(tmp_path / f"picture-{number}.png").read_bytes() for number in (1, 2)}) == 2


def test_what_openai_cannot_do_is_said(page: Page) -> None:
    page.sign_in()
    page.task("cutout")
    page.choose()
    page.click("tab-code")
    page.click("code-openai")
    page.until(lambda: "only generates" in page.text("code-none"))
