"""Whose leave there is to train on an account: claims, each a row, and accounts that want none of it."""

from collections.abc import Container, Iterable
from dataclasses import dataclass
from enum import StrEnum

from sqlite_utils import Database

from data.errors import MynahError
from data.store import now


class ConsentError(MynahError):
    """There is no leave to store, train or read an account."""


class Ground(StrEnum):
    """What a claim rests on."""

    #: X's own archive, whose account.js names the account: whoever has it could log in.
    ARCHIVE = "archive"
    #: The person behind the account said so in writing.
    PERMISSION = "permission"
    #: A public figure's public posts, for what nobody takes for the original.
    PARODY = "parody"


@dataclass(frozen=True)
class Consent:
    """One claim."""

    handle: str
    ground: Ground
    claimed_by: str
    created_at: str


def claim(db: Database, handle: str, ground: Ground, by: str) -> None:
    """Write down who says on what ground that an account, which must be stored, may be trained on; said again, nothing changes.

    Raises:
        ConsentError: the account wants none of it.
    """
    refuse_opted_out(db, [handle])
    row = {"handle": handle, "ground": ground, "claimed_by": by, "created_at": now()}
    db.table("consents").insert(row, ignore=True)


def claims(db: Database, handle: str) -> list[Consent]:
    """Return the claims for an account, oldest first."""
    rows = db.query("SELECT handle, ground, claimed_by, created_at FROM consents WHERE handle = ? ORDER BY id", [handle])
    return [Consent(**row | {"ground": Ground(row["ground"])}) for row in rows]


def refuse_strangers(db: Database, handle: str, by: str) -> None:
    """Raise if an account's own archive was brought, and by nobody of this name: its voice shall not learn others' words by him.

    Raises:
        ConsentError: it was.
    """
    owners = {claim.claimed_by for claim in claims(db, handle) if claim.ground is Ground.ARCHIVE}
    if owners and by not in owners:
        raise ConsentError(
            f"@{handle} brought an archive of its own: attach one, too, or have whoever brought it, or the operator, add this."
        )


def require(db: Database, handles: Iterable[str], grounds: Iterable[Ground]) -> None:
    """Make sure that each account wants it, or does not say otherwise, and that there is a claim on one of these grounds.

    Raises:
        ConsentError: one lacks; the text says which.
    """
    wanted, accepted = list(handles), set(grounds)
    refuse_opted_out(db, wanted)
    for handle in wanted:
        if not accepted & {claim.ground for claim in claims(db, handle)}:
            if accepted == set(Ground):
                raise ConsentError(f"Nobody has claimed consent for @{handle}: `mynah consent {handle} --ground …` writes down who does.")
            raise ConsentError(
                f"Nobody has claimed consent for @{handle} on the ground of {' or '.join(sorted(accepted))}, as the settings ask:"
                f" `mynah consent {handle} --ground …` writes down who does."
            )


def opt_out(db: Database, handle: str, by: str) -> None:
    """Remember for good that an account wants none of it."""
    db.table("opt_outs").insert({"handle": handle, "said_by": by, "created_at": now()}, ignore=True)


def take_back(db: Database, handle: str) -> bool:
    """Remember no longer that an account wants none of it; return whether it did."""
    return bool(db.conn.execute("DELETE FROM opt_outs WHERE handle = ?", [handle]).rowcount)


def opted_out(db: Database) -> list[str]:
    """Return the accounts that want none of it, sorted."""
    return [row["handle"] for row in db.query("SELECT handle FROM opt_outs ORDER BY handle")]


def refuse_opted_out(db: Database, handles: Iterable[str]) -> None:
    """Raise for the first of these accounts that wants none of it.

    Raises:
        ConsentError: one does.
    """
    for handle in handles:
        if db["opt_outs"].count_where("handle = ?", [handle]):
            raise ConsentError(f"@{handle} has opted out: nothing of it may be stored or trained.")


def refuse_blocked(handles: Iterable[str], blocked: Container[str]) -> None:
    """Raise for the first of these accounts that the operator blocked.

    Raises:
        ConsentError: one is.
    """
    for handle in handles:
        if handle in blocked:
            raise ConsentError(f"@{handle} is blocked by the operator: nothing of it may be imported or trained.")
