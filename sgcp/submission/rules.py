"""What can be wrong with a submission: each kind, its weight and what to do about it."""

from sgcp.core.findings import Kind

# fmt: off
# In the order of a report: what makes the rest pointless comes first.
COUNT = Kind("image-count", "images known",
    "what to compare with is incomplete: not every test image of the benchmark is known. Complete "
    "the folder or the dataset, then check again.")
OTHER_SPLIT = Kind("other-split", "another split",
    "images of cities of the training or validation split. The server scores the test split: "
    "berlin, bielefeld, bonn, leverkusen, mainz, munich. Predict leftImg8bit/test.")
MISSING = Kind("missing", "no prediction",
    "images without a prediction. Predict them, or name each file after its image: NAME*.png.",
    cityscapes="NAME is <city>_<seq>_<frame>; the evaluator scores nothing while one is missing.")
CITY_COUNT = Kind("city-count", "count of a city",
    "a city has more or fewer images than the test split has of it; the server expects exactly one "
    "for each image.")
DOUBLE = Kind("double", "several predictions",
    "more than one PNG begins with the name of one image. Colour images, soft maps, a second run "
    "or a copy below __MACOSX? Leave one each.",
    cityscapes="The evaluator stops there.")
AMBIGUOUS = Kind("ambiguous", "name of several images",
    "PNGs in no image's folder whose name several images have, so that none of them is answered. "
    "Keep the images' folders below the folder of predictions: a/0001.png for a/0001.")
UNKNOWN = Kind("unknown-image", "no such image",
    "PNGs whose names begin with no test image; they are not read. Name each prediction after "
    "its image, NAME*.png, and take others out.",
    cityscapes="NAME is <city>_<seq>_<frame>.")
ENDING = Kind("ending", "no .png",
    "named after a test image, but only names that end in .png, in lower case, are read.")
NESTED = Kind("nested-archive", "archive inside",
    "archives within the archive, which are not unpacked. Put the PNGs themselves into the zip.")
DUPLICATE = Kind("duplicate-member", "same name twice",
    "the zip holds several files under one path; only the last survives unpacking. Pack it anew "
    "instead of appending to it.")
UNSAFE = Kind("unsafe-name", "unsafe name",
    "absolute paths, '..' or backslashes: unpacking may refuse or misplace these. Zip from inside "
    "the folder of predictions.")
SPECIAL = Kind("link", "link or device",
    "links and devices, not images; not followed. Put the files themselves there.")
ENCRYPTED = Kind("encrypted", "password",
    "cannot be read without a password. Pack the zip without one.")
COMPRESSION = Kind("compression", "packed oddly",
    "packed by another method than Deflate, which not every program unpacks; not opened. Pack with "
    "`zip -r`.")
TOO_LARGE = Kind("too-large", "far too large",
    "larger than any prediction of this size can be; not opened.")
DAMAGED = Kind("damaged", "damaged",
    "truncated or damaged. Predict or pack these again.",
    cityscapes="The evaluator stops there.")
FORMAT = Kind("format", "not a PNG",
    "another format under the name of a PNG. JPEG changes ids at every edge: write PNG.")
COLOUR = Kind("colour", "colours, not ids",
    "several channels, such as a colour image for people: no ids can be read. Write the label ids "
    "as one 8-bit channel (mode L).",
    cityscapes="The evaluator stops there.")
PALETTE = Kind("palette", "palette",
    "a palette: readers differ in taking it for ids or for colours. Write mode L: with Pillow "
    "Image.fromarray(ids) without putpalette.")
DEPTH = Kind("depth", "not 8-bit",
    "another depth than 8 bits. Convert the array to uint8 before writing it.")
SIZE = Kind("size", "wrong size",
    "height x width other than the image's. Resize the predictions to the original size by nearest "
    "neighbour, or better the logits bilinearly.",
    cityscapes="The evaluator stops there.")
TRAIN_IDS = Kind("train-ids", "train ids suspected",
    "all values are train ids (0, 1, 2, ... in the order of the classes, and 255), though not all "
    "of them are label ids: most classes would score 0. Write label ids, as `sgcp predict` does; "
    "`sgcp segment` writes train ids.",
    cityscapes="trainId2label in cityscapesscripts.helpers.labels converts them.")
VOID = Kind("void", "255 (void)",
    "pixels of 255, which is no label id. Give every pixel a class.",
    cityscapes="255 breaks the evaluator.")
IDS = Kind("foreign-ids", "ids not scored",
    "values that are no class's label id: each such pixel is a miss. The classes and their label "
    "ids are in the `dataset.json` of the prepared dataset.",
    cityscapes="For Cityscapes they are in cityscapesscripts.helpers.labels; ids above 33 break "
    "the evaluator.")
SYSTEM = Kind("system-file", "system files",
    "left by the file manager (.DS_Store, __MACOSX, Thumbs.db), which are not read. "
    "`zip -d FILE.zip '__MACOSX*' '*.DS_Store' '*Thumbs.db'` takes them out.",
    refused=False)
STRAY = Kind("stray", "stray files",
    "files other than PNG, which are not needed and not read.",
    refused=False)
SAME = Kind("same-content", "equal images",
    "equal to another prediction in every pixel, which two images hardly are. Was the same image "
    "or an untrained model used?",
    refused=False)
CONSTANT = Kind("one-class", "one class alone",
    "a single class on every pixel. Was the model loaded?",
    refused=False)
ABSENT = Kind("absent-class", "class never there",
    "scored classes that occur in no image; where the images contain them, their IoU is 0.",
    refused=False)
# fmt: on
