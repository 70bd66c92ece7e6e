"""Sphinx's settings. `build.py` says where the pages come from."""

from pathlib import Path

import hornbook

project = "Hornbook"
author = "The Hornbook contributors"
copyright = author
version = release = hornbook.__version__

extensions = ["myst_parser"]
myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3
smartquotes = False
language = "en"

html_theme = "hornbook"
html_theme_path = [str(Path(__file__).parent / "theme")]
html_copy_source = False
html_show_sourcelink = False
html_show_search_summary = False  # it would be fetched, which file:// forbids
html_use_index = False
html_domain_indices = False
html_permalinks_icon = "#"
