"""The tree of everything that can go wrong in a way a person can mend; each error's text is one sentence.

    MynahError                    (data/errors.py)
    ├── BadHandleError            a handle that no account can have
    ├── SourceError               a file that cannot be read as posts
    ├── TooLittleTextError        too few usable posts to learn from
    ├── NotStoredError            asked for, and not there
    ├── DamagedError              stored bytes that do not match their hash
    ├── StoreError                the database cannot be opened, read or written
    ├── BudgetError               a paid call would pass a cap on spending
    ├── GameError                 a game in Discord cannot be begun or played now
    ├── ConsentError              (data/consents.py) there is no leave to store or train an account
    ├── WrongStateError           (data/outbox.py) a post cannot go there from where it stands
    ├── SettingsError             config.toml or the environment
    ├── BadRequestError           a command's arguments are off
    ├── QuotaError                somebody asked for too much
    ├── TrainingFailedError       a trainer said why it stopped
    ├── TravelError               a model cannot be exported or imported
    ├── SpeechFailedError         no line came, or none that may be said
    │   └── BadWeightsError       the speaker cannot read the file that it was given, or it is another voice's
    └── SendError                 (bot/services/sending.py) a post was refused, or X or Discord cannot be reached
        └── XError                (bot/x/port.py) X refused, or cannot be reached

One place per face turns these into words for a person (bot/faces/…); whatever is not in this tree is a defect, and is logged.
"""

from data.consents import ConsentError
from data.errors import (
    BadHandleError,
    BudgetError,
    DamagedError,
    GameError,
    MynahError,
    NotStoredError,
    SourceError,
    StoreError,
    TooLittleTextError,
)
from data.outbox import WrongStateError

__all__ = [
    "BadHandleError",
    "BadRequestError",
    "BadWeightsError",
    "BudgetError",
    "ConsentError",
    "DamagedError",
    "GameError",
    "MynahError",
    "NotStoredError",
    "QuotaError",
    "SettingsError",
    "SourceError",
    "SpeechFailedError",
    "StoreError",
    "TooLittleTextError",
    "TrainingFailedError",
    "TravelError",
    "WrongStateError",
]


class SettingsError(MynahError):
    """config.toml or the environment is wrong; the text names the key."""


class BadRequestError(MynahError):
    """A command's arguments are off."""


class QuotaError(MynahError):
    """A member, or the members of a server together, asked for too much."""


class TrainingFailedError(MynahError):
    """A training ended without a model."""


class TravelError(MynahError):
    """A model cannot be exported or imported."""


class SpeechFailedError(MynahError):
    """No line came, or none that may be said."""


class BadWeightsError(SpeechFailedError):
    """The file of weights is not what was stored; laid down anew, it may be."""
