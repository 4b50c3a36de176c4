"""The fields of a data set of a user's own, for its tests."""

from cifsel.data.folders import OwnSpec

SPEC = OwnSpec(
    source="",
    side=40,
    fit="crop",
    skip_unreadable=False,
    burst_seconds=10.0,
    val_share=0.2,
    test_share=0.2,
    split=None,
    seed=0,
)
