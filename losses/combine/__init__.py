"""One file per way to combine losses, and the meta step that teaches the learned ones."""
