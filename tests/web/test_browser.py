"""From a camera to a classifier, in a real browser with a made-up camera."""

import json
import shutil
import time

import pytest
from browser import FLAGS
from etils import epath
from PIL import Image
from serving import running

from cifsel import config as config_lib
from cifsel.data import drawn_faces
from cifsel.models import classifier
from cifsel.workdir.checkpoints import Checkpoints
from cifsel.workdir.model_meta import ClassifierMeta
from configs import effnet

pytestmark = [pytest.mark.slow, pytest.mark.process]
MODEL, SIZE = "efficientnetv2-mini", 64
WIDTH, HEIGHT = 320, 240
FAKE_CAMERA = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")


@pytest.fixture(scope="module")
def network(variables_of, tmp_path_factory):
    """A run of task 1 with random weights, from which a training starts."""
    folder = tmp_path_factory.mktemp("task1")
    config = effnet.get_config()
    config.update({"model": MODEL, "image_size": SIZE, "weights": "none"})
    meta = ClassifierMeta(
        config=config_lib.to_json(config),
        class_names=("a", "b"),
        coarse_names=("all",),
        coarse_of=(0, 0),
        image_side=32,
        fingerprint="0",
        weights=None,
    )
    variables = variables_of(classifier.build(MODEL, num_classes=2), SIZE)
    with Checkpoints(epath.Path(folder)) as saved:
        saved.save(3, model=variables, meta=meta.to_json())
    return folder


def film(path, photos):
    """Writes a film for Chromium's made-up camera: four faces a second, as YUV 4:2:0."""
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F4:1 Ip A1:1 C420jpeg\n".encode())
        for image in photos.images:
            canvas = Image.new("RGB", (WIDTH, HEIGHT), tuple(map(int, image[0, 0])))
            canvas.paste(Image.fromarray(image).resize((HEIGHT, HEIGHT)), (40, 0))
            light, blue, red = canvas.convert("YCbCr").split()
            half = WIDTH // 2, HEIGHT // 2
            planes = light, blue.resize(half), red.resize(half)
            file.write(b"FRAME\n" + b"".join(plane.tobytes() for plane in planes))


class Page:
    """The page in Chromium."""

    def __init__(self, driver):
        self.driver = driver

    def look(self, width, scheme):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def go(self, address):
        """Leaves the page, which ends its requests, and opens another one."""
        self.driver.get("about:blank")
        for log in ("browser", "performance"):
            self.driver.get_log(log)  # Empties it.
        self.driver.get(address)

    def run(self, script):
        return self.driver.execute_script(script)

    def click(self, selector):
        self.wait(f"document.querySelector({selector!r})")
        self.run(f"document.querySelector({selector!r}).click()")

    def tab(self, words):
        tabs = "[...document.querySelectorAll('[role=tab]')]"
        self.run(f"{tabs}.find(tab => tab.innerText.includes({words!r})).click()")

    def wait(self, condition, seconds=90):
        until = time.monotonic() + seconds
        while not (value := self.run(f"return {condition}")):
            assert time.monotonic() < until, (
                f"{condition}: {self.run('return document.body.innerText')}"
            )
            time.sleep(0.1)
        return value

    def complaints(self, address):
        """Console messages, and requests that went to other hosts or were refused."""
        said = [entry["message"] for entry in self.driver.get_log("browser")]
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                said += [] if url.startswith((address, "data:", "blob:")) else [f"asked {url}"]
            if message["method"] == "Network.responseReceived":
                answer = message["params"]["response"]
                said += [] if answer["status"] < 400 else [f"{answer['status']} {answer['url']}"]
        return said

    def faults(self):
        """Parts that stick out of the page."""
        return self.run(
            "const root = document.documentElement;"
            "return [...document.querySelectorAll('button, input, img, p, .card, iframe, .camera')]"
            ".filter(e => e.getBoundingClientRect().width && !e.closest('[aria-hidden=true]')"
            " && e.type !== 'file' && e.getBoundingClientRect().right > root.clientWidth + 1)"
            ".map(e => `${e.tagName} ${e.className} ${e.innerText}`)"
        )


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """Chromium whose camera shows drawn faces."""
    binary, driver_binary = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver_binary:
        pytest.skip("no Chromium: install the packages chromium and chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="drives Chromium")
    path = tmp_path_factory.mktemp("film") / "faces.y4m"
    film(path, drawn_faces.draw_faces(12))
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, *FAKE_CAMERA, f"--use-file-for-fake-video-capture={path}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(driver_binary)
    driver = webdriver.Chrome(options=options, service=service)
    yield Page(driver)
    driver.quit()


def test_from_a_camera_to_a_classifier(chromium, network, tmp_path):
    pytest.importorskip("uvicorn", reason="the page: pip install 'cifsel[web]'")
    page = chromium
    with running(tmp_path, network) as (address, _):
        page.look(1280, "light")
        page.driver.get(address)
        page.click(".camera [data-do=start]")
        page.wait("window.cifselCamera?.picture(8)")
        collect(page)
        name = page.run("return location.search").removeprefix("?project=")
        assert len(list((tmp_path / name / "photos").glob("*/camera-*.jpg"))) == 24
        for width, scheme in ((390, "dark"), (1280, "dark"), (390, "light"), (1280, "light")):
            page.look(width, scheme)
            assert page.faults() == []

        # Nothing is lost when the page is closed, and another tab begins anew.
        assert page.complaints(address) == []
        page.go(address)
        page.wait("document.querySelector('.again a')?.innerText.includes('24 photos')")
        assert page.run("return document.querySelectorAll('[data-photo]').length") == 0
        assert page.complaints(address) == []
        page.go(f"{address}/?project={name}")
        page.wait("document.querySelectorAll('[data-photo]').length === 24")

        page.tab("Train")
        page.click("#train")
        page.wait("document.querySelector('iframe.report')", 180)
        assert "photos right in 1 x cross-validation" in page.run("return document.body.innerText")
        page.look(390, "light")
        assert page.faults() == []
        page.look(1280, "light")

        page.tab("Try")
        page.wait("document.body.innerText.includes('Turn on the camera, or upload')")
        page.run("[...document.querySelectorAll('.camera [data-do=start]')].at(-1).click()")
        page.wait("document.querySelector('.answer[data-label]')")
        page.run("document.querySelector('input[type=checkbox]').click()")
        page.wait("document.querySelector('.evidence img')")
        page.run("[...document.querySelectorAll('.camera [data-do=stop]')].at(-1).click()")

        page.tab("Export")
        page.run("document.querySelector('input[type=radio][value=stablehlo]').click()")
        page.click("#export")
        page.wait("document.querySelector('#exported .verdict')", 120)
        assert (tmp_path / name / "runs" / "1" / "exports" / "model.stablehlo").is_file()
        assert page.complaints(address) == []


def collect(page):
    """Takes 12 photos of each class, of whatever the camera shows."""
    for class_name in ("happy", "sad"):
        card = f".card[data-class={class_name}]"
        for number in range(1, 13):
            page.click(f"{card} [data-do=shoot]")
            page.wait(f"document.querySelector('{card} [data-count=\"{number}\"]')")
            time.sleep(0.2)
