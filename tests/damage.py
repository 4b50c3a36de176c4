"""Bytes changed at random, for tests of what is made of a damaged file."""

from hypothesis import strategies as st

# Where, as a share of the length; how many bytes go; and what comes in their place.
CHANGES = st.lists(
    st.tuples(st.floats(0, 0.999), st.integers(0, 40), st.binary(max_size=8)), max_size=6
)


def changed(data, changes):
    damaged = bytearray(data)
    for share, cut, put in changes:
        start = int(share * len(damaged))
        damaged[start : start + cut] = put
    return bytes(damaged)
