"""The page in every state: accessible, light and dark, on a desk and on a phone; light, and of this host alone."""

import json
from pathlib import Path
from typing import Any

import axe_core_python.base
import pytest

from gateway.routes import playground
from tests.browser.page import PHONE, Page, fetch
from tests.browser.states import quick, walk

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(1500)]  # several pictures each, on slow cores
AXE = Path(axe_core_python.base.__file__).with_name("axe.min.js")
SCRIPTS = sorted(path.relative_to(playground.FILES).as_posix() for path in playground.FILES.rglob("*.js"))
MAX_BYTES = 260_000
"""All that the page loads, as files."""


def violations(page: Page) -> list[Any]:
    """What axe finds: WCAG 2.0 to 2.2, A and AA, and its best practices."""
    if not page.driver.execute_script("return 'axe' in window"):
        page.driver.execute_script(AXE.read_text("utf-8"))
    found = page.driver.execute_async_script(
        "const done = arguments[arguments.length - 1]; axe.run(document).then((found) => done(found.violations))"
    )
    return [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found]


def test_axe_finds_nothing_in_any_state(page: Page) -> None:
    """On a desk and on a phone, light and dark; and nothing sticks out."""
    desk, found = (1400, 900), {}
    page.resize(*desk)
    for state in walk(page):
        for size in (PHONE, desk):
            page.resize(*size)
            wide = page.driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
            assert wide == [size[0], size[0]], state
            for theme in ("light", "dark"):
                page.driver.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
                found[state, size, theme] = violations(page)
    assert len(found) == 15 * 4
    assert {state: each for state, each in found.items() if each} == {}


def test_nothing_moves_when_a_preview_becomes_the_result(page: Page) -> None:
    page.sign_in()
    quick(page)
    page.click("go")
    page.until(lambda: page.shows("figure"))
    first = page["figure"].rect
    page.wait()
    page.until(lambda: page.natural_size() != (0, 0))
    assert page["figure"].rect == first


def in_sight(page: Page, name: str) -> bool:
    """Whether the whole of an element is on the screen."""
    script = "return document.getElementById(arguments[0])?.getBoundingClientRect().toJSON()"
    box = page.driver.execute_script(script, name)
    return box is not None and box["top"] >= -1 and box["bottom"] <= PHONE[1]


def test_on_a_phone_the_result_is_in_sight_after_generate(page: Page) -> None:
    page.resize(*PHONE)
    page.sign_in()
    quick(page)
    page.click("go")
    page.until(lambda: in_sight(page, "figure"))
    page.wait()
    assert in_sight(page, "figure")


def test_on_a_phone_a_refusal_is_in_sight(page: Page) -> None:
    page.resize(*PHONE)
    page.sign_in()
    page.write("prompt", "a red apple")
    page.unfold("enhance")
    page.set("preset", "no such preset")
    page.click("go")
    page.until(lambda: in_sight(page, "failure"))
    assert page.text("error") == "Preset no such preset not found!"


@pytest.mark.parametrize("size", [(1280, 700), PHONE], ids=["desk", "phone"])
def test_what_has_the_focus_is_not_behind_the_footer(page: Page, size: tuple[int, int]) -> None:
    """As WCAG 2.2, 2.4.11 asks for, from the first control to the last."""
    page.resize(*size)
    page.sign_in()
    page.unfold("sampling", "background", "enhance", "file", "advanced")
    hidden = page.driver.execute_script("""
        const footer = document.querySelector(".footer");
        const behind = (each) => {
          each.focus({ preventScroll: false });
          return each.getBoundingClientRect().bottom > footer.getBoundingClientRect().top;
        };
        return [...document.querySelectorAll("#form :is(input:not(.hidden-input), select, textarea, button, summary)")]
          .filter((each) => each.checkVisibility() && !footer.contains(each) && behind(each))
          .map((each) => each.id || each.textContent.trim());
    """)
    assert hidden == []


def test_on_a_phone_all_can_be_hit_by_a_thumb(page: Page) -> None:
    page.resize(*PHONE)
    page.sign_in()
    page.write("prompt", "a word_that_is_longer_than_any_screen_is_wide_" + "x" * 200)
    page.unfold("sampling", "background", "enhance", "file")
    small = page.driver.execute_script(
        "const acting = 'button:not(.mini), select, input[type=text], input[type=number], textarea';"
        "return [...document.querySelectorAll(acting)]"
        ".filter((each) => each.checkVisibility() && each.offsetHeight < 44).map((each) => each.id || each.className)"
    )
    assert small == []


def test_everything_has_a_name_for_screen_readers(page: Page) -> None:
    page.sign_in()
    page.task("inpaint")
    page.choose()
    page.unfold("sampling", "background", "enhance", "caption", "file", "safety", "advanced", "layout", "print")
    page.driver.execute_cdp_cmd("Accessibility.enable", {})
    nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    acting = {"textbox", "combobox", "button", "slider", "checkbox", "radio", "spinbutton", "link", "form", "tab"}
    named: dict[str, list[str]] = {}
    for node in nodes:
        role = node.get("role", {}).get("value")
        if role in acting and not node.get("ignored"):
            named.setdefault(role, []).append(node.get("name", {}).get("value", ""))
    assert {role: names for role, names in named.items() if not all(names)} == {}
    assert len(named["radio"]) == 12
    assert len(named["checkbox"]) == 8
    assert page["status"].get_attribute("role") == "status"
    assert page["problem"].get_attribute("role") == "alert"


@pytest.mark.promise(
    "scripts of others in the playground",
    "a policy without inline scripts and other hosts; prompts are shown as text",
    "gateway/routes/playground.py",
)
def test_the_policy_is_strict(page: Page) -> None:
    answer = fetch(page.url)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
    assert "unsafe" not in policy
    for name in ("main.js", "style.css", "vendor/preact.js", "art/frog.webp"):
        given = fetch(f"{page.url}/playground/{name}")
        assert given.status_code == 200
        assert given.headers["content-security-policy"] == policy
        again = fetch(f"{page.url}/playground/{name}", headers={"If-None-Match": given.headers["etag"]})
        assert again.status_code == 304
    for path in ("..%2fapp.py", "../app.py", "no.js", "", "vendor", "art/"):
        missing = fetch(f"{page.url}/playground/{path}")
        assert (missing.status_code, missing.json()["code"]) == (404, "NOT_FOUND")
    inline = "const s = document.createElement('script'); s.textContent = 'window.mine = 1'; document.body.append(s);"
    page.driver.execute_script(inline)
    assert page.driver.execute_script("return window.mine") is None
    assert any("Content Security Policy" in words for words in page.complaints())


@pytest.mark.parametrize("name", ["index.html", "style.css", *SCRIPTS])
def test_the_page_is_files_of_its_own_alone(name: str) -> None:
    """Nothing of another host, nothing inline, nothing that is made of text at run time."""
    text = (playground.FILES / name).read_text("utf-8")
    if name.startswith("vendor/"):
        assert "eval(" not in text
        assert "Function(" not in text
        return
    for word in ("http://", "innerHTML", "eval(", "document.write", ' style="', " onclick=", "<style", "@import"):
        assert word not in text, word


def test_every_module_is_named_in_the_page() -> None:
    """So that a browser fetches them side by side, and not one after another."""
    text = (playground.FILES / "index.html").read_text("utf-8")
    assert [name for name in SCRIPTS if f'href="/playground/{name}"' not in text and name != "main.js"] == []


def test_the_page_is_light_and_asks_nobody_else(page: Page) -> None:
    page.until(lambda: page.shows("empty"))
    page.until(lambda: page.driver.execute_script("return [...document.images].every((each) => each.complete)"))
    script = "return performance.getEntriesByType('resource').map((each) => [each.name, each.decodedBodySize])"
    loaded = page.driver.execute_script(script)
    assert all(name.startswith(page.url) for name, _ in loaded), json.dumps(loaded)
    assert sum(size for _, size in loaded) < MAX_BYTES
    assert sum(path.stat().st_size for path in playground.FILES.rglob("*") if path.is_file()) < MAX_BYTES
