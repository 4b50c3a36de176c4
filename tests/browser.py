"""Headless Chromium for the tests of reports, and what must not be wrong with a page in it."""

import base64
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

WIDTHS = (390, 1280, 1920)
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
A4_WIDTH = 688  # CSS pixels between the margins of 14 mm

# Faults of a page with everything unfolded: overflow, clipped texts, and contrast below WCAG's 4.5.
_FAULTS = """
const faults = [], page = document.documentElement;
let count = 0;
document.querySelectorAll('details').forEach(d => d.open = true);
if (page.scrollWidth > page.clientWidth) faults.push(`page: ${page.scrollWidth} wide`);
for (const e of document.querySelectorAll('figure, table, pre, .tile, nav, header, section'))
  if (e.scrollWidth > e.clientWidth + 1)
    faults.push(`overflow: ${e.tagName} ${e.scrollWidth} in ${e.clientWidth}`);
const channels = c => c.match(/[\\d.]+/g).map(Number);
const over = (top, below) => {
  const [r, g, b, a = 1] = top;
  return [r, g, b].map((v, i) => v * a + below[i] * (1 - a));
};
const luminance = c => {
  const [r, g, b] = c.slice(0, 3).map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b;
};
const paper = e => e === null ? [255, 255, 255]
  : over(channels(getComputedStyle(e).backgroundColor), paper(e.parentElement));
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const e = walker.currentNode.parentElement, style = getComputedStyle(e);
  if (!walker.currentNode.data.trim() || style.visibility === 'hidden') continue;
  const range = document.createRange();
  range.selectNodeContents(walker.currentNode);
  const box = range.getBoundingClientRect(), svg = e.closest('svg');
  if (!box.width) continue;
  const said = walker.currentNode.data.trim().slice(0, 40);
  const frame = (svg || page).getBoundingClientRect();
  if (box.left < frame.left - 2 || box.right > frame.right + 2 ||
      (svg && (box.top < frame.top - 2 || box.bottom > frame.bottom + 2)))
    faults.push(`clipped: ${said}`);
  let below = paper(e), ink = channels(svg ? style.fill : style.color);
  const rect = e.closest('.cell')?.querySelector('rect');
  if (rect) {
    const cell = getComputedStyle(rect);
    below = over([...channels(cell.fill).slice(0, 3), Number(cell.fillOpacity)], below);
  }
  const pair = [luminance(over(ink, below)), luminance(below)];
  const ratio = (Math.max(...pair) + .05) / (Math.min(...pair) + .05);
  if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(1)}: ${said}`);
  count += 1;
}
if (count < 50) faults.push(`only ${count} texts`);
for (const image of document.images)
  if (!image.complete || !image.naturalWidth) faults.push(`broken: ${image.alt}`);
return faults;
"""
# Tiny marks at both ends of every figure, which a printed page must have together.
_MARK = """
document.querySelectorAll('figure').forEach((figure, n) => {
  if (!figure.getClientRects().length) return;
  for (const [end, place] of [['a', 'afterbegin'], ['z', 'beforeend']])
    figure.insertAdjacentHTML(place, `<div style="font-size:3px">mark${n}${end}.</div>`);
});
return document.querySelectorAll('figure').length;
"""


class Browser:
    """Headless Chromium that looks at a page."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    def open(
        self, path: Path, width: int, scheme: str = "light", media: str = "screen"
    ) -> tuple[list, list[str]]:
        """Opens a file; returns what the console said and what was asked of the network."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        emulated = {"media": media, "features": features}
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", emulated)
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
        """The value of a JavaScript expression in the page."""
        return self._driver.execute_script(f"return {expression}")

    def faults(self, path: Path) -> list[str]:
        """The faults of a report: at every width, in both schemes, and on paper.

        Widths and schemes are not combined: the one decides on places, the other on colours.
        """
        faults = []
        looks = [(width, "light", "screen") for width in WIDTHS]
        looks += [(WIDTHS[1], "dark", "screen"), (A4_WIDTH, "dark", "print")]
        for width, scheme, media in looks:
            console, asked = self.open(path, width, scheme, media)
            found = [f"console: {entry}" for entry in console]
            found += [f"asked for {url}" for url in asked if url != path.as_uri()]
            found += self._driver.execute_script(_FAULTS)
            faults += [f"{width} {scheme} {media}: {fault}" for fault in found]
        return faults + self._cut_figures(path)

    def _cut_figures(self, path: Path) -> list[str]:
        """Prints a report, and lists the figures that are on more than one page."""
        pypdf = pytest.importorskip("pypdf", reason="reads printed reports")
        self.open(path, A4_WIDTH)
        figures = self._driver.execute_script(_MARK)
        options = {"preferCSSPageSize": True, "printBackground": True}
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        printed = self._driver.execute_cdp_cmd("Page.printToPDF", options)["data"]
        pages = pypdf.PdfReader(io.BytesIO(base64.b64decode(printed))).pages
        texts = ["".join(page.extract_text().split()) for page in pages]
        cut, whole = [], 0
        for number in range(figures):
            places = [
                {i for i, t in enumerate(texts) if f"mark{number}{end}." in t} for end in "az"
            ]
            whole += bool(places[0])
            if places[0] != places[1]:
                cut.append(f"figure {number} is on pages {places}")
        return cut if whole else [f"no figure of {figures} is printed"]


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
    for argument in (*FLAGS, "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_binary))
    yield Browser(driver)
    driver.quit()
