"""A page in the system's Chromium, and what it said on its console."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@dataclass
class Visit:
    """An open page."""

    page: Any
    """Playwright's."""
    said: list[str] = field(default_factory=list)
    """Lines of its console."""
    errors: list[str] = field(default_factory=list)
    """Errors on the console, exceptions and requests that failed."""
    requests: list[str] = field(default_factory=list)
    """Every address that it asked for."""

    def flaws(self, **options: Any) -> list[str]:
        """Return what axe-core finds wrong: contrast, names, roles, order of headings."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page, options=options or None).response["violations"]
        return [f"{item['id']}: {node['html'][:200]}" for item in found for node in item["nodes"]]

    def width_needed(self) -> int:
        """Return how wide the content is; more than the window means sideways scrolling."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth")
        return width


@contextmanager
def visiting(
    address: str | Path,
    width: int = 1200,
    height: int = 900,
    dark: bool = False,
    arguments: Sequence[str] = (),
) -> Iterator[Visit]:
    """Open an address, or a file from disk, in a window of this size.

    Args:
        arguments: of Chromium.

    Skips the test where no Chromium is installed: `apt-get install chromium`.
    """
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; `apt-get install chromium`")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", *arguments]
        )
        try:
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if dark else "light",
                reduced_motion="reduce",
            )
            visit = Visit(context.new_page())
            visit.page.on("console", lambda message: _hear(visit, message))
            visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
            visit.page.on("request", lambda request: visit.requests.append(request.url))
            visit.page.on(
                "requestfailed",
                lambda request: visit.errors.append(f"failed: {request.failure} {request.url}"),
            )
            visit.page.goto(address if isinstance(address, str) else address.resolve().as_uri())
            yield visit
        finally:
            browser.close()


def _hear(visit: Visit, message: Any) -> None:
    visit.said.append(message.text)
    if message.type == "error":
        visit.errors.append(message.text)
