"""The playground in Debian's Chromium, driven by selenium over a real stack."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

PICTURE = Path(__file__).parents[2] / "local" / "pictures" / "chelsea.jpg"
PHONE = (390, 844)
SECONDS = 400.0
"""For a few pictures, on cores that others use too."""
ENDS = ("Done", "Failed", "Cancelled", "This picture is no longer")
"""What the status begins with once a job has ended."""
DRIVER = shutil.which("chromedriver")
ARGUMENTS = (
    *("--headless=new", "--window-size=1280,1000", "--disable-gpu", "--no-first-run"),
    *("--no-sandbox", "--disable-dev-shm-usage"),  # tests run as root, in containers
    # It talks to the page's server and to nobody else.
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"),
)


def fetch(url: str, **more: Any) -> httpx.Response:
    """The answer to a GET, however slow the server is."""
    return httpx.get(url, timeout=SECONDS, **more)


@contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    """A browser without a window."""
    options = webdriver.ChromeOptions()
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(SECONDS)
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
        grpc: host:port of the orchestrator.
    """

    driver: webdriver.Chrome
    url: str
    key: str
    grpc: str

    def open(self) -> None:
        """Load it again, with nothing kept of before."""
        self.driver.get(self.url)
        self.driver.execute_script("localStorage.clear(); sessionStorage.clear()")
        self.complaints()
        self.driver.refresh()

    def sign_in(self, key: str | None = None) -> None:
        """Give the key, and wait until the account is known."""
        self.write("key", self.key if key is None else key)
        self["connect"].click()
        if key is None:
            self.until(lambda: not self.shows("key"))
            self.until(lambda: len(Select(self["field-background-generate-model_type"]).options) > 1)

    def __getitem__(self, name: str) -> WebElement:
        """The element of an id."""
        return self.driver.find_element(By.ID, name)

    def shows(self, name: str) -> bool:
        """Whether there is an element of an id, in sight or further down."""
        script = "return document.getElementById(arguments[0])?.checkVisibility() ?? false"
        return bool(self.driver.execute_script(script, name))

    def text(self, name: str) -> str:
        """What an element says, if it is hidden from sight as well; "" where there is none."""
        script = "return document.getElementById(arguments[0])?.textContent ?? ''"
        said: str = self.driver.execute_script(script, name)
        return said

    def write(self, name: str, text: str) -> None:
        """Type into a field that is emptied before."""
        self[name].send_keys(Keys.CONTROL, "a")
        self[name].send_keys(Keys.DELETE)
        self[name].send_keys(text)

    def set(self, path: str, text: str) -> None:
        """Type into the field of the request's path, as write."""
        self.write(f"field-{path.replace('.', '-')}", text)

    def select(self, path: str, value: str) -> None:
        """Choose of the list of the request's path."""
        Select(self[f"field-{path.replace('.', '-')}"]).select_by_value(value)

    def click(self, name: str) -> None:
        """Click what may be out of sight or behind what floats."""
        self.press(self[name])

    def press(self, element: WebElement) -> None:
        """As click."""
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def task(self, name: str) -> None:
        """Choose a task."""
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", self[f"task-{name}"])
        self.driver.find_element(By.CSS_SELECTOR, f"label[for=task-{name}]").click()

    def unfold(self, *names: str) -> None:
        """Open sections of the settings."""
        for name in names:
            script = "const s = document.getElementById(`section-${arguments[0]}`); if (s) s.open = true"
            self.driver.execute_script(script, name)

    def choose(self, path: Path = PICTURE, name: str = "file") -> None:
        """Choose a picture's file."""
        self[name].send_keys(str(path))
        if name == "file":
            self.until(lambda: path.name in self.text("picture-name"))

    def paint(self, x: int = 40) -> None:
        """A stroke over the middle of the mask."""
        self.until(lambda: self.shows("mask") and self["mask"].size["height"] > 20)
        self.until(lambda: self.driver.execute_script("return document.getElementById('mask').width") != 300)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", self["mask"])
        brush = ActionChains(self.driver).move_to_element(self["mask"])
        brush.click_and_hold().move_by_offset(x, 10).move_by_offset(-x - 20, 10).release().perform()

    def generate(self) -> list[str]:
        """Press the button, and wait for the end of what it starts."""
        before = self.shown()
        self.click("go")
        self.until(lambda: self.shown() != before or self.text("problem") or self.shows("failure"))
        return self.wait()

    def wait(self) -> list[str]:
        """Wait until the job that is shown has ended. Gives what the status said on the way."""
        seen: list[str] = []

        def ended() -> bool:
            words = self.text("status")
            if words and words != (seen[-1] if seen else ""):
                seen.append(words)
            return bool(self.text("problem")) or self.shows("failure") or words.startswith(ENDS)

        self.until(ended)
        return seen

    def shown(self) -> str:
        """The id of the job that is shown; "" for none."""
        job: str = self.driver.execute_script("return document.getElementById('stage').dataset.job ?? ''")
        return job

    def until(self, condition: Any) -> None:
        """Wait until something holds."""
        WebDriverWait(self.driver, SECONDS, poll_frequency=0.1).until(lambda _: condition())

    def natural_size(self, name: str = "result") -> tuple[int, int]:
        """Of a picture that is shown; (0, 0) while it is not loaded."""
        script = "const i = document.getElementById(arguments[0]); return [i.naturalWidth, i.naturalHeight]"
        width, height = self.driver.execute_script(script, name)
        return width, height

    def resize(self, width: int, height: int) -> None:
        """Show it as a screen of that size would."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def set_connection(self, *, online: bool) -> None:
        """Whether the browser reaches anything."""
        self.driver.execute_cdp_cmd("Network.enable", {})
        conditions = {"offline": not online, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.driver.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)

    def complaints(self) -> list[str]:
        """What the browser has found wrong, refused by the page's policy say."""
        log: list[dict[str, str]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]  # selenium's
        return [entry["message"] for entry in log if entry["level"] in {"SEVERE", "WARNING"}]
