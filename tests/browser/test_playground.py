"""A person's way through the playground, in a real browser over the real stack."""

import base64
import json
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from gateway.contract.request import ProcessRequest
from tests.browser.page import PICTURE, Page
from tests.browser.states import quick

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(900)]  # several pictures each, on slow cores


def result(page: Page) -> bytes:
    """The file of the picture that is shown."""
    page.until(lambda: page.natural_size() != (0, 0))
    shown = page["download"].get_attribute("href")
    assert shown is not None
    return httpx.get(shown).raise_for_status().content


def opened(data: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture


def job(page: Page, name: str = "") -> dict[str, Any]:
    """A job as the server has it; without a name the one that is shown."""
    answer = httpx.get(f"{page.url}/v1/jobs/{name or page.shown()}", headers={"x-api-key": page.key})
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


def values(page: Page) -> dict[str, Any]:
    """What the form says, by path."""
    script = """
        const done = arguments[arguments.length - 1];
        import("/playground/store.js").then(({ get }) => done({ task: get().form.task, ...get().form.values }));
    """
    found: dict[str, Any] = page.driver.execute_async_script(script)
    return found


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


def test_the_gallery_is_the_servers_and_recalls_settings(page: Page) -> None:
    """Prompt, seed and settings come back in a browser that has kept nothing, of another client's job too."""
    headers = {"x-api-key": page.key}
    generate = {"description": "<b>a snail</b>", "negative_prompt": "rain", "sample_num": 2**53 + 1}
    body = {"width": 64, "height": 96, "background": {"generate": generate}, "imagegen": {"steps": 3}}
    made = httpx.post(f"{page.url}/rest_api/process_result", json=body, headers=headers, timeout=90).json()
    page.sign_in()
    page.until(lambda: page.shows("gallery"))
    first = page["gallery"].find_element(By.TAG_NAME, "button")
    assert "<b>a snail</b>" in (first.get_attribute("title") or "")  # shown as text
    first.click()
    page.until(lambda: page.shown() == made["job"])
    assert result(page) == httpx.get(made["result_url"]).content
    page.click("act-recall")
    page.until(lambda: values(page).get("imagegen.steps") == "3")
    found = values(page)
    assert found["background.generate.description"] == "<b>a snail</b>"
    assert found["background.generate.negative_prompt"] == "rain"
    assert (found["width"], found["height"]) == ("64", "96")
    seed = page["field-background-generate-sample_num"].get_attribute("value")
    assert seed == str(made["seed"])
    page.generate()
    assert result(page) == httpx.get(made["result_url"]).content


def test_several_jobs_and_pictures_at_once(page: Page) -> None:
    page.sign_in()
    quick(page, "two cats")
    page.set("imagegen.n", "8")  # more than run at once
    page.click("go")
    page.until(lambda: page.shows("strip"))
    page.set("imagegen.n", "1")
    page.write("prompt", "a rocket")
    page.click("go")
    page.until(lambda: "jobs before it" in page.text("queue"))
    page.wait()
    page.until(lambda: not page.shows("queue"))
    titles = [str(each.get_attribute("title")) for each in page["gallery"].find_elements(By.TAG_NAME, "button")[:9]]
    assert sorted(titles) == ["a rocket", *["two cats"] * 8]


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
        listed = httpx.get(f"{page.url}/v1/jobs?state=succeeded", headers={"x-api-key": page.key}).json()["jobs"]
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


def leaves(schema: dict[str, Any], parts: dict[str, Any], prefix: str = "") -> set[str]:
    """Paths of the fields of a JSON schema."""
    found = set()
    for name, each in schema["properties"].items():
        references = [one["$ref"] for one in [each, *each.get("anyOf", [])] if "$ref" in one]
        if references:
            found |= leaves(parts[references[0].rpartition("/")[2]], parts, f"{prefix}{name}.")
        else:
            found.add(prefix + name)
    return found


def test_every_documented_field_can_be_set(page: Page) -> None:
    schema = ProcessRequest.model_json_schema()
    documented = leaves(schema, schema["$defs"])
    script = """
        const done = arguments[arguments.length - 1];
        import("/playground/fields.js").then(({ SECTIONS, ENHANCEMENTS }) => done([
          ...SECTIONS.flatMap(({ fields }) => fields.map(({ path }) => path)),
          ...ENHANCEMENTS.map(([name]) => `${name}_parameters.level`),
          ...ENHANCEMENTS.filter(([, , types]) => types).map(([name]) => `${name}_parameters.type`),
          "face_enhance_parameters.smoothing_level",
        ]));
    """
    reached = set(page.driver.execute_async_script(script))
    by_task = {"url", "background.generate.description", "background.generate.adapter_type", "generative_upscale"}
    same = {"output_quality", "nsfw_parameters.thresold", "nsfw_parameters.image_url"}  # other names of fields
    by_itself = {"imagegen.preview_interval"}
    guidance = {path for path in documented if path.startswith("imagegen.guidance.")}
    as_json = guidance | {
        "imagegen.loras",
        "imagegen.prompt_weights",
        "imagegen.clip_skip",
        "imagegen.skip_tolerance",
        "imagegen.deadline_seconds",
    }  # by "More fields"
    assert documented - reached - by_task - same - by_itself - as_json == {
        "upscale_parameters"
    }  # an object without a schema
    assert reached - documented == {"", "upscale_parameters.type"}  # more fields as JSON


URL, OTHER = "https://a.example/b.png", "https://a.example/c.png"


def generating(**fields: Any) -> dict[str, Any]:
    return {"url": URL, "background": {"generate": {"description": "a fox", **fields}}}


DOCUMENTS: list[dict[str, Any]] = [
    {"width": 512, "background": {"generate": {"description": "a fox", "sample_num": 7, "negative_prompt": "rain"}}},
    generating(adapter_type="generate_background", item_area_percentage=0.5, color="#ff0000"),
    generating(adapter_type="control", controlnet_conditioning_scale=0.4),
    generating(adapter_type="img2img", strength=0.3, context_images=[OTHER]),
    {**generating(), "fit": {"canvas": "outpainting"}, "width": 900, "height": 600},
    {"url": URL, "generative_upscale": True, "width": "200%", "upscale_strength": 3},
    {"url": URL, "background": {"remove": "human", "color": "white"}, "fit": {"crop": "item"}, "padding": "5%"},
    {
        "url": URL,
        "enhancements": ["denoise", "face_enhance"],
        "denoise_parameters": {"level": 0.5, "type": "v2"},
        "print_size": "a6",
        "dpi": 150,
        "print_reorientation": False,
    },
    {"url": URL, "caption": {"url": OTHER, "position": "LT", "opacity": 50}, "output_format": "jpeg", "quality": 70},
    {"url": URL, "safe": False, "webhooks": {"complete": URL, "events": "failed"}, "metadata": "prompt"},
]


def test_a_request_comes_back_as_the_same_request(page: Page) -> None:
    script = """
        const [documents, done] = arguments;
        import("/playground/request.js").then(({ build, recall }) => {
          const text = Object.assign(({ url }) => url, { main: true });
          done(documents.map((document) => build(recall(document), text)));
        });
    """
    for sent, again in zip(DOCUMENTS, page.driver.execute_async_script(script, DOCUMENTS), strict=True):
        assert json.dumps(again, sort_keys=True) == json.dumps(sent, sort_keys=True)


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


def test_settings_of_a_job_whose_picture_is_not_kept(page: Page) -> None:
    """They come back; the picture is asked for again."""
    data = base64.b64encode(PICTURE.read_bytes()).decode()
    body = {"url": f"base64,{data}", "background": {"remove": "item", "color": "#ff0000"}, "width": 128}
    httpx.post(f"{page.url}/rest_api/process_result", json=body, headers={"x-api-key": page.key}, timeout=90)
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


def test_colours_are_chosen(page: Page) -> None:
    scheme = "return getComputedStyle(document.documentElement).colorScheme"
    assert page.driver.execute_script(scheme) == "light dark"
    for expected in ("light", "dark"):
        page["theme"].click()
        assert page.driver.execute_script(scheme) == expected
    page.driver.refresh()
    page.until(lambda: page.shows("theme"))
    assert page.driver.execute_script(scheme) == "dark"
