"""Speed and memory of engines, of the authors' way and of other networks, side by side."""
