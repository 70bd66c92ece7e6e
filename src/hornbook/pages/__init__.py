"""The HTML pages that commands write, and the style of their figures."""
