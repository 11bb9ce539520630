"""The playground in Debian's Chromium, driven by selenium over a real stack."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

PICTURE = Path(__file__).parents[2] / "local" / "pictures" / "chelsea.jpg"
PHONE = (390, 844)
SECONDS = 60.0
"""For a picture, on slow cores."""
DRIVER = shutil.which("chromedriver")
ARGUMENTS = (
    *("--headless=new", "--window-size=1280,1000", "--disable-gpu", "--no-first-run"),
    *("--no-sandbox", "--disable-dev-shm-usage"),  # tests run as root, in containers
    # It talks to the page's server and to nobody else.
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"),
)


@contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    """A browser without a window."""
    options = webdriver.ChromeOptions()
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


@dataclass
class Page:
    """The page, as a person sees it.

    Attributes:
        driver: of the browser.
        url: of the gateway.
        key: of an account.
    """

    driver: webdriver.Chrome
    url: str
    key: str

    def open(self) -> None:
        """Load it again, with nothing kept of before."""
        self.driver.get(self.url)
        self.driver.execute_script("localStorage.clear(); sessionStorage.clear()")
        self.complaints()
        self.driver.refresh()

    def sign_in(self, key: str | None = None) -> None:
        """Give the key, and wait until the families are there."""
        self.write("key", self.key if key is None else key)
        self["prompt"].click()  # the field has changed once it is left
        if key is None:
            self.until(lambda: len(Select(self["family"]).options) > 1)

    def __getitem__(self, name: str) -> WebElement:
        """The element of an id."""
        return self.driver.find_element(By.ID, name)

    def write(self, name: str, text: str) -> None:
        """Type into a field that is emptied before."""
        self[name].clear()
        self[name].send_keys(text)

    def select(self, name: str, value: str) -> None:
        """Choose of a list."""
        Select(self[name]).select_by_value(value)

    def choose(self, path: Path = PICTURE) -> None:
        """Choose a picture's file."""
        self["file"].send_keys(str(path))
        self.until(lambda: path.name in self["picture-name"].text)

    def paint(self) -> None:
        """A stroke over the middle of the mask."""
        self.until(self["mask"].is_displayed)
        brush = ActionChains(self.driver).scroll_to_element(self["mask"]).move_to_element(self["mask"])
        brush.click_and_hold().move_by_offset(40, 10).move_by_offset(-60, 10).release().perform()

    def generate(self) -> list[str]:
        """Press the button, and wait for the end. Gives what the status said on the way."""
        seen: list[str] = []
        self["go"].click()

        def ended() -> bool:
            over = self["go"].is_enabled()  # asked first: what it says after that is its last word
            words = self["status"].text
            if words and words != (seen[-1] if seen else ""):
                seen.append(words)
            return over and bool(seen or self["error"].text)

        self.until(ended)
        return seen

    def until(self, condition: Any) -> None:
        """Wait until something holds."""
        WebDriverWait(self.driver, SECONDS, poll_frequency=0.02).until(lambda _: condition())

    def natural_size(self, name: str = "result") -> tuple[int, int]:
        """Of a picture that is shown; (0, 0) while it is not loaded."""
        script = "const i = document.getElementById(arguments[0]); return [i.naturalWidth, i.naturalHeight]"
        width, height = self.driver.execute_script(script, name)
        return width, height

    def resize(self, width: int, height: int) -> None:
        """Show it as a screen of that size would."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def complaints(self) -> list[str]:
        """What the browser has found wrong, refused by the page's policy say."""
        log: list[dict[str, str]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]  # selenium's
        return [entry["message"] for entry in log if entry["level"] in {"SEVERE", "WARNING"}]
