from .chips import CHIPS as CHIPS
from .chips import Bounds as Bounds
from .chips import Chip as Chip
from .compiler import Compiled as Compiled
from .compiler import TooLarge as TooLarge
from .compiler import analyse as analyse
from .programs import Program as Program
from .programs import of_run as of_run
