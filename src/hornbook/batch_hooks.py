"""Whether callbacks look at single batches: if none does, many can run at once."""

import keras

from hornbook.compat import is_default

BATCH_HOOKS = [
    f"on_{kind}batch_{when}"
    for kind in ("train_", "test_", "")
    for when in ("begin", "end")
]


def wants_batches(callback: keras.callbacks.Callback) -> bool:
    """Whether a callback does something at each batch."""
    if type(callback) is keras.callbacks.TensorBoard:
        return callback.update_freq != "epoch"
    if isinstance(callback, keras.callbacks.ProgbarLogger):
        return False
    if type(callback) is keras.callbacks.ModelCheckpoint:
        return callback.save_freq != "epoch"
    if hasattr(callback, "wants_batches"):
        return callback.wants_batches
    return any(not is_default(getattr(callback, name)) for name in BATCH_HOOKS)
