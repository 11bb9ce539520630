"""The account's pictures, the queue, and what can be done with a picture."""

import base64
import re
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.page import PICTURE, Page, fetch
from tests.browser.seen import generated, job, result, values
from tests.browser.states import quick

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(1500)]  # several pictures each, on slow cores


def test_the_gallery_is_the_servers_and_recalls_settings(page: Page) -> None:
    """Prompt, seed and settings come back in a browser that has kept nothing, of another client's job too."""
    generate = {"description": "<b>a snail</b>", "negative_prompt": "rain", "sample_num": 2**53 + 1}
    body = {"width": 64, "height": 96, "background": {"generate": generate}, "imagegen": {"steps": 3}}
    other = generated(page, body)
    page.sign_in()
    page.until(lambda: page.shows("gallery"))
    first = page["gallery"].find_element(By.TAG_NAME, "button")
    assert "<b>a snail</b>" in (first.get_attribute("title") or "")  # shown as text
    first.click()
    page.until(lambda: page.shown() == other["job"])
    assert result(page) == fetch(other["result_url"]).content
    page.click("act-recall")
    page.until(lambda: values(page).get("imagegen.steps") == "3")
    found = values(page)
    assert found["background.generate.description"] == "<b>a snail</b>"
    assert found["background.generate.negative_prompt"] == "rain"
    assert (found["width"], found["height"]) == ("64", "96")
    seed = page["field-background-generate-sample_num"].get_attribute("value")
    assert seed == str(other["seed"])
    page.generate()
    assert result(page) == fetch(other["result_url"]).content


NOTE_THE_QUEUE = """
    window.queued = [];
    const note = () => window.queued.push(document.getElementById("queue")?.textContent ?? "");
    new MutationObserver(note).observe(document.body, { childList: true, subtree: true, characterData: true });
"""


def test_several_jobs_and_pictures_at_once(page: Page) -> None:
    """More than run at once: those that wait say how many come before them."""
    page.sign_in()
    page.driver.execute_script(NOTE_THE_QUEUE)
    quick(page, "two cats", size="64")
    page.set("imagegen.n", "6")
    page.click("go")
    page.until(lambda: page.shows("strip"))
    page.set("imagegen.n", "1")
    page.write("prompt", "a rocket")
    assert page.generate()[-1].startswith("Done"), page.text("error")
    page.until(lambda: not page.shows("queue"))
    said = "".join(page.driver.execute_script("return window.queued"))
    assert re.search(r"[1-9] jobs? before it", said), said[-2000:]
    titles = [str(each.get_attribute("title")) for each in page["gallery"].find_elements(By.TAG_NAME, "button")[:7]]
    assert sorted(titles) == ["a rocket", *["two cats"] * 6]


def test_what_can_be_done_with_a_result(page: Page) -> None:
    """New seed, variation, upscale, cut out, input, inpaint, compare, link, delete: each starts from the picture."""
    page.sign_in()
    quick(page)
    page.generate()
    page.until(lambda: page.natural_size() != (0, 0))
    first = page.shown()

    def done(action: str) -> dict[str, Any]:
        before = page.shown()
        page.click(f"act-{action}")
        page.until(lambda: page.shown() not in {before, ""})
        assert page.wait()[-1].startswith("Done"), page.text("error")
        return job(page)

    def back() -> None:
        button = f"#gallery li:nth-child({position()}) button"
        page.driver.find_element(By.CSS_SELECTOR, button).click()
        page.until(lambda: page.shown() == first and page.natural_size() != (0, 0))

    def position() -> int:
        listed = fetch(f"{page.url}/v1/jobs?state=succeeded", headers={"x-api-key": page.key}).json()["jobs"]
        return [each["job"] for each in listed].index(first) + 1

    other = done("seed")
    assert other["request"]["background"]["generate"]["description"] == "a red apple"
    assert other["seed"] != job(page, first)["seed"]
    back()
    assert done("variation")["task"] == "image_to_image"
    back()
    large = done("upscale")
    assert (large["task"], large["width"]) == ("upscale", 256)
    page.click("act-compare")
    page.until(lambda: page.shows("divider"))
    page["divider"].send_keys(Keys.HOME)
    cut = "return getComputedStyle(document.querySelector('.compare')).getPropertyValue('--cut')"
    assert page.driver.execute_script(cut) == "0%"
    back()
    assert done("cutout")["request"]["background"]["remove"] == "auto"
    back()
    page.click("act-input")
    page.until(lambda: values(page)["task"] == "img2img" and page.shows("picture"))
    page.click("act-inpaint")
    page.until(
        lambda: page.shows("mask") and page.driver.execute_script("return document.getElementById('mask').width") == 128
    )
    page.click("act-link")
    page.until(lambda: page.text("notice") == "Link copied." or "/results/" in page.text("notice"))
    page.click("act-delete")
    page.driver.switch_to.alert.accept()
    page.until(lambda: page.shows("empty"))
    assert job(page, first)["state"] == "deleted"


def test_a_gallery_picture_is_dragged_into_the_form(page: Page) -> None:
    page.sign_in()
    quick(page)
    page.generate()
    page.until(lambda: page.natural_size() != (0, 0))
    drag = """
        const data = new DataTransfer();
        const event = (type) => new DragEvent(type, { dataTransfer: data, bubbles: true });
        document.querySelector("#gallery button").dispatchEvent(event("dragstart"));
        document.getElementById("form").dispatchEvent(event("drop"));
    """
    page.driver.execute_script(drag)
    page.until(lambda: page.text("picture-name").endswith("128 × 128"))
    assert values(page)["task"] == "img2img"


def test_settings_of_a_job_whose_picture_is_not_kept(page: Page) -> None:
    """They come back; the picture is asked for again."""
    data = base64.b64encode(PICTURE.read_bytes()).decode()
    body = {"url": f"base64,{data}", "background": {"remove": "item", "color": "#ff0000"}, "width": 128}
    generated(page, body)
    page.sign_in()
    page.until(lambda: page.shows("gallery"))
    page["gallery"].find_element(By.TAG_NAME, "button").click()
    page.until(lambda: page.natural_size() != (0, 0))
    page.click("act-recall")
    page.until(lambda: values(page)["task"] == "cutout")
    assert "Choose the picture again" in page.text("notice")
    found = values(page)
    assert (found["background.remove"], found["background.color"], found["width"]) == ("item", "#ff0000", "128")
    assert page.shows("drop")


def test_the_gallery_is_light(page: Page) -> None:
    """Its pictures are small copies that need the key; each is fetched once."""
    page.driver.execute_script("performance.setResourceTimingBufferSize(5000)")  # for all answers of a slow server
    page.sign_in()
    quick(page, size="512")
    page.generate()
    page.until(lambda: page.natural_size() != (0, 0))
    small = "return document.querySelector('#gallery img')?.naturalWidth"
    page.until(lambda: page.driver.execute_script(small) == 256)
    script = """
        return performance.getEntriesByType("resource")
          .filter(({ name, responseStatus }) => name.endsWith("/thumbnail") && responseStatus === 200)
          .map(({ name, encodedBodySize }) => [name, encodedBodySize]);
    """
    asked = page.driver.execute_script(script)
    assert len({name for name, _ in asked}) == len(asked)
    assert all(size < 24_000 for _, size in asked)
    assert fetch(asked[0][0]).status_code == 403


REFUSE_SMALL_COPIES = """
    const real = window.fetch;
    window.refused = 0;
    window.fetch = (path, ...more) => {
      if (window.refused === null || !path.endsWith("/thumbnail")) return real(path, ...more);
      window.refused += 1;
      return Promise.reject(new TypeError("Failed to fetch"));
    };
"""


def test_a_small_copy_is_asked_for_again(page: Page) -> None:
    """Where the server could not be reached for it."""
    page.sign_in()
    quick(page, size="64")
    page.generate()
    page.open()
    page.driver.execute_script(REFUSE_SMALL_COPIES)
    page.sign_in()
    page.until(lambda: page.driver.execute_script("return window.refused") > 0)
    page.driver.execute_script("window.refused = null")
    loaded = "return document.querySelector('#gallery img')?.naturalWidth"
    page.until(lambda: page.driver.execute_script(loaded) == 64)


def test_before_and_after_of_the_servers_gallery(page: Page) -> None:
    """Where the picture that a job began from is in the gallery too, in a browser that knows neither."""
    page.sign_in()
    quick(page)
    page.generate()
    page.until(lambda: page.natural_size() != (0, 0))
    before = result(page)
    first = page.shown()
    page.click("act-upscale")
    page.until(lambda: page.shown() != first)
    assert page.wait()[-1].startswith("Done"), page.text("error")
    page.open()
    page.sign_in()
    page.until(lambda: page.shows("gallery"))
    page["gallery"].find_element(By.TAG_NAME, "button").click()
    page.until(lambda: page.natural_size() == (256, 256))
    page.click("act-compare")
    page.until(lambda: page.shows("divider"))
    source = page.driver.find_element(By.CSS_SELECTOR, ".compare .before").get_attribute("src")
    assert source is not None
    assert fetch(source).content == before
    page.click("act-recall")
    page.until(lambda: "128 × 128" in page.text("picture-name"))
    assert values(page)["task"] == "upscale"
