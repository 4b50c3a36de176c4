"""Short members of the EfficientNetV2 family, here and in Keras."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from cifsel.models import efficientnet_v2


@pytest.fixture(scope="session")
def shorten() -> Callable[..., None]:
    """(patch, variant, most blocks of a stage) -> None; whole networks take seconds to build."""

    def cut(patch: pytest.MonkeyPatch, variant: str, *, repeats: int) -> None:
        from keras.src.applications import efficientnet_v2 as of_keras

        whole = efficientnet_v2.VARIANTS[variant]
        stages = tuple(
            dataclasses.replace(stage, repeats=min(stage.repeats, repeats))
            for stage in whole.stages
        )
        short = dataclasses.replace(whole, stages=stages)
        patch.setitem(efficientnet_v2.VARIANTS, variant, short)
        name = f"efficientnetv2-{variant}"
        blocks: list[dict[str, Any]] = [
            block | {"num_repeat": min(block["num_repeat"], repeats)}
            for block in of_keras.DEFAULT_BLOCKS_ARGS[name]
        ]
        patch.setitem(of_keras.DEFAULT_BLOCKS_ARGS, name, blocks)

    return cut
