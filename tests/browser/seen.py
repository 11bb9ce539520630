"""What the page shows, what its form says, and what the server has of it."""

from typing import Any

import cv2
import httpx
import numpy as np

from tests.browser.page import SECONDS, Page, fetch


def result(page: Page) -> bytes:
    """The file of the picture that is shown."""
    page.until(lambda: page.natural_size() != (0, 0))
    shown = page["download"].get_attribute("href")
    assert shown is not None
    return fetch(shown).raise_for_status().content


def opened(data: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture


def job(page: Page, name: str = "") -> dict[str, Any]:
    """A job as the server has it; without a name the one that is shown."""
    answer = fetch(f"{page.url}/v1/jobs/{name or page.shown()}", headers={"x-api-key": page.key})
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


def generated(page: Page, document: dict[str, Any]) -> dict[str, Any]:
    """A job that another client has sent, once its picture is there."""
    headers = {"x-api-key": page.key}
    sent = httpx.post(f"{page.url}/rest_api/process", json=document, headers=headers, timeout=SECONDS)
    return ended(page, sent.raise_for_status().json()["job"])


def ended(page: Page, name: str) -> dict[str, Any]:
    """A job of the server once it has its picture."""
    page.until(lambda: job(page, name)["state"] not in {"queued", "running"})
    found = job(page, name)
    assert found["state"] == "succeeded", found
    return found


def values(page: Page) -> dict[str, Any]:
    """What the form says, by path."""
    script = """
        const done = arguments[arguments.length - 1];
        import("/playground/store.js").then(({ get }) => done({ task: get().form.task, ...get().form.values }));
    """
    found: dict[str, Any] = page.driver.execute_async_script(script)
    return found
