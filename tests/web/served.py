"""A page in a process of its own, since Gradio leaves event loops and warnings behind.

python -m served WORK [INIT_FROM] serves it, with small limits and quick trainings, and prints its
address. It ends with its standard input.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from cifsel.runtime import command
from cifsel.web import looks as looks_module
from cifsel.web import server
from cifsel.web.answering import Answerer
from cifsel.web.looks import Looks
from cifsel.web.projects import Projects
from cifsel.web.starting import Parts
from cifsel.web.training import Start, Trainer
from cifsel.web.visits import Visits

QUICK = {
    "image_size": 64,
    "depths": "(1.0,)",
    "grids": "(1,)",
    "l2": "(0.01,)",
    "repeats": 1,
    "permutations": 0,
    "leave_one_out": 0,
    "folds": 3,
    "compare_crops": False,
}


class SlowVisits(Visits):
    """Takes its time where the test asks for it, so that others wait."""

    def collect(self, name, do, data):
        if do == "more" and data.get("slow"):
            time.sleep(2)
        return super().collect(name, do, data)


def main() -> None:
    """Serves the page."""
    server.MOST_FILE_BYTES, looks_module.BURST_SECONDS = 100_000, 0.01
    work, init_from = Path(sys.argv[1]), (*sys.argv[2:], "imagenet")[0]
    command.start()
    with server.uploads() as uploads, server.listen("127.0.0.1", 0) as listener:
        from cifsel.web import page  # With Gradio, which the folder has to come before.

        page._QUEUE = 6
        looks, options = Looks(), [f"--config.{name}={value}" for name, value in QUICK.items()]
        trainer = Trainer(Start(init_from, "a network of the test"), looks, options)
        parts = Parts(looks, Answerer(), Projects(work), trainer)
        app = server.application(SlowVisits(uploads, parts), host="127.0.0.1", name="", password="")
        print(f"http://127.0.0.1:{listener.getsockname()[1]} {uploads}", flush=True)
        threading.Thread(target=end_with_input, daemon=True).start()
        try:
            server.serve(app, listener)
        finally:
            trainer.close()


def end_with_input() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    command.guarded(main)
