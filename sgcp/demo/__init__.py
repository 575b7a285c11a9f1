"""The local page of ``sgcp demo``: drop a picture or a video on it, see every pixel's class."""
