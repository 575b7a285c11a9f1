"""Pictures and tables that people look at."""
