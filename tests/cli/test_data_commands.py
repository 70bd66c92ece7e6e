"""`hornbook data`, once as a user's shell runs it, else in this process."""


def test_list_names_the_three(shell):
    out = shell("data", "list").stdout
    for name in ("hornbook_digits", "hornbook_photo_digits", "hornbook_glyphs"):
        assert name in out


def test_build_makes_what_tfds_then_loads(tmp_path, command):
    done = command(
        "data", "build", "hornbook_digits/2_per_class", "--data-dir", str(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("hornbook_digits/2_per_class: 1020 examples in ")

    import tensorflow_datasets as tfds

    import hornbook.zoo.data.builders.hornbook_digits  # noqa: F401

    labels = tfds.load(
        "hornbook_digits/2_per_class",
        split="train",
        data_dir=tmp_path,
        download=False,
        batch_size=-1,
    )["label"]
    assert sorted(labels.numpy()) == sorted(2 * list(range(10)))


def test_what_is_not_there_is_refused_before_anything_is_built(tmp_path, command):
    for wrong in ("mnist", "hornbook_digits/3_per_class"):
        done = command(
            "data",
            "build",
            "hornbook_digits/1_per_class",
            wrong,
            "--data-dir",
            tmp_path,
        )
        assert done.returncode == 2
        assert f"Received: {wrong}" in done.stderr
        assert not list(tmp_path.iterdir())
