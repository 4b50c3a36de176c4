from .computation import probabilities as probabilities
from .computation import resize_matrix as resize_matrix
from .metadata import Metadata as Metadata
from .source import Source as Source
from .source import load as load
