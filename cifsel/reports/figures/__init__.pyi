from .calibration import RELIABILITY as RELIABILITY
from .calibration import reliability as reliability
from .classes import confusion_matrix as confusion_matrix
from .classes import worst_classes as worst_classes
from .grids import image_grid as image_grid
from .training import Curve as Curve
from .training import l2_path as l2_path
from .training import training_curves as training_curves
