"""From a picture to its labels."""
