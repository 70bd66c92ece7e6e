"""`TrainingMonitor` on a ResNet-20: what it costs a training, in time and in memory.

ResNet-20 as of He et al. 2016 for CIFAR (0.27 M weights, pictures of 32 x 32 x 3 by
noise, batches of 128), in `fit` on TensorFlow as Keras runs it. Rounds of 12 steps with
the monitor and without it take turns; in those with it one step is measured in the
middle. Each step is timed with all its callbacks, but for the first of a round. The
ratio at N = 50 is that of 49 median steps with the monitor and a median measured one
over 50 median steps without it. The probe of 64 examples is compiled once, before the
rounds: how long that takes is told apart. Processor seconds tell what the wall clock
hides where others use the cores too.

Memory: what the process holds after 250 and after 1,000 measured steps of a small net.

Command: python benchmarks/monitor.py [rounds]
Writes:  docs/benchmarks/monitor.json
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

OUT = Path(__file__).parents[1] / "docs/benchmarks/monitor.json"
ROUNDS, STEPS, EVERY, BATCH, PROBE = 9, 12, 50, 128, 64
HALF = STEPS // 2


def resnet20():
    """The CIFAR ResNet of 20 layers, compiled."""
    import keras
    from keras import layers

    def conv(x, filters, stride=1):
        x = layers.Conv2D(filters, 3, stride, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(conv(inputs, 16))
    for stage, filters in enumerate((16, 32, 64)):
        for block in range(3):
            stride = 2 if stage and not block else 1
            y = conv(layers.ReLU()(conv(x, filters, stride)), filters)
            if stride == 2:
                x = layers.AveragePooling2D(1, 2)(x)
                x = layers.Permute((1, 3, 2))(x)
                x = layers.ZeroPadding2D(((0, 0), (0, filters // 2)))(x)
                x = layers.Permute((1, 3, 2))(x)
            x = layers.ReLU()(layers.Add()([x, y]))
    outputs = layers.Dense(10)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss)
    return model


def data():
    """Batches for one turn, and the probe."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * 8, 32, 32, 3)).astype("float32")
    return x, rng.integers(10, size=len(x))


def timed(model, batches, *callbacks):
    """Seconds of each step of a round, with what callbacks do before and after it.

    Two numbers a step: on the wall and of the processor.
    """
    import keras

    begun, took = [], []

    def now():
        return time.perf_counter(), time.process_time()

    def end(batch, logs):
        took.append([b - a for a, b in zip(begun[-1], now(), strict=True)])

    first = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: begun.append(now())
    )
    last = keras.callbacks.LambdaCallback(on_train_batch_end=end)
    model.fit(
        batches,
        steps_per_epoch=STEPS,
        verbose=0,
        callbacks=[first, *callbacks, last],
    )
    return took


def compare(rounds):
    """Seconds of steps with and without the monitor, and what that makes at N = 50."""
    import numpy as np
    import tensorflow as tf

    from hornbook.recipes.callbacks.training_monitor import TrainingMonitor
    from hornbook.recipes.diagnosis.layer_probe import LayerProbe

    (x, y), model = data(), resnet20()
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH).repeat()
    probe = LayerProbe(x[:PROBE], y[:PROBE])
    begun = time.perf_counter()
    probe(model)
    compiled = time.perf_counter() - begun
    rounds_of = {"without": [], "with": []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds + 1):
            sides = {
                "without": [],
                "with": [TrainingMonitor(folder, probe, update_freq=HALF)],
            }
            for name in sorted(sides, reverse=turn % 2):
                took = timed(model, batches, *sides[name])
                if turn:  # the first compiles
                    rounds_of[name].append(took)
    taken = {name: np.array(took) for name, took in rounds_of.items()}
    result = {"weights": model.count_params(), "bound": 1.05}
    for kind, clock in enumerate(("wall", "processor")):
        without = np.median(taken["without"][:, 1:, kind])
        plain = np.median(np.delete(taken["with"][..., kind], [0, HALF], axis=1))
        measured = np.median(taken["with"][:, HALF, kind])
        result[clock] = {
            "step_without_s": round(without, 4),
            "step_between_measurements_s": round(plain, 4),
            "measured_step_s": round(measured, 4),
            "ratio": round(((EVERY - 1) * plain + measured) / (EVERY * without), 3),
            "measurement_in_50_steps": round((measured - plain) / EVERY / without, 3),
        }
    return result | {"compile_probe_s": round(compiled, 1)}


def memory():
    """Megabytes held after 250 and after 1,000 measured steps."""
    import keras
    import numpy as np

    from hornbook.recipes.callbacks.training_monitor import TrainingMonitor
    from hornbook.recipes.diagnosis.layer_probe import LayerProbe

    x, y = np.ones((80, 8), "float32"), np.zeros((80, 1), "float32")
    dense = [keras.layers.Dense(8, activation="relu") for _ in range(4)]
    model = keras.Sequential([keras.Input((8,)), *dense, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    held = []

    class Held(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            held.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)

    with tempfile.TemporaryDirectory() as folder:
        monitor = TrainingMonitor(folder, LayerProbe(x, y), update_freq=1)
        model.fit(
            *(x, y), batch_size=8, epochs=100, verbose=0, callbacks=[monitor, Held()]
        )
    return {
        "after_250_mb": round(held[24]),
        "after_1000_mb": round(held[-1]),
        "grown_mb": round(held[-1] - held[24], 1),
        "rows_kept": len(monitor.rows),
    }


def main(rounds=ROUNDS):
    """Compares, prints and writes."""
    result = {
        "command": "python benchmarks/monitor.py",
        "cores": os.cpu_count(),
        "rounds": rounds,
        "steps_a_round": STEPS,
        "every": EVERY,
        "batch": BATCH,
        "probe": PROBE,
        **compare(rounds),
        "memory": memory(),
    }
    print(json.dumps(result, indent=2))
    if rounds >= ROUNDS:
        OUT.parent.mkdir(parents=True, exist_ok=True)
        OUT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main(*(int(each) for each in sys.argv[1:2]))
