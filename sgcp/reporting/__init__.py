"""Images and tables that people look at."""
