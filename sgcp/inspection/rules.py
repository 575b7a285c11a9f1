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

# fmt: off
UNREADABLE = Kind("unreadable", "cannot be read",
    "an image, label or map of segments of the index is missing or damaged, or segments are not "
    "their label's; training or scoring would stop there, or score by another truth. Get it again, "
    "or prepare again.")
CHANGED = Kind("changed", "changed since",
    "pixels differ from the index: the file was changed after `sgcp prepare`. Prepare again.")
UNKNOWN_IDS = Kind("unknown-ids", "unknown ids",
    "labels with ids that are neither a class nor 255; they would be trained on as classes that do "
    "not exist. Correct the mapping of ids, then prepare again.")
MISFIT = Kind("misfit", "label of another size",
    "a label whose height and width are not its image's. They do not belong together.")
LEAK = Kind("across-splits", "same across splits",
    "images of exactly the same pixels in two splits: the score includes images trained on. Take "
    "one out.")
NO_LABEL = Kind("no-label", "label missing",
    "images without a label in a split whose other images have one; the split cannot be trained on "
    "or scored.")
NEAR_LEAK = Kind("nearly-across-splits", "nearly same across splits",
    f"images of two splits whose coarse outlines differ in {NEAR:.0%} of the bits at most, as "
    "neighbouring frames of a video do: the score includes images nearly trained on.", False)
TWICE = Kind("twice", "same twice",
    "images of exactly the same pixels within a split; they count twice in training and scores.",
    False)
LABEL_TWICE = Kind("label-twice", "same label twice",
    "labels that are equal in every pixel though their images differ: copied, or one frame's label "
    "saved for another? Labels of fewer than two classes are not compared.", False)
UNLABELLED = Kind("unlabelled", "nearly unlabelled",
    f"less than {LEAST_LABELLED:.0%} of the pixels are labelled, the rest is 255. Is the label "
    "unfinished, or are its ids in no table?", False)
ONE_CLASS = Kind("one-class", "one class alone",
    "every labelled pixel is of the same class, which is rare in a street scene.", False)
UNTRAINED = Kind("untrained", "class not in train",
    "classes that are labelled in another split and never in train: they cannot be learned, and "
    "are scored 0.", False)
LONE_CLASS = Kind("lone-class", "class seen nowhere else",
    f"a class that occurs in one label only, of {FEW_LABELS} or more: a slip of the annotation, or "
    "too rare to be learned.", False)
CONSTANT = Kind("constant", "one colour",
    "every pixel of the image is the same; the file is empty or lost.", False)
BLACK = Kind("black", "nearly black",
    f"99 % of the pixels are darker than {DARK} of 255: lens covered, or exposure failed.", False)
WHITE = Kind("white", "nearly white",
    f"99 % of the pixels are brighter than {BRIGHT} of 255: blinded, or exposure failed.", False)
FLAT = Kind("flat", "hardly any contrast",
    f"all grey levels but the outer 1 % on each side lie within {LEAST_CONTRAST} of 255: fog, a "
    "blank image, or a label saved as an image.", False)
GREY = Kind("grey", "grey among coloured",
    f"images without any colour where {MOST_IMAGES:.0%} or more have some.", False)
ODD_SIZE = Kind("odd-size", "another size",
    f"images of another size than {MOST_IMAGES:.0%} or more of all.", False)
# fmt: on
