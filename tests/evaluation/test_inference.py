import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifsel.evaluation import inference
from cifsel.runtime import sharding


class TestMapBatches:
    @pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 11])
    def test_every_image_counts_once_and_in_order(self, count):
        images = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), np.uint8)
        calls = []

        @jax.jit
        def forward(batch):
            calls.append(batch.shape)  # runs once per compilation
            assert batch.dtype == jnp.uint8
            return batch.reshape(len(batch), -1).astype(jnp.float32)[:, :7]

        got = inference.map_batches(forward, images, 4)
        np.testing.assert_array_equal(got, images.reshape(count, -1)[:, :7])
        assert got.dtype == np.float32
        assert calls == [(4, 4, 4, 3)]

    def test_batches_of_one(self):
        images = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)
        got = inference.map_batches(lambda x: x[:, 0, 0], images, 1)
        np.testing.assert_array_equal(got, images[:, 0, 0])

    def test_devices_share_the_images_of_a_batch(self):
        given = []

        def forward(batch):
            given.append(batch.sharding)
            return batch[:, 0, 0]

        inference.map_batches(forward, np.zeros((5, 4, 4, 3), np.uint8), 4)
        assert given == [sharding.split(0)] * 2

    def test_narrow_outputs_become_float32(self):
        images = np.full((2, 4, 4, 3), 3, np.uint8)
        got = inference.map_batches(lambda x: x[:, 0, 0].astype(jnp.bfloat16), images, 2)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, np.full((2, 3), 3.0))

    def test_progress_names_the_work_and_counts_images_not_padding(self, capsys):
        images = np.zeros((5, 4, 4, 3), np.uint8)

        def forward(batch):
            time.sleep(0.05)  # There is no speed of what takes no time.
            return batch[:, 0, 0]

        inference.map_batches(forward, images, 4, progress="Validation")
        printed = capsys.readouterr().out
        assert "Validation" in printed
        assert "5/5" in printed
        assert "images/s" in printed

    def test_silent_without_a_label(self, capsys):
        inference.map_batches(lambda x: x[:, 0, 0], np.zeros((5, 4, 4, 3), np.uint8), 4)
        captured = capsys.readouterr()
        assert captured.out + captured.err == ""

    @pytest.mark.parametrize(("count", "batch_size"), [(0, 4), (4, 0), (4, -1)])
    def test_refuses_what_it_cannot_do(self, count, batch_size):
        with pytest.raises(ValueError, match="images and a positive batch size"):
            inference.map_batches(lambda x: x, np.zeros((count, 4, 4, 3), np.uint8), batch_size)
