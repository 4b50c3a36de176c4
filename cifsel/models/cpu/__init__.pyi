from .compiler import compiler_options as compiler_options
from .compiler import options_to_run_once as options_to_run_once
from .dense import dense_conv as dense_conv
from .dense import matmul as matmul
from .dense import xla_conv as xla_conv
from .depthwise import depthwise_conv as depthwise_conv
from .silu import biased_silu as biased_silu
from .windows import Padding as Padding
