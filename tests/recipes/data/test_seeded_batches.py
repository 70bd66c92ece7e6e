import itertools

import keras
import numpy as np
import pytest

from hornbook.recipes.data.seeded_batches import SeededBatches


def make(examples=50, **kwargs):
    x = np.arange(examples, dtype="float32")[:, None]
    return SeededBatches(x, 10 * x, **kwargs)


def epoch_of(batches, epoch=0):
    batches.set_epoch(epoch)
    return [batch[0].ravel().astype(int).tolist() for batch in batches]


def flat(lists):
    return list(itertools.chain.from_iterable(lists))


def test_one_pass_uses_each_example_once_and_the_last_batch_is_short():
    batches = make(batch_size=32)
    first, second = epoch_of(batches, 0), epoch_of(batches, 1)
    assert [len(b) for b in first] == [32, 18]
    assert sorted(flat(first)) == sorted(flat(second)) == list(range(50))
    assert first != second
    assert first[0] != sorted(first[0])


def test_few_examples_make_long_epochs_and_are_used_equally_often():
    batches = make(batch_size=32, steps_per_epoch=30)
    assert len(batches) == 30
    seen = []
    for epoch in range(5):
        order = epoch_of(batches, epoch)
        assert [len(b) for b in order] == [32] * 30
        counts = np.bincount(flat(order), minlength=50)
        assert counts.max() - counts.min() <= 2  # 960 = 19.2 passes, cut at both ends.
        seen += flat(order)
        counts = np.bincount(seen, minlength=50)
        assert counts.max() - counts.min() <= 1
    assert set(counts) == {96}  # 5 * 960 is a whole number of passes.
    passes = np.reshape(seen, (-1, 50))
    assert (np.sort(passes) == np.arange(50)).all()
    assert len(set(map(tuple, passes))) == len(passes)


def test_short_epochs_go_through_the_data_before_they_repeat_any():
    batches = make(batch_size=8, steps_per_epoch=2)
    seen = flat(flat(epoch_of(batches, e)) for e in range(3))
    assert len(set(seen)) == 48


def test_order_is_a_function_of_seed_epoch_and_index_alone():
    def noisy(x, rng):
        return x + rng.normal(size=x.shape)

    a, b = (
        make(batch_size=8, seed=3, steps_per_epoch=9, transform=noisy) for _ in range(2)
    )
    for epoch in (4, 0, 2):  # Out of order, and after other batches were drawn.
        a.set_epoch(epoch)
        b.set_epoch(epoch)
        forwards = [a[i] for i in range(9)]
        backwards = [b[i] for i in reversed(range(9))][::-1]
        for one, other in zip(forwards, backwards, strict=True):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])
    assert epoch_of(make(seed=3)) != epoch_of(make(seed=4))


def test_generators_of_transforms_are_seeded_by_seed_epoch_and_index():
    drawn = {}

    def keep(x, rng):
        drawn[batches.epoch, len(drawn) % 3] = rng.integers(2**62)
        return x

    batches = make(batch_size=20, seed=5, transform=keep)
    for epoch in range(3):
        epoch_of(batches, epoch)
    assert len(drawn) == 9 == len(set(drawn.values()))
    for (epoch, index), number in drawn.items():
        assert number == np.random.default_rng([5, epoch, index]).integers(2**62)


def test_order_is_not_drawn_from_a_transform_s_generator():
    order = flat(epoch_of(make(seed=5), 0))
    for seeds in ([5], [5, 0], [5, 0, 0]):
        assert order != np.random.default_rng(seeds).permutation(50).tolist()


def test_x_y_and_sample_weight_stay_together(tmp_path):
    x = np.memmap(tmp_path / "x", "uint8", "w+", shape=(50, 2, 2))
    x[:] = np.arange(50)[:, None, None]
    weight = np.arange(50) / 100
    batches = SeededBatches(
        x,
        np.arange(50),
        batch_size=16,
        sample_weight=weight,
        transform=lambda x, rng: x + 1.0,
    )
    for batch_x, batch_y, batch_weight in batches:
        np.testing.assert_array_equal(batch_x[:, 0, 0], batch_y + 1.0)
        np.testing.assert_array_equal(batch_weight, batch_y / 100)


def test_a_transform_may_change_its_batch_in_place():
    def zero(x, rng):
        x[:] = 0
        return x

    batches = make(transform=zero)
    before = batches.arrays[0].copy()
    assert not batches[0][0].any()
    np.testing.assert_array_equal(batches.arrays[0], before)


class Log(keras.layers.Layer):
    """Keeps three examples of each batch that it is trained on, newest last."""

    def __init__(self, batches):
        super().__init__()
        self.log = self.add_weight(
            shape=(batches, 3), initializer="zeros", trainable=False
        )

    def call(self, x, training=False):
        if training:
            new = keras.ops.stack([x[0, 0], x[1, 0], x[-1, 0]])
            self.log.assign(keras.ops.concatenate([self.log[1:], new[None]]))
        return x


def trained_on(batches, epochs, callbacks=()):
    log = Log(epochs * len(batches))
    model = keras.Sequential([keras.Input((1,)), log, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(batches, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)
    return keras.ops.convert_to_numpy(log.log).tolist()


def ends(batches, epochs):
    order = flat(epoch_of(batches, epoch) for epoch in epochs)
    return [[batch[0], batch[1], batch[-1]] for batch in order]


def test_fit_sees_another_order_in_each_epoch():
    seen = trained_on(make(batch_size=20), 3)
    # Keras has ended one epoch before it begins the first.
    assert seen == ends(make(batch_size=20), (1, 2, 3))


def test_set_epoch_at_an_epoch_s_begin_counts():
    batches = make(batch_size=20, steps_per_epoch=4)
    set_epoch = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: batches.set_epoch(epoch)
    )
    seen = trained_on(batches, 3, [set_epoch])
    assert seen == ends(batches, (0, 1, 2))


def test_bad_arguments_are_refused_by_name():
    x = np.zeros((4, 1))
    with pytest.raises(ValueError, match=r"Received: lengths=\[4, 3\]"):
        SeededBatches(x, x[:3])
    with pytest.raises(ValueError, match=r"Received: lengths=\[4, 4, 2\]"):
        SeededBatches(x, x, sample_weight=x[:2])
    with pytest.raises(ValueError, match=r"Received: lengths=\[0, 0\]"):
        SeededBatches(x[:0], x[:0])
    with pytest.raises(ValueError, match="Received: batch_size=0"):
        SeededBatches(x, x, batch_size=0)
    with pytest.raises(ValueError, match=r"Received: batch_size=2\.5"):
        SeededBatches(x, x, batch_size=2.5)
    with pytest.raises(ValueError, match="Received: seed=-1"):
        SeededBatches(x, x, seed=-1)
    with pytest.raises(ValueError, match="Received: steps_per_epoch=0"):
        SeededBatches(x, x, steps_per_epoch=0)
    with pytest.raises(ValueError, match="Received: transform=flip"):
        SeededBatches(x, x, transform="flip")
    with pytest.raises(ValueError, match="Received: epoch=-1"):
        SeededBatches(x, x).set_epoch(-1)
    with pytest.raises(IndexError, match="Received: index=1"):
        SeededBatches(x, x)[1]
