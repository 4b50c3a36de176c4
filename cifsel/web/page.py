"""The page: four tabs of Gradio around `visits.Visits`."""

import functools
import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import api

from cifsel.errors import UserError
from cifsel.web import crop_choice, exporting, render
from cifsel.web.projects import new_id
from cifsel.web.visits import READY, Visits

_FOLDER = Path(__file__).parent / "static"
_QUEUE = 40  # requests that wait at most
_CONCURRENT = 4  # requests of the same kind that are worked on
_EVENTS = ("shot", "files", "erase", "rename", "more", "drop")
_COVERAGES = [("no set", 0.0), ("for 80 %", 0.8), ("for 90 %", 0.9), ("for 95 %", 0.95)]
_CAMERA = """
<div class="camera">
  <video playsinline muted></video>
  <div class="cover"><button class="primary" data-do="start">{start}</button>{more}</div>
  <button class="off" data-do="stop">Turn off</button>
  <p class="status" role="status"></p>
</div>
"""
_UPLOAD = (
    '<label class="button">Upload a photo<input type="file"'
    ' accept="image/*,.heic,.heif,.avif"></label>'
)
_HEADER = """
<header class="top"><h1>Tell your photos apart</h1>
<p>{}</p></header>
"""
_PURPOSE = (
    "Collect photos of two kinds, such as happy and sad faces, and train a classifier of them."
    " You learn how often it is right on photos that it has never seen. Photos stay on the computer"
    " that runs this page."
)
_STEPS = """
<ol class="steps"><li>Take 12 photos or more of each class. Move your head, and change light and
distance between them.</li><li>Train, which takes some minutes.</li><li>Try it, and read how far to
trust it.</li></ol>
"""
_CLASSIFY = "Show photos to the classifier. They stay on the computer that runs this page."
# The project of the address. The last one of this browser is offered where there is none.
_FIND = """() => {
  const given = new URLSearchParams(location.search).get("project") || "";
  let last = "";
  try { last = localStorage.getItem("cifsel-project") || ""; } catch {}
  return [given, given ? "" : last];
}"""
_REMEMBER = """(name) => {
  history.replaceState(null, "", name ? "?project=" + encodeURIComponent(name) : location.pathname);
}"""
_KEEP = """(name) => { try { localStorage.setItem("cifsel-project", name); } catch {} }"""
_ASK_TO_FORGET = (
    """(name) => [confirm("Delete all photos and classifiers of this page?") ? name : ""]"""
)


def css() -> str:
    """The style sheet of the page."""
    return (_FOLDER / "page.css").read_text()


def theme() -> gr.themes.Base:
    """Fonts of the visitor's own system, so that none is loaded."""
    return gr.themes.Base(
        primary_hue="blue",
        neutral_hue="slate",
        font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    )


def build(visits: Visits) -> gr.Blocks:
    """The page, with its queue."""
    collects = visits.trainer is not None
    with gr.Blocks(
        title="Tell your photos apart", analytics_enabled=False, delete_cache=(600, 3600)
    ) as page:
        project = gr.Textbox(visible="hidden")
        gr.HTML(_HEADER.format(_PURPOSE if collects else _CLASSIFY), js_on_load=None)
        with gr.Tabs() as tabs:
            if collects:
                with gr.Tab("1 Collect"):
                    board, again = _collect(visits, project)
                    _next("Next: train", tabs, "train")
                with gr.Tab("2 Train", id="train") as train_tab:
                    looked, shown = _train(visits, project)
                    _next("Next: try it", tabs, "try")
                train_tab.select(looked, project, shown, **_QUIET)
            with gr.Tab("3 Try" if collects else "Try", id="try") as try_tab:
                answer = _try(visits, project)
            seen = try_tab.select if collects else page.load
            seen(visits.ready, project, answer, concurrency_id="model", **_PRIVATE)
            with gr.Tab("4 Export" if collects else "Export"):
                _export(visits, project)
        if collects:
            _open_project(visits, page, project, board, again)
            project.change(looked, project, shown, **_QUIET)
        api(_for_programs(visits), api_name="answer", concurrency_id="model")
    page.queue(max_size=_QUEUE, default_concurrency_limit=_CONCURRENT)
    return page


# These events are for the page itself, and no part of the interface for programs.
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
_QUIET: dict[str, Any] = {"show_progress": "hidden", **_PRIVATE}
# A series of photos must not lose one because the last one is being written.
_EACH: dict[str, Any] = {"trigger_mode": "multiple", **_QUIET}


def _shown(work: Callable[..., Any]) -> Callable[..., Any]:
    """Shows a UserError on the page. Its text is escaped, as Gradio takes it for HTML."""

    @functools.wraps(work)
    def wrapped(*arguments: Any) -> Any:
        try:
            return work(*arguments)
        except UserError as error:
            raise gr.Error(html.escape(str(error)), print_exception=False) from None

    return wrapped


def _open_project(
    visits: Visits, page: gr.Blocks, project: gr.Textbox, board: gr.HTML, again: gr.HTML
) -> None:
    """Opens the project of the address, or a new one, when the page is loaded."""
    last = gr.Textbox(visible="hidden")

    @_shown
    def opened(given: str, last: str) -> tuple[str, str, str]:
        name = given or new_id()
        return name, visits.collect(name, "show", {}), visits.offer(last)

    page.load(opened, [project, last], [project, board, again], js=_FIND, **_QUIET)
    project.change(None, project, js=_REMEMBER, **_PRIVATE)
    board.change(None, project, js=_KEEP, **_PRIVATE)


def _collect(visits: Visits, project: gr.Textbox) -> tuple[gr.HTML, gr.HTML]:
    """The tab in which photos are collected. Returns its board, and the link to earlier photos."""
    again = gr.HTML("", js_on_load=None, elem_classes="again")
    with gr.Row(elem_classes="collect"):
        with gr.Column(scale=1, min_width=300, elem_classes="side"):
            gr.HTML(
                _CAMERA.format(start="Turn on the camera", more="<p>or upload photos</p>") + _STEPS,
                js_on_load=_script("camera.js", "taking.js"),
            )
        with gr.Column(scale=2, min_width=300):
            names = ", ".join(f"'{name}'" for name in _EVENTS)
            board = gr.HTML("", js_on_load=f"// {names}\n{_script('collect.js')}")
            forget = gr.Button("Delete everything", size="sm", elem_classes="forget")

    def on(kind: str) -> Callable[[str, gr.EventData], str]:
        def asked(name: str, event: gr.EventData) -> str:
            try:
                return visits.collect(name, kind, event._data)
            except UserError as error:
                raise gr.Error(html.escape(str(error)), print_exception=False) from None

        return asked

    for kind in _EVENTS:
        getattr(board, kind)(on(kind), project, board, **_EACH)

    @_shown
    def forgotten(name: str) -> Any:
        return visits.forget(name) if name else gr.skip()

    forget.click(forgotten, project, board, js=_ASK_TO_FORGET, **_QUIET)
    return board, again


def _next(words: str, tabs: gr.Tabs, tab: str) -> None:
    """A button that leads to the next tab."""
    button = gr.Button(words, elem_classes="next")
    button.click(lambda: gr.Tabs(selected=tab), None, tabs, **_QUIET)


def _train(visits: Visits, project: gr.Textbox) -> tuple[Callable[..., Any], list[Any]]:
    """The tab in which a classifier is trained. Returns what shows its state, and where."""
    state = gr.HTML("", js_on_load=None, elem_classes="state")
    crops = [(crop_choice.WORDS[crop], crop) for crop in crop_choice.offered()]
    crop = gr.Radio(crops, value=crop_choice.NONE, label="The network sees", visible=len(crops) > 1)
    with gr.Row():
        begin = gr.Button("Train", variant="primary", elem_id="train")
        stop = gr.Button("Stop", visible=False)
    report = gr.HTML("", js_on_load=None)
    timer = gr.Timer(1.0, active=False)
    shown = [state, report, timer, begin, stop]

    def looked(name: str) -> tuple[Any, ...]:
        if not name:  # The page is not loaded yet.
            return (gr.skip(),) * len(shown)
        busy = visits.is_training(name)
        return (
            visits.training(name),
            gr.skip() if busy else visits.report(name),
            gr.Timer(active=busy),
            gr.Button(interactive=not busy),
            gr.Button(visible=busy),
        )

    @_shown
    def begun(name: str, crop: str) -> tuple[Any, ...]:
        problem = visits.train(name, crop)
        after = looked(name)
        return (problem, *after[1:]) if problem else after

    @_shown
    def stopped(name: str) -> tuple[Any, ...]:
        visits.stop(name)
        return looked(name)

    begin.click(begun, [project, crop], shown, **_QUIET)
    stop.click(stopped, project, shown, **_QUIET)
    timer.tick(_shown(looked), project, shown, **_QUIET)
    return _shown(looked), shown


def _try(visits: Visits, project: gr.Textbox) -> gr.HTML:
    """The tab in which the classifier is asked. Returns where its answers are shown."""
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            live = gr.HTML(
                _CAMERA.format(start="Turn on the camera", more=_UPLOAD),
                js_on_load="// 'frame', 'photo'\n" + _script("camera.js", "live.js"),
            )
        with gr.Column(scale=1, min_width=300):
            answer = gr.HTML(render.hint(READY), js_on_load=None, min_height=120)
    with gr.Row():
        explain = gr.Checkbox(False, label="Show what speaks for the answer")
        coverage = gr.Dropdown(
            _COVERAGES, value=0.0, label="Set of classes that holds the right one"
        )

    def framed(name: str, share: float, why: bool, event: gr.EventData) -> str:
        return visits.answer_frame(name, event._data, share or None, why)

    def uploaded(name: str, share: float, why: bool, event: gr.EventData) -> str:
        return visits.answer_upload(name, event._data, share or None, why)

    asked = {"inputs": [project, coverage, explain], "outputs": answer, "concurrency_id": "model"}
    answered = live.frame(framed, concurrency_limit=1, **asked, **_QUIET)
    answered.then(None, js="() => { window.cifselAnswered(); }", **_PRIVATE)
    live.photo(uploaded, **asked, **_QUIET)
    return answer


def _export(visits: Visits, project: gr.Textbox) -> None:
    """The tab in which the classifier is exported."""
    formats = [(words, form) for form, words in exporting.FORMATS.items()]
    form = gr.Radio(formats, value="onnx", label="Format")
    export = gr.Button("Export", variant="primary", elem_id="export")
    files = gr.HTML(
        render.hint(
            "The file is read back and compared with the classifier before you get it. Photos"
            " and names of photos are not in it."
        ),
        js_on_load=None,
        elem_id="exported",
    )
    export.click(visits.export, [project, form], files, concurrency_limit=1, **_PRIVATE)


def _for_programs(visits: Visits) -> Callable[[str, str], dict[str, Any]]:
    """The function that programs can call."""

    def answer(image: str, project: str = "") -> dict[str, Any]:
        """Answers for a photo: a JPEG as data:image/jpeg;base64,... and the project's name."""
        try:
            return visits.answer_as_json(project, image)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from None

    return answer


def _script(*files: str) -> str:
    return "\n".join((_FOLDER / file).read_text() for file in files)
