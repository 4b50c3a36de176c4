"""Silence that overlaps in several threads ends with the last of them, and as it was before."""

import contextlib
import os
import threading
import warnings

from cifsel.runtime import silence


def test_warnings_come_back_after_the_last_thread():
    before = list(warnings.filters)
    inside = threading.Barrier(2)

    def second():
        with silence.no_warnings():
            inside.wait(5)
            inside.wait(5)
            warnings.warn("unheard", stacklevel=1)

    thread = threading.Thread(target=second)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with silence.no_warnings():
            thread.start()
            inside.wait(5)
        inside.wait(5)  # The first has left, the second has not.
        thread.join()
        assert not caught
        warnings.warn("heard", stacklevel=1)
        assert [str(warning.message) for warning in caught] == ["heard"]
    assert list(warnings.filters) == before


def test_standard_error_comes_back(capfd):
    def noisy():
        for _ in range(50):
            with silence.no_stderr():
                os.write(2, b"libtiff")

    threads = [threading.Thread(target=noisy) for _ in range(4)]
    with contextlib.ExitStack() as stack:
        for thread in threads:
            thread.start()
            stack.callback(thread.join)
        for _ in range(50):
            with silence.STDERR:
                os.write(2, b"m")
    os.write(2, b"end")
    assert capfd.readouterr().err == "m" * 50 + "end"
