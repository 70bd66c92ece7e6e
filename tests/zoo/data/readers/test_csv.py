import numpy as np
import pytest
from PIL import Image

from hornbook.errors import InputError
from hornbook.zoo.data.dataset import read_source
from hornbook.zoo.data.splits import load_dataset


@pytest.fixture
def folder(tmp_path):
    """Thirty pictures, whose red tells their number."""
    rng = np.random.default_rng(0)
    for number in range(30):
        picture = rng.integers(0, 256, (12, 12, 3), dtype="uint8")
        picture[..., 0] = number
        Image.fromarray(picture).save(tmp_path / f"ü {number}.png")
    return tmp_path


def save(folder, *lines, name="list.csv", encoding="utf-8"):
    (folder / name).write_text("\n".join(lines), encoding=encoding)
    return f"csv:{folder / name}"


def read(spec, **options):
    return read_source(spec, size=8, channels=3, **options)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_paths_and_labels(folder, encoding):
    lines = [f"ü {n}.png,{'nö' if n % 3 else '日本'}" for n in range(30)]
    found = read(save(folder, "path,label", *lines, encoding=encoding))
    assert found.classes == ("nö", "日本")
    train = found.splits["train"]
    np.testing.assert_array_equal(train.labels, [int(n % 3 == 0) for n in range(30)])
    np.testing.assert_array_equal(train.images[:, 0, 0, 0], np.arange(30))
    assert train.names[4] == "ü 4.png"


def test_splits_other_names_other_columns_and_absolute_paths(folder):
    splits = ["train", "val", "TEST", ""]
    lines = [f'x,"{folder}/ü {n}.png", {splits[n % 4]} ,"a, b"' for n in range(20)] + [
        f"x,ü {n}.png,train,c" for n in range(20, 24)
    ]
    lines += ["x,ü 24.png,test,c", "x,ü 25.png,valid,c", ""]
    spec = save(folder, "id,Image_Path,subset,class", *lines)
    dataset = load_dataset(spec, size=8, channels=3)
    assert dataset.classes == ("a, b", "c")
    reds = [
        sorted(part.images[:, 0, 0, 0].tolist())
        for part in (dataset.train, dataset.validation, dataset.test)
    ]
    train = [n for n in range(20) if n % 4 in (0, 3)]
    assert reds == [
        [*train, 20, 21, 22, 23],
        [*range(1, 20, 4), 25],
        [*range(2, 20, 4), 24],
    ]


def test_without_splits_the_test_is_stratified_and_the_seed_is_for_the_rest(folder):
    lines = [f"ü {n}.png,{n % 2}" for n in range(30)]
    spec = save(folder, "path,label", *lines)
    first, again, other = (
        load_dataset(spec, size=8, channels=3, seed=seed) for seed in (1, 1, 2)
    )
    assert first.test.names == again.test.names == other.test.names
    assert np.bincount(first.test.labels).tolist() == [3, 3]
    assert first.validation.names == again.validation.names != other.validation.names


def test_what_is_bad_is_listed_or_left_out(folder):
    (folder / "empty.png").write_bytes(b"")
    lines = [f"ü {n}.png,{n % 2}" for n in range(10)]
    spec = save(folder, "path,label", *lines, "gone.png,1", "empty.png,0")
    with pytest.raises(InputError) as error:
        read(spec)
    assert "2 files cannot be used" in str(error.value)
    assert "gone.png (no such file)" in str(error.value)
    assert "empty.png (the file is empty)" in str(error.value)
    found = read(spec, skip_unreadable=True)
    assert len(found.splits["train"]) == 10
    assert "Skipped 2 files" in found.notices[0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "must name the columns path and label. Received: csv:.*nothing"),
        (["a,b", "1,2"], "with a, b"),
        (["path,label"], "lists no images"),
        (["path,label", "ü 1.png,a,b"], "Line 2 has 3 values for 2 columns"),
        (["path,label", "ü 1.png,"], "Line 2 has no path or no label"),
        (["path,label", "ü 1.png,a", "ü 2.png,a"], "only one class, a"),
        (["path,label,split", "ü 1.png,a,dev", "ü 2.png,b,"], "Line 2 has a split"),
        (
            ["path,label,split", "ü 1.png,a,test", "ü 2.png,b,test"],
            "The CSV lists no training images",
        ),
    ],
)
def test_refused(folder, lines, message):
    with pytest.raises(InputError, match=message):
        read(save(folder, *lines))


def test_no_such_file_and_no_text(folder):
    with pytest.raises(InputError, match=r"does not exist\. Received: csv:nowhere"):
        read("csv:nowhere.csv")
    with pytest.raises(InputError, match="not a CSV file in UTF-8"):
        read(f"csv:{folder / 'ü 1.png'}")
