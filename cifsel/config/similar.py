"""The name that a mistyped one may mean. Apart from the schemas, so that --help is quick."""

import difflib
import re
from collections.abc import Collection

# Of difflib: 'photoz' means photos (0.83), but 'epochs' does not mean depths (0.67).
_SIMILAR = 0.7


def did_you_mean(given: str, known: Collection[str]) -> str:
    """' (did you mean image_size?)' for the most similar of the known names. '' for none.

    Case, '-' and '_' make no difference. The last part of a name with dots may stand alone. Other
    words for True and False are known.
    """
    # The last part of config.image_size, and the name of configs/effnet.py.
    plain = {_plain(re.sub(r"^.*[./](?!py$)|\.py$", "", name)): name for name in known}
    plain |= {_plain(name): name for name in known}
    if "False" in known:
        plain |= {"no": "False", "off": "False", "yes": "True", "on": "True", "1": "True"}
    similar = difflib.get_close_matches(_plain(given), plain, n=1, cutoff=_SIMILAR)
    return f" (did you mean {plain[similar[0]]}?)" if similar else ""


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
