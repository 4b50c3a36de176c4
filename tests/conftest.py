"""What several test files share."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cifsel.data import augment
from cifsel.evaluation import features
from cifsel.models.classifier import Classifier, Head
from cifsel.training import optim, steps
from cifsel.training.objective import Objective
from cifsel.training.state import init_state

DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images and weights; skips without it."""
    for needed in ("tfds/cifar100/3.0.2", "weights"):
        if not (DATA / needed).is_dir():
            pytest.skip(f"no real data: {DATA / needed} is not there")
    return DATA


@pytest.fixture(scope="module")
def quick_compiling() -> Iterator[None]:
    """For tests that compile more than they compute: halves their time."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="session")
def gs_server() -> Iterator[Any]:
    """One for all, as some clients ask only once where it is."""
    pytest.importorskip("gcsfs", reason="no gcsfs, with which gs:// is read")
    pytest.importorskip("gcp_storage_emulator", reason="no gcp-storage-emulator to stand for gs://")
    import gcs_server

    with gcs_server.Server() as found:
        yield found


@pytest.fixture(scope="module")
def gs(gs_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """gs:// for this process and those that it starts, without credentials; the server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
        for name in ("STORAGE_EMULATOR_HOST", "TENSORSTORE_GCS_HTTP_URL"):
            patch.setenv(name, gs_server.url)
        patch.setenv("CLOUDSDK_CONFIG", str(tmp_path_factory.mktemp("gcloud")))
        patch.setenv("CIFSEL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield gs_server


# Reads files one after the other; of each its answer, how long it took, and the peak of memory.
_READER = """
import json, resource, signal, sys
from pathlib import Path
from cifsel.errors import UserError

code, paths, limit = json.load(sys.stdin)
exec(code)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + limit * 2**20, resource.RLIM_INFINITY))
began, said = peak(), []
for path in paths:
    signal.alarm(100)
    signal.setitimer(signal.ITIMER_PROF, 10)
    try:
        read(Path(path))
        said.append("")
    except UserError as error:
        said.append(str(error))
print(json.dumps([said, peak() - began]))
"""


@pytest.fixture(scope="session")
def read_within() -> Callable[[str, Sequence[Path], int], list[str]]:
    """(code, paths, megabytes) -> what is said of each: the UserError, or nothing.

    The code defines `read`, which is called with a path each, in a process of its own that it must
    not make larger than that, and has 10 seconds of computing for each, and 100 to wait.
    """

    def read(code: str, paths: Sequence[Path], megabytes: int) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", _READER],
            input=json.dumps([code, [str(path) for path in paths], megabytes]),
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said, grown = json.loads(done.stdout)
        assert grown < megabytes
        assert done.stderr == ""
        return said

    return read


class Layer(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x: jax.Array, fixed: bool) -> jax.Array:
        x = nn.Conv(self.features, (3, 3), (4, 4), use_bias=False, name="conv")(x)
        return nn.relu(nn.BatchNorm(use_running_average=fixed, momentum=0.9, name="bn")(x))


class Backbone(nn.Module):
    """Two layers with all that a real backbone has, which compile in an instant."""

    layer_names = ("first", "second")

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False, frozen_bn: bool = False) -> jax.Array:
        fixed = not train or frozen_bn
        return Layer(12, name="second")(Layer(6, name="first")(x, fixed), fixed)


def build_tiny(
    name: str = "mobilenet",
    *,
    num_classes: int = 5,
    pool: str = "average",
    hidden: int = 0,
    dropout: float = 0.0,
    **_: Any,
) -> Classifier:
    """Stands in for `classifier.build`."""
    return Classifier(name, Backbone(), Head(num_classes, pool, hidden, dropout))


@pytest.fixture(name="build_tiny", scope="session")
def _build_tiny() -> Any:
    return build_tiny


@pytest.fixture(scope="session")
def variables_of() -> Any:
    """(model, image size) -> variables under which images differ; quicker than compiling `init`."""

    def make(model: Classifier, size: int) -> Any:
        rng = np.random.default_rng(0)
        shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, size, size, 3)))

        def fill(path: Any, leaf: Any) -> jax.Array:
            if path[-1].key == "kernel":
                value = rng.normal(0, np.sqrt(2 / np.prod(leaf.shape[:-1])), leaf.shape)
            else:
                low, high = {"scale": (0.8, 1.2), "var": (0.6, 0.9)}.get(path[-1].key, (-0.3, 0.3))
                value = rng.uniform(low, high, leaf.shape)
            return jnp.asarray(value, jnp.float32)

        variables = jax.tree_util.tree_map_with_path(fill, shapes)
        return {name: variables[name] for name in ("params", "batch_stats")}

    return make


@pytest.fixture(scope="module")
def real(quick_compiling: None, variables_of: Any) -> Any:
    """Compiled functions of a tiny model's training, and a function that makes its first state."""
    model = build_tiny(num_classes=5, dropout=0.3)
    variables = variables_of(model, 32)
    rates = jax.tree.map(lambda _: 1.0, variables["params"])
    tx = optim.make("adamw", lambda step: 0.02, rates=rates, weight_decay=0.1, clip_norm=1.0)
    policy = augment.Policy(flip=True, shift=4)
    objective = Objective(32, "nearest", policy, frozen_bn=False, ema_decay=0.5)
    scan = steps.make_scan(model, tx, rates, objective)
    predict = features.logits(model, features.View(32, "nearest", mirror=False))
    return scan, predict, lambda: init_state(variables, tx, 0.5)


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
