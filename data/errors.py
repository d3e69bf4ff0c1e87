"""The root of Mynah's error tree, and the branch that the data storey raises (the whole tree is drawn in bot/errors.py)."""


class MynahError(Exception):
    """Something a person can mend; its text is one sentence that says what to do next."""


class BadHandleError(MynahError):
    """A handle that no account can have."""


class SourceError(MynahError):
    """A file that cannot be read as posts."""


class TooLittleTextError(MynahError):
    """An account whose usable posts are too few to learn from."""


class NotStoredError(MynahError):
    """Something was asked for that the database does not hold."""


class DamagedError(MynahError):
    """Stored bytes that no longer match the hash they were stored with."""


class StoreError(MynahError):
    """The database cannot be opened, read or written."""


class BudgetError(MynahError):
    """A paid call would pass a cap on spending; it was not made."""


class GameError(MynahError):
    """A game in Discord that cannot be begun or played now."""
