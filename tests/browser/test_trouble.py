"""Odd prompts, a lost connection, a revoked key, two tabs, the back button, and a page that is zoomed."""

import pytest
from selenium.webdriver.common.by import By

from tests.browser.page import Page
from tests.browser.seen import job, values
from tests.browser.states import quick

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(1500)]  # several pictures each, on slow cores

PROMPTS = [
    'a "cat"; it\'s <b>red</b> & {blue} \\ $HOME',
    "🦊 fox, 狐狸, лиса",
    "\u202b\u05d0\u05e8\u05e0\u05d1 \u05d1\u05e9\u05dc\u05d2",  # Hebrew, from right to left
    "rabbit in the snow, " * 100,
    "a" * 2000,
]


@pytest.mark.parametrize("prompt", PROMPTS, ids=["marks", "emoji", "right to left", "2,000 characters", "one word"])
def test_any_prompt_comes_back_as_it_was_written(page: Page, prompt: str) -> None:
    """In the details, in the gallery and in the form; nothing sticks out, and nothing of it acts as a page."""
    page.sign_in()
    quick(page, size="64")
    page.driver.execute_script(
        "const box = document.getElementById('prompt'); box.value = arguments[0];"
        "box.dispatchEvent(new Event('input', { bubbles: true }))",
        prompt,
    )  # chromedriver types no emoji
    page.set("imagegen.steps", "1")
    assert page.generate()[-1].startswith("Done"), page.text("error") or page.text("problem")
    assert job(page)["request"]["background"]["generate"]["description"] == prompt.strip()
    assert prompt.strip() in page.text("details")
    wide = page.driver.execute_script("return document.documentElement.scrollWidth - innerWidth")
    assert wide == 0
    page.open()
    page.sign_in()
    page.until(lambda: page.shows("gallery"))
    page["gallery"].find_element(By.TAG_NAME, "button").click()
    page.click("act-recall")
    page.until(lambda: values(page).get("background.generate.description") == prompt.strip())


def test_a_lost_connection(page: Page) -> None:
    """What was written stays; what runs goes on, and is shown once the server answers again."""
    page.sign_in()
    quick(page)
    page.set("imagegen.steps", "40")
    page.click("go")
    page.until(page.shown)
    page.set_connection(online=False)
    try:
        page.until(lambda: "cannot be reached" in page.driver.find_element(By.CSS_SELECTOR, ".side").text)
        page.write("prompt", "a blue pear")
        page.click("go")
        page.until(lambda: "cannot be reached" in page.text("error"))
    finally:
        page.set_connection(online=True)
    assert values(page)["background.generate.description"] == "a blue pear"
    page.click("retry")
    page.until(lambda: not page.shows("failure"))
    page.until(lambda: not page.text("problem"))  # the cost is asked again too
    assert page.wait()[-1].startswith("Done"), page.text("error")
    page.until(lambda: not page.shows("queue"))


def test_a_key_that_is_revoked_while_the_page_is_open(page: Page) -> None:
    """It is asked for again, and the form keeps what was written."""
    page.sign_in()
    quick(page, "a castle")
    script = (
        "const [key, done] = arguments; import('/playground/store.js').then(({ set }) => { set({ key }); done(); })"
    )
    page.driver.execute_async_script(script, "nobody's key")
    page.click("go")
    page.until(lambda: "not accepted any more" in page.text("key-problem"))
    assert values(page)["background.generate.description"] == "a castle"
    page.sign_in()
    assert page.generate()[-1].startswith("Done"), page.text("error")


def test_two_tabs_show_the_same_gallery(page: Page) -> None:
    page.sign_in()
    page.until(lambda: page.text("gallery-empty") or page.shows("gallery"))
    first = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    try:
        page.open()
        page.sign_in()
        quick(page, "a tab of its own", size="64")
        assert page.generate()[-1].startswith("Done"), page.text("error")
    finally:
        page.driver.close()
        page.driver.switch_to.window(first)
    titles = "return [...document.querySelectorAll('#gallery button')].map((each) => each.title)"
    page.until(lambda: "a tab of its own" in page.driver.execute_script(titles))


def test_back_and_forward_go_from_picture_to_picture(page: Page) -> None:
    """And a link to the page leads to the picture that it showed."""
    page.sign_in()
    quick(page, "first", size="64")
    page.generate()
    first = page.shown()
    page.write("prompt", "second")
    page.generate()
    second = page.shown()
    page.driver.back()
    page.until(lambda: page.shown() == first)
    page.driver.forward()
    page.until(lambda: page.shown() == second)
    page.driver.back()
    page.driver.back()
    page.until(lambda: page.shows("empty"))
    page.driver.get(f"{page.url}/#{second}")
    page.driver.refresh()
    page.until(lambda: page.shown() == second)
    page.driver.get(f"{page.url}/#{'K' * 22}")
    page.driver.refresh()
    page.until(lambda: page.shows("empty") and "#" not in page.driver.current_url)


def test_a_page_that_is_zoomed_to_twice_its_size(page: Page) -> None:
    """As WCAG 2.2, 1.4.4 and 1.4.10 ask for: all of it, without scrolling sideways."""
    page.resize(640, 450)  # of 1280 x 900
    page.sign_in()
    quick(page)
    page.generate()
    page.until(lambda: page.natural_size() != (0, 0))
    width = page.driver.execute_script("return document.documentElement.scrollWidth")
    assert width <= 640  # less by the bar for scrolling down
    for name in ("go", "act-seed", "tab-code", "gallery"):
        page.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", page[name])
        assert page[name].is_displayed()
