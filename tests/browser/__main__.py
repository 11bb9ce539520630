"""`python -m tests.browser`: the screenshots of docs/, of a stack that `make up` has started."""

from pathlib import Path

from local.settings import Settings
from local.stack import read_api_key
from tests.browser.page import PHONE, Page, browser

DOCS = Path(__file__).parents[2] / "docs"


def main() -> None:
    """A picture from text on a desk, and a mask on a phone."""
    settings = Settings()
    with browser() as driver:
        page = Page(driver, settings.rest_url, read_api_key(settings))
        page.resize(1280, 900)
        page.open()
        page.sign_in()
        for prompt, seed in (("a rocket", "11"), ("a cat", "3"), ("a red apple", "7")):
            page.write("prompt", prompt)
            page.write("seed", seed)
            page.generate()
        page.until(lambda: page.natural_size() != (0, 0))
        driver.save_screenshot(str(DOCS / "playground.png"))
        page.resize(*PHONE)
        page.select("adapter", "inpainting")
        page.choose()
        page.paint()
        driver.execute_script("document.getElementById('adapter').scrollIntoView()")
        driver.save_screenshot(str(DOCS / "playground_phone.png"))


if __name__ == "__main__":
    main()
