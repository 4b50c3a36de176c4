"""The fixture `browser`: headless Chromium, for tests of pages."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class Browser:
    """Headless Chromium that looks at a page."""

    # WCAG's contrast of texts with the page, those of charts included.
    _CONTRASTS = """(() => {
      const luminance = c => {
        const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
          .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b;
      };
      const paper = luminance(getComputedStyle(document.body).backgroundColor);
      return [...document.querySelectorAll('body, .note, tbody th, figure svg text')].map(e => {
        const style = getComputedStyle(e);
        const ink = luminance(e.closest('svg') ? style.fill : style.color);
        return (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05);
      });
    })()"""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    def open(self, path: Path, width: int, scheme: str = "light") -> tuple[list, list[str]]:
        """Opens a file; returns what the console said and what was asked of the network."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        for log in ("browser", "performance"):
            self._driver.get_log(log)  # Empties it.
        self._driver.get(path.as_uri())
        entries = self._driver.get_log("performance")
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        asked = [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]
        console = self._driver.get_log("browser")
        return console, [url for url in asked if not url.startswith("data:")]

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript is worth in the page."""
        return self._driver.execute_script(f"return {expression}")

    def contrasts(self) -> list[float]:
        """The contrast of every text with the page; WCAG asks for 4.5."""
        return self.value(self._CONTRASTS)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium; skips where there is none."""
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver_binary = shutil.which("chromedriver")
    if not binary or not driver_binary:
        pytest.skip("no Chromium: install the packages chromium and chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="drives Chromium")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--hide-scrollbars",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_binary))
    yield Browser(driver)
    driver.quit()
