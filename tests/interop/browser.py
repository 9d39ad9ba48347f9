"""Debian's chromium without a screen (packages chromium and chromium-driver), asked as its developer tools ask it."""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

TIMEOUT = 30.0
Value: TypeAlias = Any  # whatever a page or the browser answers
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"),
    "--host-resolver-rules=MAP rv.test 127.0.0.1, EXCLUDE 127.0.0.1, MAP * ~NOTFOUND",
)
"""Root has no sandbox to be in. No name but one is found: whatever a page asks of others fails, and is seen."""


def has_browser() -> bool:
    """Tell whether both programs are here."""
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


class Browser:
    """One window. Settings last until they are changed; `opened` says where it is."""

    def __init__(self) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        for option in OPTIONS:
            options.add_argument(option)
        service = Service(shutil.which("chromedriver"))  # named, so that nothing is looked for or downloaded
        self.driver: Value = webdriver.Chrome(options=options, service=service)
        self.driver.set_script_timeout(TIMEOUT)
        self.resize(1280)

    def resize(self, width: int, height: int = 800) -> None:
        """Have a window, or a phone, of this width in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.command("Emulation.setDeviceMetricsOverride", **metrics)

    def prefer(self, **features: str) -> None:
        """Have a person's preferences, as in `color_scheme="dark"`; those that aren't named are as by default."""
        chosen = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        self.command("Emulation.setEmulatedMedia", features=chosen)

    def allow_scripts(self, is_allowed: bool) -> None:
        """Run the scripts of pages that are opened from now on, or none."""
        self.command("Emulation.setScriptExecutionDisabled", value=not is_allowed)

    def open(self, url: str) -> None:
        """Go there, and forget what was complained about and asked for before."""
        self.complaints()
        self.requests()
        self.driver.get(url)

    def find(self, selector: str) -> WebElement:
        """Return the first element that a CSS selector fits."""
        found: WebElement = self.driver.find_element(By.CSS_SELECTOR, selector)
        return found

    def run(self, script: str, *arguments: object) -> Value:
        """Run the body of an async function in the page and return what it returns."""
        text = "const done = arguments[arguments.length - 1]; (async (...a) => {" + script + "})(...arguments)"
        return self.driver.execute_async_script(f"{text}.then(done, (error) => done(`failed: ${{error}}`))", *arguments)

    def command(self, name: str, **parameters: object) -> Value:
        """Give a command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, parameters)

    def complaints(self) -> list[str]:
        """Take what stands on the console since the last time: errors, warnings, violations of policies."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[dict[str, Any]]:
        """Take the requests since the last time."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [each["params"]["request"] for each in messages if each["method"] == "Network.requestWillBeSent"]

    def save(self, path: Path) -> None:
        """Draw the whole page, as long as it is, into a PNG file."""
        size = self.command("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        drawn = self.command("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(drawn["data"]))

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.driver.quit()


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Look again and again until something is so; fail when it isn't in time."""
    end = time.monotonic() + TIMEOUT
    while not is_so():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.02)
