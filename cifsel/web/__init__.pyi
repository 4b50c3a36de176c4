from .guard import Guard as Guard
from .projects import Projects as Projects
from .server import application as application
from .server import serve as serve
from .starting import Parts as Parts
from .starting import parts as parts
from .training import Trainer as Trainer
from .visits import Visits as Visits
