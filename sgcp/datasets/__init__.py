"""Class tables, readers, converters, transforms and the sample generator."""
