"""The loop over epochs: the order of the examples, and what is on the device."""

import keras
import numpy as np

from hornbook.tuning.warm.fit_loop import DeviceCache, epoch_order


def test_order_is_a_function_of_seed_and_epoch():
    one = epoch_order(np.arange(9), True, 3, 1)
    np.testing.assert_array_equal(one, epoch_order(np.arange(9), True, 3, 1))
    assert sorted(one) == list(range(9))
    assert (one != epoch_order(np.arange(9), True, 3, 2)).any()
    np.testing.assert_array_equal(epoch_order(np.arange(9), False, 3, 1), np.arange(9))


def test_an_array_is_copied_to_the_device_once():
    copied = []

    def copy(array):
        copied.append(array)
        return keras.ops.convert_to_tensor(array)

    device = DeviceCache()
    x, y = np.ones((3, 2), "float64"), np.arange(3)
    one = device.to_device((x, {"y": y}), copy)
    other = device.to_device((x, y), copy)
    assert one[0] is other[0] and one[1]["y"] is other[1]
    assert [array.dtype for array in copied] == [keras.config.floatx(), y.dtype]
