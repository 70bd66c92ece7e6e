import jinja2
import pytest

from hornbook.pages import page


def test_what_is_shown_is_escaped_and_what_is_missing_is_told(tmp_path):
    (tmp_path / "a.html").write_text("{{ name }}, {{ seconds | duration }}")
    template = page.environment(tmp_path).get_template("a.html")
    assert template.render(name="<b>", seconds=75) == "&lt;b&gt;, 1 min 15 s"
    with pytest.raises(jinja2.UndefinedError, match="name"):
        template.render(seconds=75)


def test_numbers_stay_with_their_units():
    assert page.unbroken("81.2 ± 3.1 %") == "81.2\xa0±\xa03.1\xa0%"
