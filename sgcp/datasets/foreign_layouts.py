"""Layouts of other programs and datasets, to explain what a source has where it lacks files.

Nothing is read from them. A layout has a sign, or two: regular expressions for a file's path, each
of which must match some file, in any letter case.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from sgcp.core.errors import printable, shorten

IMAGE = r".+\.(?:png|jpe?g)"
SPLIT = r"(?:train|val|test)"
OTHER_SPLITS = {
    "training": "train", "valid": "val", "validate": "val", "validation": "val", "dev": "val",
    "eval": "val", "testing": "test", "tests": "test",
}  # fmt: skip
ANY_SPLIT = rf"(?:{SPLIT}|{'|'.join(OTHER_SPLITS)})\d*"
OTHER_IMAGES = r"(?:images?|imgs?|pictures?|photos?|frames?|rgb|jpegimages)"
OTHER_LABELS = (
    r"(?:labels?|masks?|annotations?|annots?|gts?|ground_?truths?|segmentations?|segs?|targets?"
    r"|label_?maps?|segmentation_?masks?|segmentationclass)"
)
MOST = 4  # kinds of files that a message lists


class ForeignLayout(NamedTuple):
    """A layout, its sign, and how to convert it."""

    name: str
    sign: str
    advice: str
    second_sign: str = ""

    def find(self, names: Sequence[str]) -> list[str]:
        """Return a file for each sign; none at all where a sign has no file."""
        found = []
        for sign in filter(None, (self.sign, self.second_sign)):
            wanted = re.compile(rf"(?:^|/){sign}\Z", re.IGNORECASE | re.DOTALL)
            if (name := next(filter(wanted.search, names), None)) is None:
                return []
            found.append(name)
        return found


def explain_layout(layouts: Sequence[ForeignLayout], names: Iterable[str]) -> str:
    """Return which of some layouts files have and what to do; else what files they are."""
    shown = [name for name in names if not is_hidden(name)]
    for layout in layouts:
        if found := layout.find(shown):
            examples = ", ".join(map(printable, dict.fromkeys(found)))
            return f"it looks like {layout.name} (found {examples}). {layout.advice}"
    paths = map(PurePosixPath, shown)
    kinds = Counter((str(path.parent), path.suffix.lower()) for path in paths)
    lines = [
        f"{count:,} {ending or 'other'} files in {printable(folder)}"
        for (folder, ending), count in kinds.most_common()
    ]
    return f"found {shorten(lines, MOST)}" if lines else "it has no other files"


def is_hidden(name: str) -> bool:
    """Return whether a file or one of its folders is hidden, as file managers' are."""
    return any(part.startswith(".") for part in PurePosixPath(name).parts)


def other_split(folder: str) -> str | None:
    """Return the split that a folder with another name means, None if it means none."""
    splits = ("train", "val", "test")
    name = re.sub(r"\d+$", "", folder.lower())
    split = OTHER_SPLITS.get(name, name)
    return split if split in splits and folder not in splits else None
