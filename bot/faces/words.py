"""What every face has the same words for: the stages of a training (trainer/protocol.py), and the grounds of a consent."""

from data.consents import Ground

STAGES = {
    "base": "loading the base model",
    "measure": "measuring the base model",
    "train": "learning",
    "sample": "writing samples",
    "save": "saving",
}
GROUNDS = {
    Ground.ARCHIVE: "the account's own archive",
    Ground.PERMISSION: "a permission",
    Ground.PARODY: "a parody",
}
