"""A person's way through the playground, in a real browser over the real stack."""

import base64
import hashlib
import json
import subprocess

import cv2
import httpx
import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from gateway.routes import playground
from tests.browser.page import PHONE, PICTURE, Page

pytestmark = pytest.mark.xdist_group("browser")


def result(page: Page) -> bytes:
    """The file of the picture that is shown."""
    page.until(lambda: page.natural_size() != (0, 0))
    shown = page["download"].get_attribute("href")
    assert shown is not None
    return httpx.get(shown).raise_for_status().content


def opened(data: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture


def test_type_generate_see_progress_see_the_picture(page: Page) -> None:
    page.sign_in()
    page.write("prompt", "a red apple")
    page.write("seed", "7")
    page.write("width", "256")
    page.write("height", "192")
    said = page.generate()
    assert any(words.startswith("denoise: step ") for words in said), said
    assert said[-1].startswith("Done in ")
    assert page["error"].text == ""
    file = result(page)
    assert opened(file).shape == (192, 256, 3)
    assert page.natural_size() == (256, 192)
    assert page["result"].get_attribute("alt") == "a red apple"
    assert "256 × 192, seed 7, realistic" in page["caption"].text


def test_a_preview_is_seen_on_the_way(page: Page) -> None:
    page.sign_in()
    page.write("prompt", "two cats")
    page["go"].click()
    page.until(lambda: (page["result"].get_attribute("src") or "").startswith("data:image/jpeg;base64,"))
    page.until(lambda: page["status"].text.startswith("Done"))
    page.until(lambda: "/results/" in (page["result"].get_attribute("src") or ""))


def test_the_curl_line_makes_the_same_picture(page: Page) -> None:
    page.sign_in()
    page.write("prompt", "it's a cat's toy; $HOME `ls` \\")
    page.write("seed", "5")
    page.write("width", "128")
    page.generate()
    page["curl-part"].find_element(By.TAG_NAME, "summary").click()
    line = page["curl"].text
    assert page.key not in line
    environment = {"API_KEY": page.key, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["/bin/bash", "-c", line], env=environment, capture_output=True, check=True)  # noqa: S603 - as shown
    answer = json.loads(done.stdout)
    assert answer["status"] == "complete"
    again = httpx.get(answer["result_url"]).content
    assert hashlib.sha256(again).digest() == hashlib.sha256(result(page)).digest()


def test_a_mask_by_brush(page: Page) -> None:
    page.sign_in()
    page.select("adapter", "inpainting")
    page.choose()
    page.paint()
    page.write("prompt", "a blue flower")
    assert page.generate()[-1].startswith("Done in "), page["error"].text
    before, after = cv2.imread(str(PICTURE)), opened(result(page))
    assert before is not None
    assert after.shape == before.shape
    changed = np.abs(after.astype(int) - before).max(axis=2) > 8
    height, width = changed.shape
    assert changed[height * 2 // 5 : height * 3 // 5, width * 2 // 5 : width * 3 // 5].mean() > 0.3
    assert changed[: height // 5].mean() == 0
    assert changed[:, : width // 5].mean() == 0


def test_a_mask_is_undone_and_painted_by_keys(page: Page) -> None:
    page.sign_in()
    page.select("adapter", "inpainting")
    page.choose()
    page.paint()
    page["undo"].click()
    page.write("prompt", "a hat")
    page["go"].click()
    assert page["error"].text == "Paint the part that shall change."
    assert page.driver.switch_to.active_element == page["mask"]
    page["mask"].send_keys(Keys.ARROW_RIGHT, Keys.ARROW_UP, Keys.SPACE, Keys.ARROW_LEFT, Keys.SPACE)
    assert page.generate()[-1].startswith("Done in "), page["error"].text


def test_a_picture_is_dropped(page: Page) -> None:
    page.sign_in()
    page.select("adapter", "img2img")
    drop = """
        const data = new DataTransfer();
        const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
        data.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
        document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
    """
    small = cv2.imencode(".png", np.full((64, 96, 3), 90, np.uint8))[1].tobytes()
    page.driver.execute_script(drop, base64.b64encode(small).decode())
    page.until(lambda: page.natural_size("picture") == (96, 64))
    assert page["picture-name"].text == "dropped.png, 1 KB"
    page.write("prompt", "a hill")
    page.generate()
    assert opened(result(page)).shape == (64, 96, 3)


def test_by_keyboard_alone(page: Page) -> None:
    """From the top of the page: the link past the form, the description, the key, its box, the prompt, lists."""
    keys = page.driver.switch_to.active_element
    keys.send_keys(Keys.TAB)
    assert page.driver.switch_to.active_element.text == "Skip to the result"
    order = ["key", "remember", "prompt", "family", "adapter", "width", "height", "seed"]
    page.driver.switch_to.active_element.send_keys(Keys.TAB)  # the description
    for name in order:
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        found = page.driver.switch_to.active_element
        assert found.get_attribute("id") == name
        if name == "key":
            found.send_keys(page.key)
        if name == "prompt":
            found.send_keys("a tree")
        if name == "width":
            found.send_keys("128")
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.until(lambda: page["status"].text.startswith("Done"))


def test_what_is_wrong_is_said(page: Page) -> None:
    page.sign_in("nobody's key")
    page.until(lambda: page["error"].text == "No user found for provided token")
    page.write("key", page.key)
    page["go"].click()
    assert page["error"].text == "Write a prompt first."
    page.write("prompt", "a cat")
    page.select("adapter", "control")
    page["go"].click()
    assert page["error"].text == "Choose a picture first."
    page.select("adapter", "text")
    page.write("width", "4096")
    page.write("height", "4096")
    page.driver.execute_script("document.getElementById('height').max = 90000")
    page.write("height", "17000")
    page.generate()
    assert page["error"].text.startswith("height must be from 64 to 16704 pixels")


def test_a_job_is_cancelled(page: Page) -> None:
    page.sign_in()
    page.select("adapter", "upscale")
    page.choose()
    page.write("width", "2048")
    page["go"].click()
    page.until(lambda: page["cancel"].is_displayed() and "step" in page["status"].text)
    page["cancel"].click()
    page.until(lambda: page["status"].text == "Cancelled.")
    assert not page["figure"].is_displayed()
    assert page["error"].text == ""


def test_the_history_outlives_the_page(page: Page) -> None:
    page.sign_in()
    page["remember"].click()
    page.write("prompt", "<b>a snail</b>")
    page.write("width", "64")
    page.generate()
    first = result(page)
    page.driver.refresh()
    entry = page["history"].find_element(By.TAG_NAME, "button")
    assert "<b>a snail</b>" in entry.text  # shown as text
    assert page["key"].get_attribute("value") == page.key
    entry.click()
    page.until(lambda: page["status"].text.startswith("Done"))
    assert result(page) == first
    page["forget"].click()
    assert page["no-history"].is_displayed()
    page["remember"].click()
    assert page.driver.execute_script("return localStorage.getItem('imagegen-key')") is None


def test_families_come_from_the_server(page: Page) -> None:
    page.sign_in()
    assert [option.text for option in Select(page["family"]).options] == ["default", "realistic", "fantasy"]


@pytest.mark.parametrize("adapter", ["text", "inpainting", "img2img"])
def test_on_a_phone_nothing_is_cut_off(page: Page, adapter: str) -> None:
    page.resize(*PHONE)
    page.sign_in()
    page.select("adapter", adapter)
    page["form"].find_element(By.TAG_NAME, "summary").click()
    page.write("prompt", "a word_that_is_longer_than_any_screen_is_wide_" + "x" * 200)
    if adapter == "text":
        page.write("width", "64")
        page.generate()
    else:
        page.choose()
    wide = page.driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide == [PHONE[0], PHONE[0]]
    small = page.driver.execute_script(
        "return [...document.querySelectorAll('button, select, input[type=text], input[type=number], textarea')]"
        ".filter((each) => each.offsetParent && each.offsetHeight < 44).map((each) => each.id)"
    )
    assert small == []  # all can be hit by a thumb


def test_everything_has_a_name_for_screen_readers(page: Page) -> None:
    page.select("adapter", "inpainting")
    page.choose()
    page["form"].find_element(By.TAG_NAME, "summary").click()
    page.driver.execute_cdp_cmd("Accessibility.enable", {})
    nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    acting = {
        "textbox",
        "combobox",
        "button",
        "slider",
        "checkbox",
        "spinbutton",
        "image",
        "link",
        "form",
        "progressbar",
    }
    named: dict[str, list[str]] = {}
    for node in nodes:
        role = node.get("role", {}).get("value")
        if role in acting and not node.get("ignored"):
            named.setdefault(role, []).append(node.get("name", {}).get("value", ""))
    assert {role: names for role, names in named.items() if not all(names)} == {}
    assert len(named["checkbox"]) == 9
    assert "Mask: painted parts change" in named["image"]
    assert page["status"].get_attribute("role") == "status"
    assert page["error"].get_attribute("role") == "alert"


@pytest.mark.promise(
    "scripts of others in the playground",
    "a policy without inline scripts and other hosts; prompts are shown as text",
    "gateway/routes/playground.py",
)
def test_the_policy_is_strict(page: Page) -> None:
    answer = httpx.get(page.url)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
    assert "unsafe" not in policy
    for name in ("main.js", "style.css", "api.js"):
        given = httpx.get(f"{page.url}/playground/{name}")
        assert given.status_code == 200
        assert given.headers["content-security-policy"] == policy
        again = httpx.get(f"{page.url}/playground/{name}", headers={"If-None-Match": given.headers["etag"]})
        assert again.status_code == 304
    for path in ("..%2fapp.py", "../app.py", "no.js", ""):
        missing = httpx.get(f"{page.url}/playground/{path}")
        assert (missing.status_code, missing.json()["code"]) == (404, "NOT_FOUND")
    inline = "const s = document.createElement('script'); s.textContent = 'window.mine = 1'; document.body.append(s);"
    page.driver.execute_script(inline)
    assert page.driver.execute_script("return window.mine") is None
    assert any("Content Security Policy" in words for words in page.complaints())


def test_the_page_is_files_of_its_own_alone() -> None:
    """Nothing of another host, nothing inline, nothing that is made of text at run time."""
    for path in playground.FILES.iterdir():
        text = path.read_text("utf-8")
        for word in ("http://", "https://", "innerHTML", "eval(", "document.write", " style=", " onclick=", "<style"):
            assert word not in text, (path.name, word)
