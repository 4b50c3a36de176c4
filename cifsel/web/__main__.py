"""Opens a page in the browser: from a camera to an honest classifier, without a terminal.

    python -m cifsel.web --workdir=/tmp/web                      # then http://127.0.0.1:7860
    python -m cifsel.web --checkpoint=/tmp/task1                 # only classify
    python -m cifsel.web --workdir=/tmp/web --checkpoint=/tmp/task1

Each visitor's photos and runs are kept in a folder of their own below --workdir. Training starts
from the network of --checkpoint, a run of task 1, a comparison or a model file, else from ImageNet
weights. Only this machine reaches the page, unless --host says otherwise. It needs pip install
'cifsel[web]'. Exit codes: 0 done, 1 a defect of the program, 2 an input or the machine cannot be
used, 75 stopped by SIGTERM, 130 Ctrl-C.
"""

import argparse
import contextlib
import os

from cifsel.config import arguments
from cifsel.errors import UserError
from cifsel.runtime import command, terminal
from cifsel.runtime.failures import Advice
from cifsel.web import guard

ADVICE = Advice(
    again="give the same command again",
    memory="close other programs, or use a machine with more memory",
    stopped="stopped; photos and runs are kept, and the same command shows them again",
)
PASSWORD = "CIFSEL_WEB_PASSWORD"
_LEAST_LENGTH = 8  # of a password


def run(flags: argparse.Namespace) -> None:
    """Starts the page, and serves it until Ctrl-C."""
    check(flags)
    # From here on with JAX and Gradio, for which a mistake in the flags should not wait.
    from cifsel.web import server, starting
    from cifsel.web.visits import Visits

    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(server.listen(flags.host, flags.port))
        uploads = stack.enter_context(server.uploads())
        command.start()
        parts = starting.parts(flags.workdir, flags.checkpoint)
        if parts.trainer:
            stack.callback(parts.trainer.close)
        visits = Visits(uploads, parts)
        app = server.application(visits, host=flags.host, name=flags.name, password=flags.password)
        port = listener.getsockname()[1]
        shown = "127.0.0.1" if guard.is_loopback(flags.host) else flags.host
        if not guard.is_loopback(flags.host):
            terminal.warn(
                f"{flags.host} is open to other machines, and sends photos and the password"
                " unencrypted: put a proxy with https before it, or trust the network"
            )
        terminal.say(f"open http://{shown}:{port} in a browser; Ctrl-C ends it")
        server.serve(app, listener)


def check(flags: argparse.Namespace) -> None:
    """Raises UserError if flags do not fit together."""
    if not (flags.workdir or flags.checkpoint):
        raise UserError(
            "neither --workdir nor --checkpoint is given: give --workdir=DIR to collect photos, or"
            " --checkpoint=PATH to classify alone"
        )
    if not 0 <= flags.port < 65_536:
        raise UserError(f"--port is {flags.port}; expected 0 to 65535, such as 7860")
    is_public = bool(flags.name) or not guard.is_loopback(flags.host)
    if is_public and not flags.password:
        given = f"--name={flags.name}" if flags.name else f"--host={flags.host}"
        raise UserError(
            f"{given} opens the page to other machines: give --password=..., or set {PASSWORD}"
        )
    if flags.password and len(flags.password) < _LEAST_LENGTH:
        raise UserError(
            f"--password has {len(flags.password)} letters; expected {_LEAST_LENGTH} or more"
        )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = arguments.Parser("cifsel.web", __doc__)
    add = made.add_argument
    words = "folder of this machine for photos and runs"
    add("--workdir", type=arguments.local_path, metavar="DIR", help=words)
    words = "run, comparison or model file that classifies and from which training starts"
    add("--checkpoint", type=arguments.path, metavar="PATH", help=words)
    words = "address to listen on. Default: 127.0.0.1. 0.0.0.0 for all, with --password"
    add("--host", default="127.0.0.1", metavar="ADDRESS", help=words)
    add("--port", type=int, default=7860, help="default: 7860. 0: any that is free")
    words = f"that the browser asks for. Better in {PASSWORD}, as others see command lines"
    add("--password", default=os.environ.get(PASSWORD, ""), metavar="TEXT", help=words)
    words = "name by which a proxy passes requests on, such as photos.example.org"
    add("--name", default="", help=words)
    return made


def main() -> None:
    """Parses the command line, and turns what can go wrong into one line and an exit code."""
    flags = parser().parse_args()
    command.start_terminal()
    command.guarded(lambda: run(flags), ADVICE)


if __name__ == "__main__":
    main()
