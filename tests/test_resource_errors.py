"""What a full disk and too little memory are called."""

import errno
import os
import shutil
import tempfile

import keras
import pytest

from hornbook.errors import InputError
from hornbook.resource_errors import (
    DiskFull,
    check_room,
    is_out_of_memory,
    naming_full_disk,
    naming_full_memory,
)


class TestDisk:
    def test_hdf5_names_it_in_the_chain_of_a_runtime_error(self):
        text = f"Can't close file (errno = 28, '{os.strerror(28)}')"
        with (
            pytest.raises(DiskFull, match="where `/here` is, then do it") as told,
            naming_full_disk("/here", "do it"),
        ):
            try:
                raise OSError(text)
            except OSError:
                raise RuntimeError("cannot go on")  # noqa: B904
        assert isinstance(told.value, InputError)

    def test_a_caller_may_have_its_own_class(self):
        class Mine(DiskFull):
            pass

        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with pytest.raises(Mine), naming_full_disk("/here", error_class=Mine):
            raise full
        with pytest.raises(Mine), naming_full_disk("/here"):
            raise Mine("as it is")

    def test_other_errors_pass(self):
        with pytest.raises(ValueError, match="other"), naming_full_disk("/here"):
            raise ValueError("other")

    def test_room_is_checked_before_a_model_is_saved(self, tmp_path, monkeypatch):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        check_room(model, tmp_path)
        assert not list(tmp_path.iterdir())

        def refuse(*args):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        if hasattr(os, "posix_fallocate"):
            monkeypatch.setattr(os, "posix_fallocate", refuse)
        else:
            usage = shutil.disk_usage(tempfile.gettempdir())._replace(free=0)
            monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
        with pytest.raises(DiskFull), naming_full_disk(tmp_path):
            check_room(model, tmp_path)


class TestMemory:
    @pytest.mark.parametrize(
        "error",
        [
            MemoryError(),
            type("ResourceExhaustedError", (Exception,), {})("OOM when allocating\nx"),
            RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes."),
            RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        ],
    )
    def test_backends_words_for_it(self, error):
        released = []
        with (
            pytest.raises(MemoryError, match="does not fit"),
            naming_full_memory(lambda: released.append(True)),
        ):
            raise error
        assert released
        assert is_out_of_memory(error)

    def test_other_errors_pass(self):
        with pytest.raises(ValueError, match="other"), naming_full_memory(None):
            raise ValueError("other")
