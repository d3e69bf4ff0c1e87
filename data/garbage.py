"""What of the database can go: versions that were followed by enough others, and lines that were asked for long ago."""

from dataclasses import dataclass

from sqlite_utils import Database

REQUESTS_AT_ONCE = 500  # so that nobody waits long to write

#: Versions that speak, are pinned, are begun with by a training that has not ended, are being heard, or were played with stay.
_OLD = """
    FROM models WHERE
        (SELECT count(*) FROM models AS newer WHERE newer.voice = models.voice AND newer.version > models.version) >= :keep
        AND NOT EXISTS (SELECT 1 FROM pins WHERE pins.voice = models.voice AND pins.version = models.version)
        AND NOT EXISTS (
            SELECT 1 FROM jobs WHERE jobs.status IN ('queued', 'running') AND json_extract(jobs.recipe, '$.start') = models.sha256)
        AND NOT EXISTS (SELECT 1 FROM requests WHERE requests.model = models.id AND requests.status IN ('queued', 'running'))
        AND NOT EXISTS (SELECT 1 FROM quizzes WHERE quizzes.model = models.id)"""


@dataclass(frozen=True)
class OldVersion:
    """One that can go."""

    id: int
    voice: str
    version: int
    sha256: str
    bytes: int


def old_versions(db: Database, keep: int) -> list[OldVersion]:
    """Return the versions that can go where the newest `keep` of each voice stay."""
    rows = db.query(f"SELECT id, voice, version, sha256, bytes {_OLD} ORDER BY voice, version", {"keep": keep})
    return [OldVersion(**row) for row in rows]


def drop_version(db: Database, version: OldVersion, keep: int) -> bool:
    """Delete a version with its weights and the lines that it said, unless somebody came to need it meanwhile; say whether it went."""
    delete = f"DELETE FROM models WHERE id = :id AND id IN (SELECT id {_OLD})"  # noqa: S608 - fixed words
    return bool(db.conn.execute(delete, {"keep": keep, "id": version.id}).rowcount)


def count_old_requests(db: Database, before: str) -> tuple[int, int]:
    """Return how many requests were answered that were asked for before a moment, and how many bytes of lines there are of them."""
    row = next(
        db.query(
            """
            SELECT count(DISTINCT requests.id) AS number, coalesce(sum(length(generations.text)), 0) AS bytes
            FROM requests LEFT JOIN generations ON generations.request = requests.id
            WHERE requests.created_at < ? AND requests.status IN ('done', 'failed')""",
            [before],
        )
    )
    return row["number"], row["bytes"]


def drop_requests(db: Database, before: str) -> bool:
    """Delete some of them with their lines; say whether there were any."""
    gone = db.conn.execute(
        "DELETE FROM requests WHERE id IN (SELECT id FROM requests WHERE created_at < ? AND status IN ('done', 'failed') LIMIT ?)",
        [before, REQUESTS_AT_ONCE],
    )
    return gone.rowcount > 0
