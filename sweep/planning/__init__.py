"""What a study will cost, whether that fits a budget, and what it can resolve. No torch, no Ray."""
