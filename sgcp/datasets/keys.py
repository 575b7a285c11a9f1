"""What an image is known by: its key within its split, its prediction's name, its origin."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sgcp.core.errors import SgcpError

CITYSCAPES = "leftImg8bit"  # the folder of Cityscapes' images, and the end of their names
# Recording and frame of CamVid: one published name for each frame, in every edition and split.
CAMVID_FRAME = r"(?:0001TP|0006R0|0016E5|Seq05VD)_f?\d+"


@dataclass(frozen=True)
class Located:
    """An image of a split, by its place."""

    split: str
    image: Path
    """Below the raw folder."""

    @property
    def key(self) -> str:
        """Identify the image within its split: its path below the split's folder, without ending.

        ``berlin/berlin_000000_000019`` (Cityscapes), ``0001TP_006690`` (CamVid), ``a/0001`` (own);
        in Unicode's composed form (NFC), as the same name may come from disks that decompose it.
        """
        parts = self.image.with_suffix("").parts
        below = parts[2:] if self.split in parts[1:2] else ()
        key = unicodedata.normalize("NFC", "/".join(below or parts[1:] or parts))
        return key.removesuffix(f"_{CITYSCAPES}") if parts[0] == CITYSCAPES else key

    @property
    def prediction(self) -> str:
        """Name the image's prediction, without ending: the key, in Cityscapes' form its last part.

        Cityscapes' evaluator looks for ``<city>_<seq>_<frame>*.png`` in whatever folder.
        """
        return PurePosixPath(self.key).name if self.image.parts[0] == CITYSCAPES else self.key

    @property
    def origin(self) -> str:
        """Name the image in the list of those that a model was trained on.

        A frame of CamVid by its published name, whatever the edition and split; any other image by
        split and key.
        """
        frame = self.image.stem
        return frame if re.fullmatch(CAMVID_FRAME, frame) else f"{self.split}/{self.key}"


def find_collisions(images: Iterable[Located]) -> list[tuple[Located, Located]]:
    """Return pairs of images of one split whose predictions would be one file.

    Letter case does not tell names apart: some disks and archives lose it.
    """
    first: dict[tuple[str, str], Located] = {}
    pairs = []
    for one in images:
        name = (one.split, one.prediction.lower())
        if name in first:
            pairs.append((first[name], one))
        else:
            first[name] = one
    return pairs


def refuse_collisions(images: Iterable[Located], folder: Path) -> None:
    """Refuse images of one split whose predictions would be one file.

    Args:
        folder: that the images' paths start from.

    Raises:
        SgcpError: naming two such images, and how many more there are.
    """
    if not (pairs := find_collisions(images)):
        return
    one, other = pairs[0]
    if one.prediction == one.key:
        why, fix = "names that differ in their ending or letter case alone", "Rename one"
    else:
        why = "in Cityscapes' form a prediction is found by its image's name, in any folder"
        fix = f"Rename one, for example to {other.image.parent.name}_{other.image.name}"
    more = f" ({len(pairs) - 1} more images like this)" if len(pairs) > 1 else ""
    raise SgcpError(
        f"{folder / one.image} and {folder / other.image}: two images of '{one.split}' share "
        f"the prediction {one.prediction}.png: {why}{more}. {fix}, and its label."
    )
