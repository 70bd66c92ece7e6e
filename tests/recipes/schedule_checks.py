"""What every learning-rate schedule must do inside `fit` and a `.keras` file."""

import keras
import numpy as np
from contract import numpy


def model_of_one_weight(schedule):
    """Its gradient is always 1, so that the weight moves by minus the rate."""
    zero = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), zero])
    model.compile(keras.optimizers.SGD(schedule), lambda y, p: p)
    return model


def check_fit(make, steps=12):
    """Inside `fit`, step after step, the weight moves by the schedule's rates."""
    model = model_of_one_weight(make())
    seen = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(0)
    )
    model.fit(*[np.ones((steps, 1))] * 2, batch_size=1, verbose=0, callbacks=[record])
    assert len(seen) == steps
    rates = [float(numpy(make()(step))) for step in range(steps)]
    np.testing.assert_allclose(model.get_weights()[0], -np.sum(rates), rtol=1e-5)
    return model


def check_saving(schedule, folder):
    """From a `.keras` file the training goes on where it was."""
    x = np.ones((3, 1))
    model = model_of_one_weight(schedule)
    model.compile(keras.optimizers.SGD(schedule), "mse")
    model.fit(x, x, batch_size=1, verbose=0)
    model.save(folder / "model.keras")
    again = keras.models.load_model(folder / "model.keras")
    for each in (model, again):
        each.fit(x, x, batch_size=1, verbose=0)
    assert int(numpy(again.optimizer.iterations)) == 6
    np.testing.assert_allclose(
        again.get_weights()[0], model.get_weights()[0], rtol=1e-6
    )
    assert float(numpy(again.optimizer.learning_rate)) == float(
        numpy(model.optimizer.learning_rate)
    )
