"""The mask that is painted over a picture, and what comes of it."""

import base64

import cv2
import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.page import PICTURE, Page
from tests.browser.seen import opened, result

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(1500)]  # several pictures each, on slow cores


def changed(page: Page) -> np.ndarray:
    """Where the result differs from the picture."""
    before, after = cv2.imread(str(PICTURE)), opened(result(page))
    assert before is not None
    assert after.shape == before.shape
    return np.asarray(np.abs(after.astype(int) - before).max(axis=2) > 8)


def mask(page: Page) -> np.ndarray:
    """The mask that would be sent: true where it changes."""
    script = """
        const done = arguments[arguments.length - 1];
        import("/playground/store.js").then(({ get }) => done(get().form.mask?.data ?? ""));
    """
    data: str = page.driver.execute_async_script(script)
    if not data:
        return np.zeros((1, 1), bool)
    return np.asarray(opened(base64.b64decode(data.partition(",")[2])).max(axis=2) > 127)


def masked(page: Page, expected: np.ndarray) -> None:
    """Wait until the mask is this one, but for pixels that its border half covers."""

    def same() -> bool:
        found = mask(page)
        return found.shape == expected.shape and bool(np.mean(found == expected) > 0.998)

    page.until(same)


def test_a_mask_is_painted_erased_inverted_and_undone(page: Page) -> None:
    page.sign_in()
    page.task("inpaint")
    page.choose()
    page.paint()
    page.until(lambda: mask(page).any())
    painted = mask(page)
    height, width = painted.shape
    assert painted[height // 2 - 5 : height // 2 + 15, width // 2 - 20 : width // 2 + 20].mean() > 0.9
    assert not painted[: height // 5].any()
    page.click("mask-invert")
    masked(page, ~painted)
    page.click("mask-undo")
    masked(page, painted)
    page.click("mask-eraser")
    page.paint(x=10)
    page.until(lambda: mask(page).sum() < painted.sum())
    page.click("mask-undo")
    masked(page, painted)
    page.click("mask-clear")
    page.until(lambda: not mask(page).any())
    page.click("mask-brush")
    page["mask"].send_keys(Keys.ARROW_RIGHT, Keys.ARROW_UP, Keys.SPACE, Keys.ARROW_LEFT, Keys.SPACE)
    page.until(lambda: mask(page).any())
    page.click("mask-clear")
    page.paint()
    page.write("prompt", "a blue flower")
    assert page.generate()[-1].startswith("Done"), page.text("error")
    where = changed(page)
    assert where[height * 2 // 5 : height * 3 // 5, width * 2 // 5 : width * 3 // 5].mean() > 0.2
    assert where[: height // 5].mean() == 0
    assert where[:, : width // 5].mean() == 0
