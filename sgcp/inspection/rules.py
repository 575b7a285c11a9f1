"""Kinds of problems in a prepared dataset, each with its threshold.

Street scenes by day and night stay clear of the thresholds: none of CamVid's 701 frames is flagged.
"""

from sgcp.core.findings import Kind

LEAST_LABELLED = 0.25
DARK, BRIGHT = 16, 239  # of 0 .. 255
LEAST_CONTRAST = 24
MOST_IMAGES = 0.9  # share from which the rest is odd
NEAR = 0.1  # share of an outline's bits; CamVid's standing car stays below, its splits above 0.25
FEW_LABELS = 20  # below, a class that one image alone has is no surprise

UNREADABLE = Kind(
    "unreadable", "cannot be read",
    "an image, label or map of segments that the index names is missing or damaged, or segments "
    "are not their label's; training or scoring will stop there, or score by another truth. Get it "
    "again, or prepare again.",
)  # fmt: skip
CHANGED = Kind(
    "changed", "changed since",
    "pixels that are not those the index describes: the file was changed after `sgcp prepare`. "
    "Prepare again.",
)  # fmt: skip
UNKNOWN_IDS = Kind(
    "unknown-ids", "unknown ids",
    "labels with ids that are neither a class nor 255; they would be trained on as classes that do "
    "not exist. Correct the mapping of ids, then prepare again.",
)  # fmt: skip
MISFIT = Kind(
    "misfit", "label of another size",
    "a label whose height and width are not its image's. They do not belong together.",
)  # fmt: skip
LEAK = Kind(
    "across-splits", "same across splits",
    "images of exactly the same pixels in two splits: what is scored was trained on. Take one "
    "out.",
)  # fmt: skip
NO_LABEL = Kind(
    "no-label", "label missing",
    "images without a label in a split whose other images have one; the split cannot be "
    "trained on or scored.",
)  # fmt: skip
NEAR_LEAK = Kind(
    "nearly-across-splits", "nearly same across splits",
    f"images of two splits whose coarse outlines differ in {NEAR:.0%} of the bits at most, as "
    "neighbouring frames of a video do: what is scored was as good as trained on.", False,
)  # fmt: skip
TWICE = Kind(
    "twice", "same twice",
    "images of exactly the same pixels within a split; they count twice in training and scores.",
    False,
)  # fmt: skip
LABEL_TWICE = Kind(
    "label-twice", "same label twice",
    "labels that are equal in every pixel though their images differ: copied, or one frame's "
    "label saved for another? Labels of one class or of none are left to their own kinds.", False,
)  # fmt: skip
UNLABELLED = Kind(
    "unlabelled", "nearly unlabelled",
    f"less than {LEAST_LABELLED:.0%} of the pixels are labelled, the rest is 255. Is the label "
    "unfinished, or do its ids stand in no table?", False,
)  # fmt: skip
ONE_CLASS = Kind(
    "one-class", "one class alone",
    "every labelled pixel is of the same class, which a street scene hardly is.", False,
)  # fmt: skip
UNTRAINED = Kind(
    "untrained", "class not in train",
    "classes that are labelled in another split and never in train: they cannot be learned, and "
    "are scored 0.", False,
)  # fmt: skip
LONE_CLASS = Kind(
    "lone-class", "class seen nowhere else",
    f"a class that occurs in one label only, of {FEW_LABELS} or more: a slip of the annotation, or "
    "too rare to be learned.", False,
)  # fmt: skip
CONSTANT = Kind(
    "constant", "one colour", "every pixel of the image is the same; the file is empty or lost.",
    False,
)  # fmt: skip
BLACK = Kind(
    "black", "nearly black",
    f"99 % of the pixels are darker than {DARK} of 255: lens covered, or exposure failed.", False,
)  # fmt: skip
WHITE = Kind(
    "white", "nearly white",
    f"99 % of the pixels are brighter than {BRIGHT} of 255: blinded, or exposure failed.", False,
)  # fmt: skip
FLAT = Kind(
    "flat", "hardly any contrast",
    f"all grey levels but the outer 1 % on each side lie within {LEAST_CONTRAST} of 255: fog, a "
    "blank image, or a label saved as an image.", False,
)  # fmt: skip
GREY = Kind(
    "grey", "grey among coloured",
    f"images without any colour where {MOST_IMAGES:.0%} or more have some.", False,
)  # fmt: skip
ODD_SIZE = Kind(
    "odd-size", "another size",
    f"images of another size than {MOST_IMAGES:.0%} or more of all.", False,
)  # fmt: skip
