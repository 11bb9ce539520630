"""Every state of the page, one after another: for axe, for screenshots, for eyes."""

from collections.abc import Iterator

import httpx
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.page import SECONDS, Page

STEPS = "4"
"""Of pictures whose look does not matter."""


def quick(page: Page, prompt: str = "a red apple", size: str = "128") -> None:
    """A prompt, and settings that take little time."""
    page.write("prompt", prompt)
    page.unfold("sampling")
    page.set("imagegen.steps", STEPS)
    page.set("width", size)
    page.set("height", size)


def walk(page: Page, size: str = "128") -> Iterator[str]:
    """Lead the page, which was just opened, through its states; gives the name of each while it is shown."""
    yield from _text(page, size)
    yield from _pictures(page)


def _text(page: Page, size: str) -> Iterator[str]:
    """From nothing to a result from text, and all settings."""
    yield "empty"
    page.sign_in("nobody's key")
    page.until(lambda: page.text("key-problem"))
    yield "wrong key"
    page.sign_in()
    page.click("go")
    page.until(lambda: page.text("problem"))
    yield "prompt missing"
    quick(page, size=size)
    page.set("imagegen.n", "3")
    page.until(lambda: "about" in page.text("cost"))
    page.click("go")
    page.until(lambda: page.shows("strip"))
    yield "queue"
    page.until(lambda: page.shows("preview") or page.text("status").startswith("Done"))
    yield "preview"
    page.wait()
    page.until(lambda: page.natural_size() != (0, 0))
    yield "result"
    page.click("tab-code")
    page.until(lambda: page.text("code").startswith("curl"))
    yield "code"
    page.click("tab-details")
    page.unfold("guidance", "model", "layout", "background", "enhance")
    page.unfold("caption", "print", "file", "safety", "advanced")
    page.click("enhance-face_enhance")
    page.select("safe", "true")
    yield "all settings"


def _pictures(page: Page) -> Iterator[str]:
    """Tasks that start from a picture; and what goes wrong."""
    page.click("enhance-face_enhance")
    page.select("safe", "")
    page.set("imagegen.n", "1")
    page.task("inpaint")
    page.choose()
    page.paint()
    page.write("prompt", "a blue flower")
    yield "mask"
    page.generate()
    page.click("act-compare")
    page.until(lambda: page.shows("divider"))
    page["divider"].send_keys(Keys.ARROW_LEFT)
    yield "compare"
    page.task("swap")
    page.click("go")
    page.until(lambda: page.text("problem"))
    yield "second picture missing"
    page.choose(name="field-background-generate-ip_image2")
    page.generate()
    yield "failed"
    page.task("enhance")
    page.set("preset", "no such preset")
    page.click("go")
    page.until(lambda: page.shows("failure"))
    yield "refused"
    page.set("preset", "")
    yield from _gone(page)


def _gone(page: Page) -> Iterator[str]:
    """A picture that is stored no longer; and a server that cannot be reached."""
    page.driver.find_element(By.CSS_SELECTOR, "#gallery button").click()
    page.until(lambda: page.natural_size() != (0, 0))
    gone = page.shown()
    address = f"{page.url}/rest_api/result/{gone}"
    httpx.delete(address, headers={"x-api-key": page.key}, timeout=SECONDS).raise_for_status()
    page.driver.execute_script(
        "import('/playground/listing.js').then(({ filterGallery }) => filterGallery('all'));"
        "document.getElementById('filter').value = 'all'"
    )
    page.until(lambda: page.shows("ended"))
    yield "not stored"
    page.task("text")
    page.set_connection(online=False)
    page.click("go")
    page.until(lambda: "cannot be reached" in page.text("error"))
    yield "unreachable"
    page.set_connection(online=True)
