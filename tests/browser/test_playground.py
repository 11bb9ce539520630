"""A person's way through the playground, in a real browser over the real stack."""

import base64

import cv2
import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.browser.page import Page
from tests.browser.seen import job, opened, result, values
from tests.browser.states import quick

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(1500)]  # several pictures each, on slow cores


def test_type_generate_see_progress_see_the_picture(page: Page) -> None:
    page.sign_in()
    quick(page)
    page.set("background.generate.sample_num", "7")
    page.set("imagegen.steps", "12")
    page.set("width", "256")
    page.set("height", "192")
    said = page.generate()
    assert any(words.startswith("Generating: step ") for words in said), said
    assert said[-1].startswith("Done")
    file = result(page)
    assert opened(file).shape == (192, 256, 3)
    assert page.natural_size() == (256, 192)
    assert page["result"].get_attribute("alt") == "a red apple"
    details = page.text("details")
    assert all(words in details for words in ("a red apple", "256 × 192", "Seed7", "realistic"))


def test_cost_and_wait_are_told_before_sending(page: Page) -> None:
    page.sign_in()
    page.write("prompt", "a red apple")
    page.until(lambda: "about" in page.text("cost"))
    page.set("width", "99999")
    page.until(lambda: page.text("problem").startswith("width must be from 64 to 16704 pixels"))
    assert page.shown() == ""


def test_ctrl_enter_generates(page: Page) -> None:
    page.sign_in()
    quick(page)
    page["prompt"].send_keys(Keys.CONTROL, Keys.ENTER)
    page.until(page.shown)
    assert page.wait()[-1].startswith("Done")


def test_by_keyboard_alone(page: Page) -> None:
    """Past the header to the key; then the tasks by arrows, the prompt, and Ctrl+Enter."""
    keys = page.driver.switch_to.active_element
    keys.send_keys(Keys.TAB)
    assert page.driver.switch_to.active_element.text == "Skip to the result"
    seen = []
    for _ in range(12):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        found = page.driver.switch_to.active_element
        seen.append(found.get_attribute("id"))
        if seen[-1] == "key":
            found.send_keys(page.key, Keys.ENTER)
            page.until(lambda: not page.shows("key"))
            break
    assert seen[-1] == "key"
    page.driver.execute_script("document.getElementById('task-text').focus()")
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert values(page)["task"] == "img2img"
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    page.driver.switch_to.active_element.send_keys(Keys.TAB)
    found = page.driver.switch_to.active_element
    assert found.get_attribute("id") == "prompt"
    found.send_keys("a tree", Keys.CONTROL, Keys.ENTER)
    page.until(page.shown)


def test_what_is_wrong_is_said(page: Page) -> None:
    page.click("go")
    page.until(lambda: page.text("problem") == "Enter your API key first.")
    page.sign_in("nobody's key")
    page.until(lambda: page.text("key-problem") == "No user found for provided token")
    page.sign_in()
    page.click("go")
    page.until(lambda: page.text("problem") == "Write a prompt first.")
    assert page.driver.switch_to.active_element == page["prompt"]
    page.write("prompt", "a cat")
    page.task("sketch")
    page.click("go")
    page.until(lambda: page.text("problem") == "Choose a picture first.")
    page.task("inpaint")
    page.choose()
    page.click("go")
    page.until(lambda: page.text("problem") == "Paint over the part that should change.")
    assert page.driver.switch_to.active_element == page["mask"]


def test_a_job_is_cancelled(page: Page) -> None:
    page.sign_in()
    quick(page)
    page.set("imagegen.steps", "150")
    page.click("go")
    page.until(lambda: page.shows("cancel") and "step" in page.text("status"))
    page["cancel"].click()
    assert page.wait()[-1] == "Cancelled."
    assert job(page)["state"] == "cancelled"


def test_a_picture_is_dropped_anywhere(page: Page) -> None:
    page.sign_in()
    drop = """
        const data = new DataTransfer();
        const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
        data.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
        document.getElementById("stage").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
    """
    small = cv2.imencode(".png", np.full((64, 96, 3), 90, np.uint8))[1].tobytes()
    page.driver.execute_script(drop, base64.b64encode(small).decode())
    page.until(lambda: page.text("picture-name") == "dropped.png, 96 × 64")
    assert values(page)["task"] == "img2img"
    page.write("prompt", "a hill")
    page.unfold("sampling")
    page.set("imagegen.steps", "4")
    page.generate()
    assert opened(result(page)).shape == (64, 96, 3)


def test_a_picture_is_pasted(page: Page) -> None:
    page.sign_in()
    paste = """
        const data = new DataTransfer();
        const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
        data.items.add(new File([bytes], "pasted.png", { type: "image/png" }));
        document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
    """
    small = cv2.imencode(".png", np.full((64, 96, 3), 90, np.uint8))[1].tobytes()
    page.driver.execute_script(paste, base64.b64encode(small).decode())
    page.until(lambda: page.text("picture-name") == "pasted.png, 96 × 64")


def test_families_come_from_the_server(page: Page) -> None:
    page.sign_in()
    options = Select(page["field-background-generate-model_type"]).options
    assert [option.text for option in options] == ["realistic (default)", "fantasy"]


def test_the_account_is_shown_and_the_key_is_kept_on_request(page: Page) -> None:
    page["remember"].click()
    page.sign_in()
    assert "local" in page.text("account")
    page.driver.refresh()
    page.until(lambda: "local" in page.text("account"))
    page["account"].click()
    page["remember"].click()
    page["connect"].click()
    page.until(lambda: page.driver.execute_script("return localStorage.getItem('imagegen-key')") is None)


def test_colours_are_chosen(page: Page) -> None:
    scheme = "return getComputedStyle(document.documentElement).colorScheme"
    assert page.driver.execute_script(scheme) == "light dark"
    for expected in ("light", "dark"):
        page["theme"].click()
        assert page.driver.execute_script(scheme) == expected
    page.driver.refresh()
    page.until(lambda: page.shows("theme"))
    assert page.driver.execute_script(scheme) == "dark"
