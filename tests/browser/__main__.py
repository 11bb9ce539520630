"""`python -m tests.browser [FOLDER [STATE]]`: the screenshots of docs/, of the stack of a state folder.

Each state of the page goes into FOLDER, as screens of 1400, 1920 and 390 pixels show it, light and dark, and all of
them onto one sheet.
"""

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from selenium.webdriver.common.by import By

from local.settings import HOST, Settings
from local.stack import read_api_key
from tests.browser.page import PHONE, Page, browser
from tests.browser.states import walk

DOCS = Path(__file__).parents[2] / "docs"
SIZES = {"1400": (1400, 900), "1920": (1920, 1080), "390": PHONE}
THEMES = ("light", "dark")
HEIGHT, GAP = 300, 16
"""Pixels of a picture on the sheet, and between two."""
SAMPLES = (3, 5, 2, 1)
"""Ideas of the empty page that are generated for the first picture; the last one is shown."""


def main(folder: Path) -> None:
    """Walk through all states once, and show each on every screen, light and dark."""
    settings = Settings.from_env({"IMAGEGEN_STATE_DIR": sys.argv[2]} if len(sys.argv) > 2 else {})
    rows = []
    with browser() as driver:
        page = Page(driver, settings.rest_url, read_api_key(settings), f"{HOST}:{settings.ports.grpc}")
        _show_samples(page)
        driver.save_screenshot(str(DOCS / "playground.png"))
        page.open()
        for state in walk(page, size="512"):
            tiles = []
            for name, size in SIZES.items():
                page.resize(*size)
                for theme in THEMES:
                    driver.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
                    file = folder / f"{state.replace(' ', '_')}_{name}_{theme}.png"
                    driver.save_screenshot(str(file))
                    tiles.append(_tile(file, f"{state}, {name}, {theme}"))
            page.resize(*SIZES["1400"])
            rows.append(tiles)
    _save_sheet(rows, DOCS / "playground_states.png")


def _show_samples(page: Page) -> None:
    """A desk with a few pictures in the gallery, the last of them large."""
    for number in SAMPLES:
        page.resize(*SIZES["1400"])
        page.open()
        page.sign_in()
        page.driver.find_element(By.CSS_SELECTOR, f".samples li:nth-child({number}) button").click()
        page.generate()
    page.until(lambda: page.natural_size() != (0, 0))
    page.driver.execute_script("document.querySelector('.left').scrollTop = 0; document.activeElement.blur()")


def _tile(file: Path, title: str) -> np.ndarray:
    """A state with its name above."""
    picture = cv2.imread(str(file))
    assert picture is not None
    width = round(picture.shape[1] * HEIGHT / picture.shape[0])
    small = cv2.resize(picture, (width, HEIGHT), interpolation=cv2.INTER_AREA)
    head = np.full((28, width, 3), 255, np.uint8)
    cv2.putText(head, title, (2, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
    return np.vstack([head, small])


def _save_sheet(rows: list[list[np.ndarray]], path: Path) -> None:
    """All states, one below another."""
    width = max(sum(tile.shape[1] + GAP for tile in tiles) for tiles in rows)
    lines = [_line(tiles, width) for tiles in rows]
    sheet = Image.fromarray(cv2.cvtColor(np.vstack(lines), cv2.COLOR_BGR2RGB))
    sheet.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def _line(tiles: list[np.ndarray], width: int) -> np.ndarray:
    found = np.full((HEIGHT + 28 + GAP, width, 3), 255, np.uint8)
    at = 0
    for tile in tiles:
        found[: tile.shape[0], at : at + tile.shape[1]] = tile
        at += tile.shape[1] + GAP
    return found


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
