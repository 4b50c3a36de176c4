"""Makes a second public set of own images: drawings of Google's Noto Emoji, in six classes.

    npm pack emoji-datasource-google@16.0.0
    python -m experiments.emoji_images --package=emoji-datasource-google-16.0.0.tgz --output=DIR
    python -m experiments.own_images --data=DIR --workdir=/tmp/emoji --record=emoji

The package of Cal Henderson (MIT licence) has the drawings (Apache licence 2.0) with 64 pixels per
side and transparent background. The classes are the categories of the Unicode standard. They differ
in size. People, flags and symbols are left out.
"""

import json
import tarfile
from pathlib import Path

from cifsel.config import Parser, local_path
from cifsel.errors import UserError
from cifsel.runtime import command

CATEGORIES = (
    "Activities",
    "Animals & Nature",
    "Food & Drink",
    "Objects",
    "Smileys & Emotion",
    "Travel & Places",
)
_IMAGES = "package/img/google/64/"


def write_folder(package: Path, folder: Path) -> int:
    """Unpacks the drawings into a sub-folder for each class. Returns how many there are.

    Raises:
      UserError: the folder is not empty, or the package is another one.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: give another --output")
    try:
        with tarfile.open(package) as archive:
            file = archive.extractfile("package/emoji.json")
            entries = json.load(file) if file else []
            drawings = {
                entry["image"]: entry["category"]
                for entry in entries
                if entry["category"] in CATEGORIES and entry["has_img_google"]
            }
            for name, category in drawings.items():
                drawing = archive.extractfile(_IMAGES + name)
                target = folder / category / Path(name).name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(drawing.read() if drawing else b"")
    except (OSError, tarfile.TarError, KeyError, ValueError) as error:
        raise UserError(
            f"{package} is not the package emoji-datasource-google ({error}): get it by"
            " npm pack emoji-datasource-google@16.0.0"
        ) from error
    return len(drawings)


def main() -> None:
    """Parses the command line and unpacks."""
    parser = Parser("experiments.emoji_images", __doc__)
    add = parser.add_argument
    add("--package", required=True, type=local_path, metavar="FILE", help="the package, a .tgz")
    add("--output", required=True, type=local_path, metavar="DIR", help="folder for the classes")
    flags = parser.parse_args()
    command.start_terminal()
    command.guarded(lambda: print(f"{write_folder(flags.package, flags.output)} drawings"))


if __name__ == "__main__":
    main()
