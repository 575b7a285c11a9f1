"""What can be wrong with a submission: each kind, its weight and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of finding."""

    key: str
    """Its name for scripts."""
    title: str
    """Its name for people, in few words."""
    advice: str
    """What it means for the score and what to do."""
    refused: bool = True
    """An error; otherwise a warning."""


# In the order in which they are told: what makes the rest pointless comes first.
COUNT = Kind(
    "image-count", "images known",
    "what to compare with is incomplete: not every test image of the benchmark is known. Complete "
    "the folder or the dataset, then check again.",
)  # fmt: skip
OTHER_SPLIT = Kind(
    "other-split", "another split",
    "pictures of cities of the training or validation split. The server scores the test split: "
    "berlin, bielefeld, bonn, leverkusen, mainz, munich. Predict leftImg8bit/test.",
)  # fmt: skip
MISSING = Kind(
    "missing", "no prediction",
    "images that no file answers; the evaluator then scores nothing. Predict them, or name their "
    "files <city>_<seq>_<frame>*.png.",
)  # fmt: skip
CITY_COUNT = Kind(
    "city-count", "count of a city",
    "a city has more or fewer pictures than the test split has of it; the server wants exactly one "
    "for each image.",
)  # fmt: skip
DOUBLE = Kind(
    "double", "several predictions",
    "more than one PNG begins with the name of one image; the evaluator stops there. Colour "
    "images, soft maps, a second run or a copy below __MACOSX? Leave one each.",
)  # fmt: skip
UNKNOWN = Kind(
    "unknown-image", "no such image",
    "PNGs whose names begin with no test image: the evaluator never reads them. Name predictions "
    "<city>_<seq>_<frame>*.png after their image, and take others out.",
)  # fmt: skip
ENDING = Kind(
    "ending", "no .png",
    "named after a test image, but the evaluator only reads names that end in .png, in lower case.",
)  # fmt: skip
NESTED = Kind(
    "nested-archive", "archive inside",
    "archives within the archive; nobody unpacks them. Put the PNGs themselves into the zip.",
)  # fmt: skip
DUPLICATE = Kind(
    "duplicate-member", "same name twice",
    "the zip holds several files under one path; only the last survives unpacking. Pack it anew "
    "instead of appending to it.",
)  # fmt: skip
UNSAFE = Kind(
    "unsafe-name", "unsafe name",
    "absolute paths, '..' or backslashes: the server may refuse or misplace these. Zip from inside "
    "the folder of predictions.",
)  # fmt: skip
SPECIAL = Kind(
    "link", "link or device",
    "links and devices, not pictures; not followed. Put the files themselves there.",
)  # fmt: skip
ENCRYPTED = Kind(
    "encrypted", "password",
    "cannot be read without a password. Pack the zip without one.",
)  # fmt: skip
COMPRESSION = Kind(
    "compression", "packed oddly",
    "packed by another method than Deflate, which not every unpacker knows; not opened. Pack with "
    "`zip -r`.",
)  # fmt: skip
TOO_LARGE = Kind(
    "too-large", "far too large",
    "larger than any prediction of this size can be; not opened.",
)  # fmt: skip
DAMAGED = Kind(
    "damaged", "damaged",
    "truncated or damaged: the evaluator stops there. Predict or pack these again.",
)  # fmt: skip
FORMAT = Kind(
    "format", "not a PNG",
    "another format under the name of a PNG. JPEG changes ids at every edge: write PNG.",
)  # fmt: skip
COLOUR = Kind(
    "colour", "colours, not ids",
    "several channels, such as a colour picture for people; the evaluator stops there. Write the "
    "label ids as one 8-bit channel (mode L).",
)  # fmt: skip
PALETTE = Kind(
    "palette", "palette",
    "a palette: readers differ in taking it for ids or for colours. Write mode L: with Pillow "
    "Image.fromarray(ids) without putpalette.",
)  # fmt: skip
DEPTH = Kind(
    "depth", "not 8-bit",
    "another depth than 8 bits. Convert the array to uint8 before writing it.",
)  # fmt: skip
SIZE = Kind(
    "size", "wrong size",
    "height x width other than the image's; the evaluator stops there. Resize the predictions to "
    "the original size by nearest neighbour, or better the logits bilinearly.",
)  # fmt: skip
TRAIN_IDS = Kind(
    "train-ids", "train ids suspected",
    "all values within 0..18 (and 255), though not all of them are scored label ids: most classes "
    "would score 0. Convert by trainId2label in cityscapesscripts.helpers.labels.",
)  # fmt: skip
VOID = Kind(
    "void", "255 (void)",
    "pixels of 255, which is no label id and breaks the evaluator. Give every pixel a class.",
)  # fmt: skip
IDS = Kind(
    "foreign-ids", "ids not scored",
    "values that are no scored label id: each such pixel is lost, and ids above 33 break the "
    "evaluator. The scored ids are in cityscapesscripts.helpers.labels.",
)  # fmt: skip
SYSTEM = Kind(
    "system-file", "system files",
    "left by the file manager (.DS_Store, __MACOSX, Thumbs.db); the evaluator ignores them. "
    "`zip -d FILE.zip '__MACOSX*' '*.DS_Store' '*Thumbs.db'` takes them out.",
    refused=False,
)  # fmt: skip
STRAY = Kind(
    "stray", "stray files",
    "files other than PNG, not needed; the evaluator's search by name ignores them.",
    refused=False,
)  # fmt: skip
SAME = Kind(
    "same-content", "equal pictures",
    "byte for byte equal to another prediction; two street scenes hardly are. Was the same image "
    "or an untrained model used?",
    refused=False,
)  # fmt: skip
CONSTANT = Kind(
    "one-class", "one class alone",
    "a single class on every pixel; hardly a street scene. Was the model loaded?",
    refused=False,
)  # fmt: skip
ABSENT = Kind(
    "absent-class", "class never there",
    "scored classes that occur in no picture; where the images hold them, their IoU is 0.",
    refused=False,
)  # fmt: skip

KINDS = (
    COUNT, OTHER_SPLIT, MISSING, CITY_COUNT, DOUBLE, UNKNOWN, ENDING, NESTED, DUPLICATE, UNSAFE,
    SPECIAL, ENCRYPTED, COMPRESSION, TOO_LARGE, DAMAGED, FORMAT, COLOUR, PALETTE, DEPTH, SIZE,
    TRAIN_IDS, VOID, IDS, SYSTEM, STRAY, SAME, CONSTANT, ABSENT,
)  # fmt: skip
