"""Images and tables that people look at."""

from pathlib import Path

PAGES = Path(__file__).parent / "pages"
"""Templates, style and scripts of the pages."""
