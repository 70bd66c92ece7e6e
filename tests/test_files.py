import json

import pytest

from hornbook.files import atomic_write, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"é": 1})
    with pytest.raises(RuntimeError), atomic_write(path) as new:
        new.write_text("half")
        raise RuntimeError
    assert json.loads(path.read_text(encoding="utf-8")) == {"é": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_keeps_the_suffix(tmp_path):
    with atomic_write(tmp_path / "m.weights.h5") as new:
        assert new.name.endswith(".weights.h5")
        assert new.parent == tmp_path
