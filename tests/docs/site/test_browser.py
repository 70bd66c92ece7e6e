"""The site as people meet it: in a browser, on a desk and on a phone, by keyboard.

Needs Chromium: `CHROMIUM=/path/to/it`, or one of its usual names on the PATH.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
WIDTHS = (390, 1280)
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, str(ROOT / "docs/site/build.py"), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, NAMES)), ""
    )
    assert path, f"No Chromium: set CHROMIUM, or install one of {', '.join(NAMES)}."
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def tab(browser):
    """Opens tabs that remember what the console complained of."""
    contexts = []

    def make(width=1280, colours="light"):
        context = browser.new_context(
            viewport={"width": width, "height": 844}, color_scheme=colours
        )
        contexts.append(context)
        page = context.new_page()
        page.complaints = []
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("requestfailed", lambda request: page.complaints.append(request.url))
        page.on(
            "console",
            lambda message: (
                page.complaints.append(message.text)
                if message.type in ("error", "warning")
                else None
            ),
        )
        return page

    yield make
    for context in contexts:
        context.close()


def url(path):
    return path.resolve().as_uri()


def all_pages(site):
    return sorted(site.rglob("*.html"))


@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_loads_fits_and_complains_of_nothing(site, tab, width):
    page = tab(width)
    for path in all_pages(site):
        page.goto(url(path))
        page.wait_for_load_state("networkidle")  # the icon: leaving breaks it off
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{path.relative_to(site)} is {wide} wide"
        assert page.locator("h1").count() == 1
        assert page.evaluate(
            "[...document.images].every(each => each.complete && each.naturalWidth)"
        ), path
        assert not page.complaints, (path, page.complaints)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_axe_finds_nothing(site, tab, width, colours):
    from axe_playwright_python.sync_playwright import Axe

    axe, page, found = Axe(), tab(width, colours), []
    for path in all_pages(site):
        page.goto(url(path))
        page.evaluate(
            "document.querySelectorAll('details').forEach(d => d.open = true)"
        )
        page.wait_for_timeout(50)
        for each in axe.run(page).response["violations"]:
            where = [node["target"] for node in each["nodes"][:2]]
            found.append(f"{path.relative_to(site)}: {each['id']} {where}")
    assert not found, "\n".join(found)


def reached(page, presses):
    """What each press of the Tab key puts the focus on."""
    for _ in range(presses):
        page.keyboard.press("Tab")
        yield page.evaluate(
            """() => {
              const at = document.activeElement;
              const style = getComputedStyle(at.matches(".chip input")
                ? at.nextElementSibling : at.closest("li.card:not(.outline)") ?? at);
              return [at.tagName, at.name ?? "", (at.textContent || "").trim(),
                      style.outlineStyle != "none"];
            }"""
        )


@pytest.mark.parametrize("width", WIDTHS)
def test_the_gallery_is_reached_and_filtered_by_keyboard(site, tab, width):
    page = tab(width)
    page.goto(url(site / "recipes/index.html"))
    seen = list(reached(page, 24))
    assert seen[0][2] == "Skip to the content"
    assert all(visible for *_, visible in seen)
    names = [name for _, name, *_ in seen]
    assert {"q", "words", "category", "evidence", "needs"} <= set(names)
    assert any(tag == "A" and text == "DropConnect" for tag, _, text, _ in seen)

    cards = page.locator("li.card:visible")
    every = cards.count()
    page.locator("input[name=category]").first.focus()
    page.keyboard.press("ArrowRight")
    assert 0 < cards.count() < every
    assert "category=layers" in page.url
    page.locator("#words").fill("maxout filters")
    assert page.locator("output").text_content() == "1 recipe"
    page.get_by_role("button", name="Show all").press("Enter")
    page.wait_for_timeout(50)
    assert cards.count() == every


def test_a_choice_in_the_address_is_kept(site, tab):
    page = tab()
    page.goto(url(site / "recipes/index.html") + "?category=initializers")
    assert page.locator("li.card:visible h3").all_text_contents() == [
        "Kaiming",
        "lsuv",
        "Xavier",
    ]


def test_the_gallery_works_without_scripts(site, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url(site / "recipes/index.html"))
    assert page.locator("li.card").count() == page.locator("li.card:visible").count()
    assert not page.locator("form.filter").is_visible()
    context.close()


def test_search_finds_without_a_server(site, tab):
    page = tab()
    page.goto(url(site / "index.html"))
    page.keyboard.press("/")
    page.keyboard.type("whitening")
    page.keyboard.press("Enter")
    page.wait_for_selector("ul.search li >> text=PCAWhitening")
    page.get_by_role("link", name="PCAWhitening").first.click()
    assert page.locator("h1").text_content().startswith("PCAWhitening")
    assert not page.complaints


def test_copy_leaves_out_prompts(site, tab):
    page = tab()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(url(site / "recipes/kaiming.html"))
    buttons = page.get_by_role("button", name="Copy this code")
    buttons.first.click()
    read = "navigator.clipboard.readText()"
    assert page.evaluate(read) == "hornbook copy kaiming"
    page.locator("#use-it button.copy").last.click()
    page.wait_for_timeout(50)
    code = page.evaluate(read)
    assert "Kaiming(" in code
    assert ">>>" not in code


def test_colours_are_the_systems_until_chosen(site, tab):
    page = tab(colours="dark")
    page.goto(url(site / "index.html"))
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    button = page.locator("button.theme")
    button.click()
    light = page.evaluate(background)
    assert dark != light
    page.goto(url(site / "notes/index.html"))
    assert page.evaluate(background) == light
    button.click()
    assert page.evaluate(background) == dark
