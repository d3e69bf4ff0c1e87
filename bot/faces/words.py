"""What every face has the same words for: the stages of a training (trainer/protocol.py), the grounds of a consent, and numbers of rows."""

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


def counted(number: int, table: str) -> str:
    """Return `1 model`, `2 models`, `1 corpus`, `2 corpora`: so many rows of a table."""
    one = "corpus" if table == "corpora" else table.removesuffix("s")
    return f"{number:,} {one if number == 1 else table}"
