"""Writes a restored model as one file, for cifsel or for programs without it.

    python -m cifsel.export --checkpoint=/tmp/effnet --format=onnx --output=effnet.onnx
    python -m cifsel.export --checkpoint=/tmp/selfie --format=keras --output=selfie.keras
    python -m cifsel.export --checkpoint=/tmp/effnet --format=cifsel --output=effnet.safetensors

The file takes images as cifsel.predict shows them to the model, and returns the probabilities that
it prints. Before it is written, it is read back and compared with the model. FILE.md says how to
use it, and FILE.json has the names of the classes. onnx needs pip install 'cifsel[onnx]'. With
--format=keras, a name that ends in .h5 gets the weights of the backbone alone, in the layout of
keras.applications. Exit codes: 0 done, 1 a defect of the program, 2 the checkpoint or the machine
cannot be used, 75 try again, 130 Ctrl-C, 141 nobody reads the output.
"""

import argparse
from pathlib import Path

from cifsel.config import arguments
from cifsel.errors import UserError
from cifsel.runtime import command, terminal
from cifsel.runtime.failures import Advice

ADVICE = Advice(
    again="give the same command again",
    memory="close other programs, or use a machine with more memory",
    stopped="",
)
# As in `cifsel.prediction.exports.formats`, which imports JAX. A test compares the two.
_FORMATS = ("onnx", "stablehlo", "keras", "tflite", "cifsel")


def run(flags: argparse.Namespace) -> None:
    """Restores the model, converts it, and writes the files."""
    form = _form(flags.format, flags.output, flags.quantize)
    # From here on with JAX, for which a mistake in the flags should not wait.
    import jax

    from cifsel.prediction.exports import cifsel_format, formats, output, source
    from cifsel.runtime import cache
    from cifsel.workdir.model_file import FLOAT16

    # Exports promise what a CPU computes, in float32.
    jax.config.update("jax_platforms", "cpu")
    cache.keep_compiled()
    output.check(flags.output, flags.overwrite)
    restored = source.load(flags.checkpoint)
    if restored.computes_in != "float32":
        terminal.say(f"the run computes in {restored.computes_in}, the export in float32")
    if form == cifsel_format.NAME:
        export = cifsel_format.make(restored, flags.checkpoint, flags.quantize or FLOAT16)
    else:
        export = formats.make(restored, form, quantize=flags.quantize == "int8")
    output.write(flags.output, export)
    if export.difference is not None:
        terminal.say(f"largest difference to cifsel.predict: {export.difference:.1e}")
    for line in export.notes:
        terminal.say(line)
    terminal.say(f"{flags.output}: {len(export.content) / 1e6:.1f} MB, see {flags.output}.md")


def _form(form: str, output: Path, quantize: str | None) -> str:
    """The format, with 'keras-h5' for weights alone.

    Raises:
      UserError: the flags do not fit each other.
    """
    if quantize and form not in ("onnx", "cifsel"):
        raise UserError(f"--quantize={quantize} is for --format=onnx and cifsel, not {form}")
    if form != "keras":
        return form
    if output.suffix not in (".keras", ".h5"):
        raise UserError(
            f"--output is {output}: with --format=keras its name ends in .keras for the whole"
            " model, or in .h5 for the weights of the backbone"
        )
    return "keras-h5" if output.suffix == ".h5" else "keras"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = arguments.Parser("cifsel.export", __doc__)
    add = made.add_argument
    made.add_checkpoint()
    add("--format", required=True, choices=_FORMATS, help="of the file")
    add("--output", required=True, type=arguments.local_path, metavar="FILE", help="to write")
    words = "smaller weights, if the accuracy on the validation images stays (onnx, cifsel)"
    add("--quantize", choices=("int8",), help=words)
    add("--overwrite", action="store_true", help="replace a file that is no export")
    return made


def main() -> None:
    """Parses the command line, and turns what can go wrong into one line and an exit code."""
    flags = parser().parse_args()
    command.start_terminal()
    command.guarded(lambda: run(flags), ADVICE)


if __name__ == "__main__":
    main()
