"""One file per auxiliary loss."""
