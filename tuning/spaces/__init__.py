"""Ready search spaces: one a file, to use by name or to copy and change.

A space is a file with a function `build(hp)` that returns a compiled model, as for
keras-tuner. `hornbook tune --space FILE.py` takes yours, and what it may have besides:

- `build(hp, shape, classes)`: asks for the shape of an example, the number of classes,
  or both, by these names. Other parameters have defaults.
- `data()`: where there is no `--data`. Returns a dict of `(x, y)` by "train" and,
  if it has them, "validation" and "test".
- `prepare(x)`: what is done to examples once, before the search.
- `EPOCHS`: of a training, where `--epochs` is not given; else 10.
- `inference_model(model, shape)`: the model to keep, from examples as they come, of
  that shape.
"""
