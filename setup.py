"""The packages of the wheel: cifsel, and the config files as `cifsel.configs`. See setup.cfg.

A checkout has the config files in `configs`. setup.cfg alone would install them under that name.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["cifsel", "cifsel.*"]), "cifsel.configs"],
    package_dir={"cifsel.configs": "configs"},
)
