"""Exports of the page, by the command `cifsel.export` in a process of its own."""

import re
from pathlib import Path

from cifsel.errors import UserError
from cifsel.web.jobs import Command

# The formats that are offered, and what each is for.
FORMATS = {
    "onnx": "ONNX: servers, phones, browsers",
    "keras": "Keras",
    "stablehlo": "StableHLO: JAX",
    "tflite": "TFLite: small devices",
}
FILE = re.compile(rf"model\.({'|'.join(FORMATS)})(\.md|\.json)?")


def export(model: str, form: str, folder: Path) -> tuple[str, list[str]]:
    """Writes a model for other programs.

    Args:
      model: the workdir of a run, or the folder of a comparison.
      form: one of `FORMATS`.
      folder: for the files.

    Returns:
      The name of the file, and what the command said of it.

    Raises:
      UserError: there is no such format, or the command has failed.
    """
    if form not in FORMATS:
        raise UserError(f"format is {form!r}; expected one of {', '.join(FORMATS)}")
    folder.mkdir(parents=True, exist_ok=True)
    file, lines = folder / f"model.{form}", list[str]()
    words = (f"--checkpoint={model}", f"--format={form}", f"--output={file}", "--overwrite")
    command = Command(("cifsel.export", *words), lines.append)
    if not command.run():
        raise UserError(command.error.replace(f"{folder}/", ""))
    return file.name, [line.replace(f"{folder}/", "") for line in lines if line]
