from .cautions import warnings as warnings
from .page import report_page as report_page
from .page import write_report as write_report
from .sentences import summary as summary
