"""How right: counts, scores, and the files that contain them."""
