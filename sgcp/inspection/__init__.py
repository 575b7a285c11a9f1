"""What looks wrong in a dataset."""
