"""The gallery, and a page for each recipe, from its file and its figures."""

import re

import docstrings
import measured
import note_pages
import numpy as np
import speed
import study_pages
from words import fill

from hornbook import recipe_index

CATEGORIES = {
    "layers": "Layers",
    "initializers": "Initializers",
    "regularizers": "Regularizers",
    "optimizers": "Optimizers and rates",
    "augmentation": "Augmentation",
    "inference": "Test time",
    "data": "Data shift",
    "diagnosis": "Diagnosis",
    "callbacks": "Callbacks",
}
VERDICTS = ("holds", "partly", "not here", "measured", "tested")
NEEDS = {
    "keras": "Keras and NumPy alone",
    "scipy": "SciPy",
    "sklearn": "scikit-learn",
    "matplotlib": "Matplotlib",
    "backend": "its backend by name",
}


def pages():
    """Yields the path and the text of each page."""
    recipes = recipe_index.recipes()
    for recipe in recipes:
        yield f"recipes/{recipe.name}.md", _page(recipe)
    order = [*CATEGORIES, *sorted({each.category for each in recipes} - {*CATEGORIES})]
    shelves = [
        (
            category,
            category_title(category),
            [_card(r) for r in recipes if r.category == category],
        )
        for category in order
    ]
    yield (
        "recipes/index.md",
        fill(
            "gallery.md",
            shelves=[each for each in shelves if each[2]],
            recipes=recipes,
            verdicts=[v for v in VERDICTS if any(_verdict(r) == v for r in recipes)],
            unmeasured=not all(_verdict(r) for r in recipes),
            needs=NEEDS,
        ),
    )


def category_title(category):
    """A category as a heading."""
    return CATEGORIES.get(category, category.replace("_", " ").capitalize())


def needs(recipe):
    """What a recipe needs beyond Keras and NumPy, by the keys of `NEEDS`."""
    words = set(re.findall(r"\w+", recipe.needs.lower()))
    found = [name for name in ("scipy", "sklearn", "matplotlib") if name in words]
    if words & {"tensorflow", "torch", "jax"}:
        found.append("backend")
    return found or ["keras"]


def _verdict(recipe):
    return recipe_index.evidence().get(recipe.name, {}).get("verdict", "")


def _card(recipe):
    words = (recipe.name, recipe.title, recipe.idea, recipe.what, recipe.when)
    return {
        "recipe": recipe,
        "verdict": _verdict(recipe),
        "figure": recipe_index.evidence().get(recipe.name, {}).get("figure", ""),
        "needs": " ".join(needs(recipe)),
        "words": " ".join(words).lower().replace("`", ""),
    }


def _page(recipe):
    found = recipe_index.evidence().get(recipe.name)
    study = measured.read(found["study"]) if found and "study" in found else None
    table = study_pages.table(study) if study else []
    speeds = speed.of(recipe.name)
    return fill(
        "recipe.md",
        recipe=recipe,
        category=category_title(recipe.category),
        objects=docstrings.public(recipe.path),
        evidence=found,
        study=study,
        table=table,
        decimals=study_pages.decimals(table),
        speed=speeds,
        range=_range(speeds),
        notes=note_pages.headings_of(recipe.name),
        text=recipe.path.read_text(encoding="utf-8"),
    )


def _range(rows):
    ratios = [row["ratio"] for row in rows]
    return (min(ratios), float(np.median(ratios)), max(ratios)) if ratios else None
