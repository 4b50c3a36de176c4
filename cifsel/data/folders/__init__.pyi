from .dataset import PARTS as PARTS
from .dataset import OwnSpec as OwnSpec
from .dataset import load_folder as load_folder
from .dataset import split_rows as split_rows
from .listing import Entry as Entry
from .listing import list_images as list_images
from .store import FITS as FITS
from .store import Store as Store
