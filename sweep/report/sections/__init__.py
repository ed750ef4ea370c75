"""What every report says: effects, accuracies, measures, training, protocol.

Not here: what one kind of study alone asks (`report.analyses`).
"""
