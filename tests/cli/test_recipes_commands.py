"""`hornbook list | show | copy | diff`, on a small catalog made up here."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hornbook import recipe_index
from hornbook.cli import main
from hornbook.errors import InputError

MAXOUT = '''\
# SPDX-License-Identifier: Apache-2.0
"""Maxout: a layer that learns its own activation, as the largest of several
affine pieces, whatever the shape that these pieces make of it.

What:    a Dense layer with `pieces` kernels.
When:    heads with dropout,
         where a little more capacity helps.
Not for: tiny data sets.
Source:  Goodfellow et al., "Maxout Networks", ICML 2013.
Needs:   keras>=3.

A paragraph of its own.
"""

import keras


@keras.saving.register_keras_serializable(package="hornbook")
class Maxout(keras.layers.Layer):
    """The largest of several Dense layers.

    More about it.
    """

    def __init__(self, units, pieces=2, *, seed=None, **kwargs):
        super().__init__(**kwargs)


class MaxoutConv2D(keras.layers.Layer):
    """The same for images."""


def _helper():
    pass
'''


def recipe_text(title, public):
    return MAXOUT.replace('"""Maxout', f'"""{title}').replace(
        "class Maxout(", f"class {public}("
    )


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A catalog of three recipes; the test runs in an empty folder beside it."""
    root = tmp_path / "installed"
    for category, name, public in [
        ("layers", "maxout", "Maxout"),
        ("layers", "drop_connect", "DropConnect"),
        ("regularizers", "group_lasso", "GroupLasso"),
    ]:
        path = root / category / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(recipe_text(public, public).replace("Conv2D", public))
    path = root / "layers" / "maxout.py"
    path.write_text(MAXOUT)
    (root / "layers" / "__init__.py").write_text('"""Layers."""\n')
    monkeypatch.setattr(recipe_index, "folder", lambda: root)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return root


@pytest.fixture
def hornbook(capsys):
    """Runs a command; gives its exit code, standard output and error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main([str(each) for each in arguments])
        out, err = capsys.readouterr()
        return exit_.value.code, out, err

    return run


def everything_in(folder):
    """Each path below a folder with its bytes."""
    return {p: p.is_file() and p.read_bytes() for p in folder.rglob("*")}


def letters(text):
    """What is written, without colours and without how it is laid out."""
    return re.sub(r"\x1b\[[\d;]*m|\s", "", text)


class TestCatalog:
    def test_reads_a_header(self, shelf):
        recipe = recipe_index.read(shelf / "layers" / "maxout.py")
        assert (recipe.name, recipe.category) == ("maxout", "layers")
        assert recipe.title == "Maxout"
        assert recipe.idea == (
            "a layer that learns its own activation, as the largest of several affine "
            "pieces, whatever the shape that these pieces make of it."
        )
        assert recipe.when == "heads with dropout, where a little more capacity helps."
        assert recipe.source == 'Goodfellow et al., "Maxout Networks", ICML 2013.'
        assert recipe.differs == ""
        assert list(recipe.header) == ["What", "When", "Not for", "Source", "Needs"]
        assert recipe.license == "Apache-2.0"
        assert [(each.name, each.kind) for each in recipe.objects] == [
            ("Maxout", "class"),
            ("MaxoutConv2D", "class"),
        ]
        assert recipe.objects[0].signature == (
            "Maxout(units, pieces=2, *, seed=None, **kwargs)"
        )
        assert recipe.objects[0].summary == "The largest of several Dense layers."
        assert recipe.import_line == (
            "from hornbook.recipes.layers import Maxout, MaxoutConv2D"
        )

    def test_orders_by_category_and_name_and_leaves_out_init(self, shelf):
        names = [recipe.name for recipe in recipe_index.recipes()]
        assert names == ["drop_connect", "maxout", "group_lasso"]

    @pytest.mark.parametrize("field", ["What", "When", "Not for", "Source", "Needs"])
    def test_missing_field_is_named(self, shelf, field):
        path = shelf / "layers" / "maxout.py"
        lines = MAXOUT.splitlines(keepends=True)
        start = next(i for i, line in enumerate(lines) if line.startswith(f"{field}:"))
        del lines[start]
        while lines[start].startswith(" "):
            del lines[start]
        path.write_text("".join(lines))
        with pytest.raises(InputError, match=rf"maxout\.py: .*no `{field}:`"):
            recipe_index.read(path)

    @pytest.mark.parametrize(
        ("old", "new", "problem"),
        [
            ("# SPDX", "#\n# SPDX", "first line is not `# SPDX"),
            ("Maxout: a layer", "A layer", "begin with `Title: the idea.`"),
            ("What:  ", "Whut:  ", "'Whut: .* no known field"),
            ("When:  ", "What:  ", "`What:` twice"),
            ("tiny data sets.", "", "no `Not for:`"),
            ("         where a", "where a", "'where a .* no known field"),
            ("class Maxout(", "class Minout(", "has the file's name"),
            ("def _helper():", "def _helper(:", "is not Python"),
        ],
    )
    def test_broken_header_names_file_and_field(self, shelf, old, new, problem):
        path = shelf / "layers" / "maxout.py"
        assert old in MAXOUT
        path.write_text(MAXOUT.replace(old, new, 1))
        with pytest.raises(InputError, match=rf"maxout\.py: .*{problem}"):
            recipe_index.recipes()

    @pytest.mark.parametrize(
        "name", ["maxout", "Maxout", "max-out", "MAX_OUT", "maxoutconv2d"]
    )
    def test_finds_by_any_spelling(self, shelf, name):
        assert recipe_index.find(name).name == "maxout"

    def test_real_folder_is_found_without_importing_it(self):
        program = (
            "import sys; from hornbook import recipe_index; "
            "print(recipe_index.folder()); "
            "assert 'hornbook.recipes' not in sys.modules"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert (Path(done.stdout.strip()) / "layers" / "__init__.py").exists()


class TestList:
    def test_piped_is_one_whole_line_a_recipe(self, shelf, hornbook):
        code, out, err = hornbook("list")
        assert (code, err) == (0, "")
        lines = out.splitlines()
        assert [line.split()[:2] for line in lines] == [
            ["layers", "drop_connect"],
            ["layers", "maxout"],
            ["regularizers", "group_lasso"],
        ]
        assert all("pieces make of it. [" in line for line in lines)
        assert max(map(len, lines)) > 120

    def test_terminal_groups_by_category_and_cuts_nothing(
        self, shelf, hornbook, monkeypatch
    ):
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "60")
        _, out, _ = hornbook("list")
        assert out.count("layers") == 1
        assert "\x1b[" in out
        assert "…" not in out
        assert letters(out).count("makeofit.") == 3

    def test_evidence(self, shelf, hornbook, monkeypatch):
        measured = {"verdict": "partly", "figure": "+1.5 points", "seeds": 5}
        monkeypatch.setattr(recipe_index, "evidence", lambda: {"maxout": measured})
        lines = hornbook("list")[1].splitlines()
        assert lines[0].endswith("[not measured yet]")
        assert lines[1].endswith("[partly: +1.5 points; 5 seeds]")
        line = "Evidence  partly: +1.5 points; 5 seeds\n"
        assert line in hornbook("show", "maxout")[1]
        monkeypatch.setenv("FORCE_COLOR", "1")
        assert "partly:+1.5points" in letters(hornbook("list")[1])

    def test_category(self, shelf, hornbook):
        _, out, _ = hornbook("list", "--category", "regularizers")
        assert "group_lasso" in out
        assert "maxout" not in out

    def test_unknown_category(self, shelf, hornbook):
        code, out, err = hornbook("list", "--category", "layer")
        assert (code, out) == (2, "")
        assert err == "Error: There is no category 'layer'. Did you mean layers?\n"

    def test_json(self, shelf, hornbook):
        _, out, _ = hornbook("list", "--json", "--category", "layers")
        rows = json.loads(out)
        assert [row["name"] for row in rows] == ["drop_connect", "maxout"]
        assert rows[1]["not_for"] == "tiny data sets."
        assert rows[1]["objects"][1]["name"] == "MaxoutConv2D"
        assert rows[1]["import"].startswith("from hornbook.recipes.layers import Max")
        assert Path(rows[1]["path"]).read_text() == MAXOUT

    def test_broken_recipe_is_one_line_on_stderr(self, shelf, hornbook):
        (shelf / "layers" / "maxout.py").write_text("import keras\n")
        code, out, err = hornbook("list")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "maxout.py" in err


class TestShow:
    def test_piped(self, shelf, hornbook):
        code, out, _ = hornbook("show", "max-out")
        assert code == 0
        assert "What      a Dense layer with `pieces` kernels.\n" in out
        assert "License   Apache-2.0\n" in out
        assert "Class     Maxout(units, pieces=2, *, seed=None, **kwargs)\n" in out
        assert "from hornbook.recipes.layers import Maxout, MaxoutConv2D\n" in out
        assert "hornbook copy maxout\n" in out
        assert "Differs" not in out

    def test_terminal(self, shelf, hornbook, monkeypatch):
        monkeypatch.setenv("FORCE_COLOR", "1")
        _, out, _ = hornbook("show", "maxout")
        assert "\x1b[" in out
        assert "tiny data sets." in out

    def test_source_piped_is_the_file(self, shelf, hornbook):
        _, out, _ = hornbook("show", "maxout", "--source")
        assert out == MAXOUT

    def test_source_on_a_terminal_is_highlighted(self, shelf, hornbook, monkeypatch):
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "50")
        _, out, _ = hornbook("show", "maxout", "--source")
        assert "\x1b[" in out
        assert letters(out) == letters(MAXOUT)

    def test_unknown_name(self, shelf, hornbook):
        code, out, err = hornbook("show", "maxot")
        assert (code, out) == (2, "")
        assert err.startswith("Error: There is no recipe 'maxot'. Did you mean maxout")

    def test_name_like_nothing(self, shelf, hornbook):
        code, _, err = hornbook("show", "zzzzzz")
        assert code == 2
        assert "`hornbook list`" in err


class TestCopy:
    def test_same_bytes_and_the_import(self, shelf, hornbook):
        source = shelf / "layers" / "maxout.py"
        source.write_bytes(MAXOUT.replace("\n", "\r\n").encode() + "# ²".encode())
        code, out, _ = hornbook("copy", "maxout", "--to", "my/blocks")
        assert code == 0
        assert Path("my/blocks/maxout.py").read_bytes() == source.read_bytes()
        assert os.listdir("my/blocks") == ["maxout.py"]
        assert "wrote my/blocks/maxout.py" in out
        assert "from my.blocks.maxout import Maxout, MaxoutConv2D" in out

    def test_several_by_class_name_into_the_default_folder(self, shelf, hornbook):
        code, _, _ = hornbook("copy", "Maxout", "max-out", "GroupLasso")
        assert code == 0
        assert sorted(os.listdir("recipes")) == ["group_lasso.py", "maxout.py"]

    def test_file_gets_the_usual_permissions(self, shelf, hornbook):
        hornbook("copy", "maxout", "--to", ".")
        Path("plain").touch()
        assert Path("maxout.py").stat().st_mode == Path("plain").stat().st_mode

    @pytest.mark.parametrize(
        ("to", "line"),
        [
            (".", "from maxout import Maxout"),
            ("a/b", "from a.b.maxout import Maxout"),
            ("my-blocks", "from maxout import Maxout"),
            ("../elsewhere", "from maxout import Maxout"),
        ],
    )
    def test_import_line(self, shelf, hornbook, to, line):
        _, out, _ = hornbook("copy", "maxout", "--to", to)
        assert f"    {line}, MaxoutConv2D\n" in out
        assert ("is on Python's path" in out) == (to in ("my-blocks", "../elsewhere"))

    def test_identical_file_is_left(self, shelf, hornbook):
        hornbook("copy", "maxout")
        before = Path("recipes/maxout.py").stat()
        code, out, _ = hornbook("copy", "maxout")
        assert code == 0
        assert "unchanged: recipes/maxout.py" in out
        assert Path("recipes/maxout.py").stat() == before

    def test_refuses_a_changed_file_and_then_writes_nothing(self, shelf, hornbook):
        hornbook("copy", "maxout")
        Path("recipes/maxout.py").write_text("mine\n")
        before = everything_in(Path())
        code, out, err = hornbook("copy", "drop_connect", "maxout", "group_lasso")
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert "recipes/maxout.py would be overwritten" in err
        assert "hornbook diff maxout recipes/maxout.py" in err
        assert everything_in(Path()) == before

    def test_force(self, shelf, hornbook):
        Path("maxout.py").write_text("mine\n")
        code, out, _ = hornbook("copy", "maxout", "--to", ".", "--force")
        assert code == 0
        assert "overwrote maxout.py" in out
        assert Path("maxout.py").read_text() == MAXOUT

    def test_force_replaces_a_link_and_not_what_it_points_to(self, shelf, hornbook):
        Path("precious.py").write_text("mine\n")
        Path("maxout.py").symlink_to("precious.py")
        assert hornbook("copy", "maxout", "--to", ".")[0] == 2
        assert hornbook("copy", "maxout", "--to", ".", "--force")[0] == 0
        assert Path("precious.py").read_text() == "mine\n"
        assert Path("maxout.py").read_text() == MAXOUT

    def test_dangling_link_is_not_overwritten(self, shelf, hornbook):
        Path("maxout.py").symlink_to("nowhere.py")
        assert hornbook("copy", "maxout", "--to", ".")[0] == 2
        assert Path("maxout.py").is_symlink()

    def test_dry_run_writes_nothing(self, shelf, hornbook):
        Path("maxout.py").write_text("mine\n")
        before = everything_in(Path())
        code, out, _ = hornbook(
            *("copy", "maxout", "group_lasso", "--to", ".", "--force", "--dry-run")
        )
        assert code == 0
        assert "would overwrite maxout.py" in out
        assert "would write group_lasso.py" in out
        assert everything_in(Path()) == before
        assert hornbook("copy", "maxout", "--to", ".", "--dry-run")[0] == 2
        assert hornbook("copy", "maxout", "--to", "new", "--dry-run")[0] == 0
        assert not Path("new").exists()

    @pytest.mark.parametrize("flag", [(), ("--force",), ("--dry-run",)])
    def test_folder_in_the_way(self, shelf, hornbook, flag):
        Path("recipes/maxout.py").mkdir(parents=True)
        code, _, err = hornbook("copy", "maxout", *flag)
        assert code == 2
        assert "recipes/maxout.py: it is a folder" in err

    @pytest.mark.parametrize("flag", [(), ("--force",), ("--dry-run",)])
    def test_target_that_is_a_file(self, shelf, hornbook, flag):
        Path("recipes").write_text("a file\n")
        code, _, err = hornbook("copy", "maxout", *flag)
        assert code == 2
        assert "recipes: it is not a folder" in err
        assert Path("recipes").read_text() == "a file\n"

    def test_one_unknown_name_stops_all(self, shelf, hornbook):
        code, _, err = hornbook("copy", "maxout", "grup_lasso")
        assert code == 2
        assert "'grup_lasso'" in err
        assert "group_lasso" in err
        assert not Path("recipes").exists()

    def test_failed_write_leaves_nothing_behind(self, shelf, hornbook, monkeypatch):
        def full(self, data):
            raise OSError(28, "No space left on device")

        Path("maxout.py").write_text("mine\n")
        monkeypatch.setattr(Path, "write_bytes", full)
        code, _, err = hornbook("copy", "maxout", "--to", ".", "--force")
        assert code == 2
        assert err == "Error: Cannot write to .: No space left on device.\n"
        assert os.listdir() == ["maxout.py"]
        assert Path("maxout.py").read_text() == "mine\n"


class TestDiff:
    @pytest.fixture
    def copied(self, shelf, hornbook):
        hornbook("copy", "maxout")
        return Path("recipes/maxout.py")

    @pytest.mark.parametrize("arguments", [(), ("recipes",), ("recipes/maxout.py",)])
    def test_equal(self, copied, hornbook, arguments):
        code, out, err = hornbook("diff", "Maxout", *arguments)
        assert (code, out) == (0, "")
        assert "recipes/maxout.py is the same as ours." in err

    def test_different_shows_what_the_copy_changes(self, copied, hornbook):
        copied.write_text(MAXOUT.replace("pieces=2", "pieces=4"))
        code, out, _ = hornbook("diff", "maxout")
        assert code == 1
        lines = out.splitlines()
        assert lines[:2] == ["--- hornbook/layers/maxout.py", "+++ recipes/maxout.py"]
        changed = [line for line in lines[2:] if line[0] in "+-"]
        assert [line[0] for line in changed] == ["-", "+"]
        assert ("pieces=2" in changed[0], "pieces=4" in changed[1]) == (True, True)
        assert "\x1b[" not in out

    def test_patch_undoes_the_change(self, copied, hornbook):
        theirs = MAXOUT.replace("pieces=2", "pieces=4")
        copied.write_text(theirs)
        _, patch, _ = hornbook("diff", "maxout")
        done = subprocess.run(
            ["git", "apply", "--reverse", "-p0", "--include=recipes/maxout.py", "-"],
            input=patch,
            text=True,
            capture_output=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert copied.read_text() == MAXOUT

    def test_colour_on_a_terminal(self, copied, hornbook, monkeypatch):
        copied.write_text(MAXOUT.replace("pieces=2", "pieces=4"))
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "30")
        code, out, _ = hornbook("diff", "maxout")
        assert code == 1
        assert "\x1b[32m+    def __init__(self, units, pieces=4, *, seed=None" in out

    def test_line_endings_only(self, copied, hornbook):
        copied.write_bytes(MAXOUT.replace("\n", "\r\n").encode())
        code, out, _ = hornbook("diff", "maxout")
        assert (code, out.count("\n")) == (1, 1)
        assert "line endings only" in out

    def test_bytes_that_are_not_text(self, copied, hornbook):
        copied.write_bytes(b"\xff\x00\n")
        assert hornbook("diff", "maxout")[0] == 1

    def test_nothing_to_compare(self, shelf, hornbook):
        code, out, err = hornbook("diff", "maxout", "elsewhere.py")
        assert (code, out) == (2, "")
        assert err == "Error: Cannot read elsewhere.py: No such file or directory.\n"
        assert hornbook("diff", "mxout")[0] == 2


class TestMain:
    def test_version(self, hornbook):
        import hornbook as package

        assert hornbook("--version") == (0, f"hornbook {package.__version__}\n", "")

    def test_module_is_the_command(self):
        done = subprocess.run(
            [sys.executable, "-m", "hornbook", "copy", "--help"],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0
        assert "hornbook copy" in done.stdout

    @pytest.mark.parametrize(
        "arguments", [("nothing",), ("copy",), ("list", "--what"), ("show", "a", "b")]
    )
    def test_wrong_usage_exits_with_2(self, shelf, hornbook, arguments):
        code, out, err = hornbook(*arguments)
        assert (code, out) == (2, "")
        assert "Traceback" not in err

    def test_traceback_on_request(self, shelf, hornbook, monkeypatch):
        assert "Traceback" not in hornbook("show", "maxot")[2]
        code, _, err = hornbook("--traceback", "show", "maxot")
        assert code == 2
        assert "Traceback" in err
        assert "InputError: There is no recipe 'maxot'" in err
        assert "Traceback" not in hornbook("show", "maxot")[2]
        monkeypatch.setenv("HORNBOOK_TRACEBACK", "1")
        assert "Traceback" in hornbook("show", "maxot")[2]

    def test_error_is_red_on_a_terminal_and_never_wrapped(
        self, shelf, hornbook, monkeypatch
    ):
        name = "a [bold]very[/bold] long name :smile: " * 10
        err = hornbook("show", name)[2]
        assert name in err
        assert err.count("\n") == 1
        monkeypatch.setenv("FORCE_COLOR", "1")
        assert hornbook("show", "maxot")[2].startswith("\x1b[31mError: ")

    def test_other_errors_are_not_swallowed(self, shelf, monkeypatch):
        def fail():
            raise ValueError("a bug")

        monkeypatch.setattr(recipe_index, "recipes", fail)
        with pytest.raises(ValueError, match="a bug"):
            main(["list"])

    def test_closed_pipe_is_quiet(self, tmp_path):
        done = subprocess.run(
            f"{sys.executable} -m hornbook list --json | head -c 1",
            shell=True,
            capture_output=True,
            text=True,
        )
        assert (done.stdout, done.stderr) == ("[", "")
