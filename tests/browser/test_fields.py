"""Every documented field of a request, from the form and back into it."""

import json
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from gateway.contract.request import ProcessRequest
from tests.browser.page import Page
from tests.browser.seen import job, opened, result
from tests.browser.states import quick

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(1500)]  # several pictures each, on slow cores


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
        const parts = [import("/playground/fields.js"), import("/playground/fields-enhance.js")];
        Promise.all(parts).then(([{ SECTIONS }, { ENHANCEMENTS }]) => done([
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
    without_schema = {"upscale_parameters"}
    assert documented - reached - by_task - same - by_itself == without_schema
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
    {
        "background": {"generate": {"description": "a (fox:1.2)"}},
        "imagegen": {
            "loras": [{"name": "ink", "weight": 0.8}, {"name": "wool"}],
            "prompt_weights": False,
            "clip_skip": 1,
            "skip_tolerance": 0.05,
            "guidance": {"start": 0.1, "end": 0.8, "rescale": 0.5, "method": "apg", "norm_threshold": 10},
        },
    },
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


FAMILY = {
    "name": "painter",
    "ready": True,
    "sampler": "euler",
    "samplers": ["euler"],
    "steps": 20,
    "guidance_scale": 6,
    "width": 512,
    "height": 512,
    "max_clip_skip": 2,
    "prompt_weights": True,
    "loras": [
        {"name": name, "weight": weight} for name, weight in (("ink", 0.8), ("wool", 1), ("clay", 1), ("oil", 1))
    ],
}


def test_settings_of_the_model_that_is_chosen(page: Page) -> None:
    """LoRAs with their weights, clip skip and brackets are offered as the server says of the model."""
    page.sign_in()
    page.unfold("model", "guidance")
    assert "no LoRAs" in page.text("field-imagegen-loras")
    assert not page["field-imagegen-clip_skip"].is_enabled()
    page.driver.execute_async_script(
        "const [family, done] = arguments;"
        "import('/playground/store.js').then(({ set }) => { set({ families: [family] }); done(); })",
        FAMILY,
    )
    page.write("prompt", "a (red:1.2) apple")
    loras = page["field-imagegen-loras"]
    page.until(lambda: len(loras.find_elements(By.CSS_SELECTOR, "input[type=checkbox]")) == 4)
    for number in range(3):
        page.press(loras.find_elements(By.CSS_SELECTOR, "input[type=checkbox]")[number])
    page.until(lambda: not loras.find_elements(By.CSS_SELECTOR, "input[type=checkbox]")[3].is_enabled())
    loras.find_element(By.CSS_SELECTOR, "input[type=range]").send_keys(Keys.ARROW_RIGHT)
    page.select("imagegen.clip_skip", "2")
    page.select("imagegen.prompt_weights", "false")
    page.select("imagegen.guidance.method", "apg")
    page["field-imagegen-guidance-end"].send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    page.set("imagegen.guidance.norm_threshold", "5")
    script = """
        const done = arguments[arguments.length - 1];
        const parts = [import("/playground/store.js"), import("/playground/request.js")];
        Promise.all(parts).then(([{ get }, { build }]) => done(build(get().form, () => "")));
    """
    assert page.driver.execute_async_script(script) == {
        "background": {"generate": {"description": "a (red:1.2) apple"}},
        "imagegen": {
            "loras": [{"name": "ink", "weight": 0.85}, {"name": "wool"}, {"name": "clay"}],
            "clip_skip": 2,
            "prompt_weights": False,
            "guidance": {"end": 0.9, "method": "apg", "norm_threshold": 5},
        },
    }


def test_guidance_in_detail_is_sent(page: Page) -> None:
    page.sign_in()
    quick(page)
    page.unfold("guidance")
    page["field-imagegen-guidance-end"].send_keys(Keys.HOME)
    page.set("imagegen.steps", "3")
    assert page.generate()[-1].startswith("Done"), page.text("error")
    assert job(page)["request"]["imagegen"]["guidance"] == {"end": 0.0}


def test_a_preset_is_chosen(page: Page) -> None:
    page.sign_in()
    page.task("enhance")
    page.choose()
    page.press(page.driver.find_element(By.XPATH, "//button[normalize-space()='Product cutout']"))
    assert page["field-preset"].get_attribute("value") == "product_cutout"
    assert page.generate()[-1].startswith("Done"), page.text("error")
    assert opened(result(page)).size
