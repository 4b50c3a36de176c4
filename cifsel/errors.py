"""The one exception that means "the input is wrong", as opposed to "the program is wrong"."""


class UserError(Exception):
    """Something the user gave cannot be used.

    The message is one line that names the file or field, says what was found and what was expected,
    and what to do about it. `cifsel.main` prints it without a traceback and exits with status 2.
    """
