"""From a model and its losses to a trained model: batches, steps, meta steps, checkpoints.

The loop is one function in `finetune.py`. Not here: losses (package `losses`), networks (package
`models`), tests (`evaluation`, `tasks`).
"""
