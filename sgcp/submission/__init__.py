"""What the Cityscapes server accepts."""
