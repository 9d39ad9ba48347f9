"""The page of `p2ptun serve` in a real browser (Debian: chromium, chromium-driver).

With P2PTUN_SCREENSHOTS=DIRECTORY it is drawn there, as on a phone and on a desk, in light and dark.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.interop.browser import Browser, has_browser, wait_until
from tests.interop.web_serving import WebServing

pytestmark = [
    pytest.mark.skipif(not has_browser(), reason="needs chromium and chromium-driver"),
    pytest.mark.xdist_group("browser"),
]
SIZES = (320, 390, 1280)
SCREENSHOTS = os.environ.get("P2PTUN_SCREENSHOTS")
TOUCHABLE = 44  # CSS pixels, WCAG 2.1 2.5.5
ENOUGH, ENOUGH_WHEN_LARGE, LARGE = 4.5, 3.0, 24.0  # WCAG 2.1 1.4.3; the size in CSS pixels

CONTRASTS = """
  const part = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const below = (element) => {
    for (; element; element = element.parentElement) {
      const colour = numbers(getComputedStyle(element).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    throw new Error("nothing below");
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].filter((node) => node.nodeType === 3 && node.data.trim()).length;
    if (!own && element.tagName !== "INPUT" || !element.checkVisibility() || element.localName === "title") continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(numbers(element.ownerSVGElement ? style.fill : style.color)), light(below(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found.push([element.localName + "." + element.getAttribute("class"), ratio, parseFloat(style.fontSize)]);
  }
  return found;
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServing]:
    with WebServing(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def browser(window: Browser, site: WebServing) -> Browser:
    """The window with the page in it, and nothing left of what another test did."""
    window.resize(1280)
    window.prefer()
    window.allow_scripts(True)
    window.open(site.url)
    return window


def type_code(browser: Browser, text: str) -> None:
    field = browser.find("#code")
    field.clear()
    field.send_keys(text)


def look_again(browser: Browser) -> None:
    """What the page does when somebody comes back to it."""
    browser.run("document.dispatchEvent(new Event('visibilitychange'))")


def test_it_says_what_to_do_and_asks_nobody_else(browser: Browser, site: WebServing) -> None:
    assert "p2ptun" in browser.driver.title
    assert browser.find("h1").text.replace("\u00a0", " ") == "Two machines meet here."
    assert browser.find("#share").text == f"sudo p2ptun share --rendezvous {site.url}"
    assert browser.find("#join").text == f"sudo p2ptun join --rendezvous {site.url}"
    assert not browser.find(".own-url").is_displayed()
    paths = [request["url"] for request in browser.requests()]
    assert {f"{site.url}/", f"{site.url}/page.css", f"{site.url}/page.js"} <= set(paths)
    assert all(path.startswith(f"{site.url}/") for path in paths)
    assert browser.complaints() == []


def test_a_typed_code_completes_the_command_and_stays_here(browser: Browser, site: WebServing) -> None:
    browser.requests()
    for typed, state in (("42", "three words"), ("42 Amber_", "three words"), ("42 Amber_tiger lamp ", "complete")):
        type_code(browser, typed)
        assert state in browser.find("#code-state").text
    assert browser.find("#join").text == f"sudo p2ptun join --rendezvous {site.url} 42-amber-tiger-lamp"
    look_again(browser)
    asked: list[str] = []

    def has_asked() -> bool:
        asked.extend(str(request) for request in browser.requests())
        return bool(asked)

    wait_until(has_asked, "the counts are asked for")
    assert all(f"{site.url}/counts" in request for request in asked)
    assert not [request for request in asked if "amber" in request.lower()]
    kept = browser.run("return JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])")
    assert "amber" not in kept
    assert browser.complaints() == []


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        ("7; rm -rf ~ && $(x) `y` | z > w 'q' \"r\"", " 7-rm-rf-x-y-z-w-q-r"),
        ("\u202e42\u2013amber\u00a0tiger", " 42-amber-tiger"),
        ("---", ""),
    ],
)
def test_nothing_typed_becomes_another_command(browser: Browser, site: WebServing, typed: str, command: str) -> None:
    type_code(browser, typed)
    assert browser.find("#join").text == f"sudo p2ptun join --rendezvous {site.url}{command}"
    assert "The command is complete." not in browser.find("#code-state").text


def test_buttons_copy_the_commands(browser: Browser, site: WebServing) -> None:
    permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    browser.command("Browser.grantPermissions", origin=site.url, permissions=permissions)
    type_code(browser, "42-amber-tiger-lamp")
    for name in ("share", "join"):
        button = browser.find(f"button[data-copy={name}]")
        button.click()
        wait_until(lambda button=button: button.text == "Copied", "the button says so")  # type: ignore[misc]
        assert browser.run("return navigator.clipboard.readText()") == browser.find(f"#{name}").text
    assert browser.find("#said").get_attribute("textContent") == "Copied."
    assert browser.complaints() == []


def test_buttons_copy_where_scripts_have_no_clipboard(browser: Browser, site: WebServing) -> None:
    """As without TLS, under a name: chromium gives scripts a clipboard only on pages that it calls secure."""
    elsewhere = f"http://rv.test:{site.http_port}"
    browser.open(elsewhere)
    assert browser.run("return navigator.clipboard === undefined")
    button = browser.find("button[data-copy=share]")
    button.click()
    wait_until(lambda: button.text == "Copied", "the button says so")
    browser.find("#code").click()
    ActionChains(browser.driver).key_down(Keys.CONTROL).send_keys("v").key_up(Keys.CONTROL).perform()
    pasted = browser.find("#code").get_attribute("value")
    assert pasted == f"sudo p2ptun share --rendezvous {elsewhere}"


def test_counts_follow_what_happens(browser: Browser, site: WebServing) -> None:
    shown = browser.find("[data-count=numbered]")
    before = int(shown.text)
    assert httpx.post(f"{site.url}/v1/rooms").status_code == 201
    wait_until(lambda: int(shown.text) == before + 1, "the new room is counted")
    assert browser.complaints() == []


def test_a_server_that_is_away_is_told_of_and_asked_again(browser: Browser) -> None:
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    state = browser.find("#counts-state")
    browser.command("Network.emulateNetworkConditions", offline=True, **network)
    try:
        look_again(browser)
        wait_until(lambda: "doesn't answer" in state.text, "people are told")
        assert browser.find("[data-count=numbered]").text.isdecimal(), "the last numbers stand"
    finally:
        browser.command("Network.emulateNetworkConditions", offline=False, **network)
    look_again(browser)
    wait_until(lambda: state.text == "", "it is as it was")


@pytest.mark.parametrize("width", SIZES)
def test_nothing_is_wider_than_the_window(browser: Browser, width: int) -> None:
    browser.resize(width)
    type_code(browser, "123456-" + "abcdefgh" * 9)
    wide = "return [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth)"
    assert browser.run(f"{wide}.map((e) => e.outerHTML.slice(0, 80))") == []
    assert browser.run("return document.documentElement.scrollWidth") == width


def test_a_finger_hits_what_it_means(browser: Browser) -> None:
    browser.resize(320)
    for element in browser.driver.find_elements(By.CSS_SELECTOR, "button, input"):
        assert element.size["height"] >= TOUCHABLE
    assert float(browser.find("#code").value_of_css_property("font-size")[:-2]) >= 16  # smaller ones make phones zoom


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_text_can_be_read(browser: Browser, scheme: str, width: int) -> None:
    browser.resize(width)
    browser.prefer(color_scheme=scheme)
    type_code(browser, "42-amber-tiger-lamp")
    browser.run("find('counts-state').textContent = 'away'; find('counts-state').classList.add('away')")
    if SCREENSHOTS:
        browser.save(Path(SCREENSHOTS) / f"page-{width}-{scheme}.png")
    found = browser.run(CONTRASTS)
    assert len(found) > 30
    too_low = [each for each in found if each[1] < (ENOUGH_WHEN_LARGE if each[2] >= LARGE else ENOUGH)]
    assert too_low == []
    backgrounds = browser.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(backgrounds) < 64) == (scheme == "dark")


def test_nothing_moves_for_those_who_do_not_want_it(browser: Browser) -> None:
    browser.prefer(reduced_motion="no-preference")
    assert browser.run("return document.getAnimations().length") > 0
    browser.prefer(reduced_motion="reduce")
    assert browser.run("return document.getAnimations().length") == 0


def test_the_keyboard_reaches_everything_and_shows_where_it_is(browser: Browser) -> None:
    reached = []
    for _ in range(4):
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        element = browser.driver.switch_to.active_element
        reached.append(element.get_attribute("data-copy") or element.get_attribute("id") or element.tag_name)
        assert element.value_of_css_property("outline-style") == "solid"
    assert reached == ["share", "code", "join", "a"]


def test_screen_readers_find_their_way(browser: Browser) -> None:
    nodes = [node for node in browser.command("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
    named = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes}
    roles = {role for role, _ in named}
    assert {"banner", "main", "contentinfo", "figure", "list"} <= roles
    assert {
        ("region", "Bring two machines together"),
        ("region", "What this place learns"),
        ("region", "Right now"),
        ("textbox", "The code, if you like"),
        ("button", "Copy the command to share"),
        ("button", "Copy the command to join"),
        ("link", "The interface for programs"),
    } <= named
    assert any(role == "image" and name.startswith("Two machines") for role, name in named)


def test_inline_scripts_do_not_run(browser: Browser) -> None:
    """Whoever gets markup into the page gets no script into it."""
    browser.run(
        "const script = document.createElement('script'); script.textContent = 'window.ran = true';"
        "document.body.append(script); document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"ran=1\">');"
    )
    assert browser.run("return window.ran === undefined")
    assert any("Content Security Policy" in each for each in browser.complaints())


def test_without_javascript_everything_is_said(browser: Browser, site: WebServing) -> None:
    browser.allow_scripts(False)
    browser.open(site.url)
    browser.allow_scripts(True)  # the tests look with scripts of their own; the page's haven't run
    assert browser.find("#share").text == "sudo p2ptun share --rendezvous URL"
    assert browser.find(".own-url").is_displayed()
    assert int(browser.find("[data-count=numbered]").text) >= 0
    assert not [each for each in browser.driver.find_elements(By.CSS_SELECTOR, "button, input") if each.is_displayed()]
    assert not browser.find("#code-note").is_displayed()
    assert browser.complaints() == []
