"""What is stored of a member of Discord: counted, and erased."""

from sqlite_utils import Database

from data import counting

SIGNED = (
    ("opt_outs", "said_by"),
    ("post_changes", "who"),
    ("schedules", "created_by"),
    ("schedules", "paused_by"),
    ("schedule_runs", "asked_by"),
    ("pauses", "paused_by"),
    ("pauses", "resumed_by"),
    ("bindings", "bound_by"),
    ("quizzes", "asked_by"),
    ("duels", "asked_by"),
    ("server_changes", "changed_by"),
    ("voice_roles", "set_by"),
    ("called", "set_by"),
)
"""Columns in which a member's name alone goes: the rows are others' as much."""
ANONYMOUS = "a member who had his name erased"


def stored(db: Database, member: int) -> dict[str, int]:
    """Return how many rows of each kind name a member, or hold his words."""
    signed = _signed(member)
    return {
        "questions and prompts": db["requests"].count_where("member = ? OR requested_by LIKE ?", [member, signed]),
        "trainings asked for": db["jobs"].count_where("member = ? OR requested_by LIKE ?", [member, signed]),
        "consents claimed": db["consents"].count_where("claimed_by LIKE ?", [signed]),
        "posts decided": db["post_changes"].count_where("who LIKE ?", [signed]),
        "schedules and pauses": db["schedules"].count_where("created_by LIKE ? OR paused_by LIKE ?", [signed, signed])
        + db["schedule_runs"].count_where("asked_by LIKE ?", [signed])
        + db["pauses"].count_where("paused_by LIKE ? OR resumed_by LIKE ?", [signed, signed]),
        "points and votes in games": db["guesses"].count_where("member = ?", [member]) + db["votes"].count_where("member = ?", [member]),
        "messages followed": db["watches"].count_where("member = ?", [member]),
        "trainings not answered yet": db["askings"].count_where("member = ?", [member]),
    }


def erase(db: Database, member: int) -> None:
    """Delete a member's words with what was answered to them, and his name from what others rely on.

    What quotas count stays until they count it no longer (data/counting.py): when he asked, and for how much.
    """
    signed = _signed(member)
    counting.keep(db, "member = ?", [member], server="NULL")
    db.conn.execute("DELETE FROM requests WHERE member = ? OR requested_by LIKE ?", [member, signed])
    db.conn.execute("DELETE FROM watches WHERE member = ?", [member])
    db.conn.execute("DELETE FROM askings WHERE member = ?", [member])
    db.conn.execute("DELETE FROM guesses WHERE member = ?", [member])
    db.conn.execute("DELETE FROM votes WHERE member = ?", [member])
    db.conn.execute("UPDATE duels SET member = 0 WHERE member = ?", [member])
    db.conn.execute("UPDATE jobs SET requested_by = ?, member = NULL WHERE member = ? OR requested_by LIKE ?", [ANONYMOUS, member, signed])
    db.conn.execute("UPDATE jobs SET cancel_requested_by = ? WHERE cancel_requested_by LIKE ?", [ANONYMOUS, signed])
    db.conn.execute(
        "UPDATE jobs SET error = 'Cancelled by ' || ? || '.' WHERE error LIKE 'Cancelled by %' || ?", [ANONYMOUS, signed[1:] + "%"]
    )
    db.conn.execute("UPDATE schedule_runs SET why = ? || ' asked for it' WHERE why LIKE ? || ' asked for it'", [ANONYMOUS, signed])
    # Two claims on one ground may become the same.
    db.conn.execute("UPDATE OR REPLACE consents SET claimed_by = ? WHERE claimed_by LIKE ?", [ANONYMOUS, signed])
    for table, column in SIGNED:
        db.conn.execute(f"UPDATE {table} SET {column} = ? WHERE {column} LIKE ?", [ANONYMOUS, signed])  # noqa: S608 - fixed names


def _signed(member: int) -> str:
    """Return what the end of a member's signature (bot/faces/discord/context.py) is LIKE."""
    return f"%(Discord {member})"
