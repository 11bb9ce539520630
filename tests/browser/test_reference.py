"""The reference of the API, in a browser."""

from tests.browser.page import Page

SHOWN = "return document.querySelector('rapi-doc')?.shadowRoot?.textContent ?? ''"


def test_the_reference_shows_every_operation(page: Page) -> None:
    """And the browser has nothing to complain of: no other host, nothing that the policy forbids."""
    page.driver.get(f"{page.url}/docs")
    page.until(lambda: "/v1/images/generations" in page.driver.execute_script(SHOWN))
    text = page.driver.execute_script(SHOWN)
    for words in ("/rest_api/process_result", "/v1/jobs/{job}/events", "OpenAI Images", "X-API-KEY"):
        assert words in text
