"""The packages of the wheel: cifsel, and the config files as `cifsel.configs`. See setup.cfg.

A checkout has the config files in `configs`, and the published models in `experiments/models`, once
there are some. setup.cfg alone would install them under these names. The wheel has the model that
`cifsel.predict` uses by itself, in `cifsel.published`.
"""

from pathlib import Path

from setuptools import find_packages, setup

FOLDERS = {"cifsel.configs": "configs"}
if Path("experiments/models").is_dir():
    FOLDERS["cifsel.published"] = "experiments/models"

setup(
    packages=[*find_packages(include=["cifsel", "cifsel.*"]), *FOLDERS],
    package_dir=FOLDERS,
)
