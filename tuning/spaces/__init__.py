"""Ready search spaces: one in a file, to use by name or to copy and change.

A search space is a Python file with a function `build(hp)` that returns a compiled
model, as for keras-tuner. `hornbook tune --space FILE.py` searches yours. The file may
also have:

- `build(hp, shape, num_classes)`: `build` can ask for the shape of an example, for the
  number of classes, or for both, under these names. Other parameters need defaults.
- `data()`: called if there is no `--data`. It returns a dict with a pair `(x, y)` for
  "train" and, if there are such data, for "validation" and "test".
- `prepare(x)`: applied to the examples once, before the search.
- `EPOCHS`: integer, the epochs of a training if `--epochs` is not given; otherwise 10.
- `inference_model(model, shape)`: returns the model to keep, which takes examples of
  that shape without `prepare`.
"""
