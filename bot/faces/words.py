"""The stages of a training (trainer/protocol.py), in the words of every face."""

STAGES = {
    "base": "loading the base model",
    "measure": "measuring the base model",
    "train": "learning",
    "sample": "writing samples",
    "save": "saving",
}
