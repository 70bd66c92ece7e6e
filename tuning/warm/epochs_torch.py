"""Epochs on torch: a plain loop over the batches, as in `fit`.

Nothing is compiled. What is saved is moving each batch to the device.
"""

from typing import Any

import keras
import numpy as np
import torch
from keras import tree

from hornbook.tuning.warm.epochs import EpochRequest, Epochs


class TorchEpochs(Epochs):
    """Runs the steps of an epoch one after the other."""

    @staticmethod
    def to_device(array: Any) -> Any:
        return keras.ops.convert_to_tensor(array)

    def prepare(self, request: EpochRequest) -> None:
        """There is nothing to compile."""

    def run(self, request: EpochRequest) -> dict[str, Any]:
        kind, data, order, batch_size = request
        training = kind == "train"
        self.model.reset_metrics()
        self.model.train(training)
        step = getattr(self.model, f"{kind}_step")
        indices = torch.from_numpy(np.asarray(order, "int64"))
        logs: dict[str, Any] = {}
        with torch.set_grad_enabled(training):
            for chosen in indices.split(batch_size):
                # The index has to lie on the device of the data.
                batch = tree.map_structure(lambda x: x[chosen.to(x.device)], data)  # noqa: B023
                logs = step(batch)
        self.model.eval()
        return logs
