"""The local page of ``sgcp demo``: drop an image or a video on it, see every pixel's class."""
