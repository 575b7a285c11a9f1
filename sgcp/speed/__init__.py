"""How fast, in how much memory: engines, the authors' way and other networks, side by side."""
