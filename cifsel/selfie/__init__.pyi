from .outcome import Outcome as Outcome
from .photos import prepare_photos as prepare_photos
from .photos import read_photos as read_photos
from .run import evaluate_and_train as evaluate_and_train
from .serialization import metrics_json as metrics_json
from .serialization import save_checkpoint as save_checkpoint
