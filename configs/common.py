"""The defaults of task 1. The other files of this folder change some of them.

cifsel/config/task1.py lists all fields with type, range and meaning. So does

    python -m cifsel.main --config=configs/common.py --help

Any field can be set on the command line: --config.batch_size=256 --config.augment.flip=False.
"""

from ml_collections import ConfigDict

from cifsel.config import TASK1


def get_config() -> ConfigDict:
    """Returns the defaults. Texts that are not set are None."""
    return TASK1.defaults()
