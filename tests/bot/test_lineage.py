"""Lineage: every step from a file of posts to a card with its hashes, what a kill leaves of it, and what verify finds that was altered."""

import hashlib
import io
import json
import sqlite3
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from rich.console import Console
from sqlite_utils import Database
from typer.testing import CliRunner

from bot.app import Mynah
from bot.errors import NotStoredError
from bot.faces.terminal import actions, render
from bot.faces.terminal.cli import cli
from bot.services import exporting, publishing
from bot.services.importing import import_file
from bot.services.lineage import trace
from bot.services.model_card import CURVE, PICTURE
from bot.services.verifying import verify
from bot.settings import Secrets
from data import accounts, jobs, migrations, models, published, sources
from data.choosing import Counts
from data.published import Form
from data.store import Store, transact
from data.tweets import Tweet
from tests.bot.test_publishing import PromptedSpeaker
from tests.conftest import made_up_tweets
from tests.voices import add_version
from trainer.protocol import Exported


class KilledError(BaseException):
    """Stands for the death of the process: nothing handles it."""


@pytest.fixture
async def app(settings, executor, tmp_path, monkeypatch):
    """Mynah with the posts of ann's file, a voice of them, and its card, for which nothing is drawn."""
    monkeypatch.setattr(publishing, "_drawn", lambda *_: {PICTURE: b"a picture", CURVE: b"a curve"})
    async with Mynah(settings, Secrets(), executor, PromptedSpeaker()) as running:
        rows = [json.dumps({"text": tweet.text, "id": tweet.id}) for tweet in made_up_tweets(150, 1)]
        (tmp_path / "ann.jsonl").write_text("\n".join(rows))
        await import_file(running.store, settings, tmp_path / "ann.jsonl", "ann", by="me")
        wanted = await running.training.request(["ann"], by="me")
        await running.lead_until(running.training.result(wanted.job.id))
        await actions.card(running, "ann", tmp_path / "card")
        yield running


def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def changed(app, *statement):
    await app.store.write(lambda db: db.conn.execute(*statement))


async def differs(app, *names):
    """Return what verify says that differs."""
    return (await verify(app.store, *names)).differences


# --------------------------------------------------------------------- trace


async def test_every_step_from_the_file_to_the_card_is_there_with_its_hash(app, tmp_path):
    document = await app.store.read(trace, "ann")
    ((source,), (claim,)) = (document["accounts"][0][name] for name in ("sources", "consents"))
    assert (source["kind"], source["name"], source["posts"]) == ("file", "ann.jsonl", 150)
    assert source["content_sha256"] == sha256_of(tmp_path / "ann.jsonl")
    assert claim["claimed_by"] == "me"
    (corpus,) = document["corpora"]
    model = await app.store.read(models.current, "ann")
    assert (corpus["sha256"], corpus["counts"]["ann"]["downloaded"]) == (model.corpus, 150)
    assert corpus["rules"] == {"short_rule": "default", "max_posts": app.settings.trainer.max_posts, "seed": 0}
    assert corpus["sources_sha256"] == hashlib.sha256(f"ann {source['sha256']}\n".encode()).hexdigest()
    (job,) = corpus["jobs"]
    assert job["fingerprint"] == jobs.fingerprint(job["recipe"], corpus["sha256"])
    assert (job["model"]["version"], job["model"]["sha256"]) == (1, model.sha256)
    assert job["model"]["result_sha256"] == hashlib.sha256(json.dumps(model.result).encode()).hexdigest()
    (card,) = job["model"]["published"]
    assert (card["kind"], card["place"]) == ("card", str(tmp_path / "card"))
    assert card["finished_at"]
    assert card["files"] == {path.name: sha256_of(path) for path in (tmp_path / "card").iterdir()}


async def test_a_number_that_a_card_measured_is_found_in_its_lineage(app, tmp_path):
    await actions.card(app, "ann", tmp_path / "card")  # by the lines of the first
    (card,) = (await app.store.read(trace, "ann"))["corpora"][0]["jobs"][0]["model"]["published"]  # the earlier one was replaced
    numbers = {number["name"]: number["words"] for number in card["numbers"]}
    assert numbers["copy_rate"] in (tmp_path / "card/README.md").read_text(encoding="utf-8")
    answer = await actions.lineage(app, ["ann"])
    assert f"copy rate: {numbers['copy_rate']}" in shown(answer.text)


def shown(text):
    paper = io.StringIO()
    Console(file=paper, width=200).print(text, soft_wrap=True)
    return paper.getvalue()


async def test_the_tree_is_read_from_the_posts_down(app, tmp_path):
    said = shown((await actions.lineage(app, ["@Ann"])).text)
    places = [
        said.index(word) for word in ("posts of @ann (consent: permission, claimed by me)", "from the file ann.jsonl", "corpus SHA-256")
    ]
    places += [
        said.index(word) for word in ("job 1, SHA-256", ": done", "version 1: 8,000 bytes of weights", f"card, {tmp_path / 'card'}, on")
    ]
    assert places == sorted(places)
    assert f"README.md SHA-256 {sha256_of(tmp_path / 'card/README.md')[:12]}…" in said


async def test_pages_of_x_are_one_line_and_what_else_brings_posts_says_what_it_was(store):
    for number, kind in enumerate(("x", "x", "command", "unknown")):
        posts = [Tweet(f"{number}{n}", None, f"post {n} of {number}") for n in range(3)]
        await store.write(accounts.add_tweets, "ann", posts, sources.Brought(kind))
    said = shown(render.lineage(await store.read(trace, "ann")))
    assert said.count("from X, on") == 1
    assert "6 new posts" in said
    assert "from the command of [source]" in said
    assert "from what was not recorded" in said


async def test_what_brings_nothing_new_is_no_source_and_a_second_file_is_one_of_its_own(store):
    posts = made_up_tweets(10)
    for tweets, name in ((posts[:6], "first"), (posts[:6], "again"), (posts, "second")):
        await store.write(accounts.add_tweets, "ann", tweets, sources.Brought("file", name, "a" * 64))
    found = await store.read(sources.of_account, "ann")
    assert [(source.name, source.posts) for source in found] == [("first", 6), ("second", 4)]


async def test_a_corpus_names_the_sources_it_was_built_of_and_not_those_that_came_later(store):
    await store.write(add_version)
    before = await store.read(lambda db: db["corpora"].get(next(db["corpora"].pks_and_rows_where())[0])["sources_sha256"])
    await store.write(accounts.add_tweets, "ann", [Tweet("9", None, "a later post of ann")])
    assert (await verify(store)).differences == []
    await store.write(add_version)
    both = await store.read(lambda db: [row["sources_sha256"] for row in db["corpora"].rows])
    assert before == both[0] != both[1]
    assert (await verify(store)).differences == []


async def test_a_joint_voice_has_the_sources_of_each_and_a_voice_that_began_with_another_names_it(store):
    first = await store.write(add_version, ("ann", "bob"))
    await store.write(add_version, ("ann", "bob"), weights=b"second", recipe={"start": first.sha256})
    document = await store.read(trace, "ann-bob")
    assert [account["handle"] for account in document["accounts"]] == ["ann", "bob"]
    second = document["corpora"][0]["jobs"][1]["model"]
    assert (second["start_sha256"], second["started_from"]) == (first.sha256, 1)


async def test_an_account_without_a_voice_has_its_sources_and_what_nobody_knows_is_a_sentence(store):
    await store.write(accounts.add_tweets, "ann", made_up_tweets(3))
    document = await store.read(trace, "ann")
    assert (len(document["accounts"][0]["sources"]), document["corpora"]) == (1, [])
    for work in (store.read(trace, "zoe"), verify(store, "zoe")):
        with pytest.raises(NotStoredError, match=r"^Nothing of @zoe is stored\.$"):
            await work


async def test_an_imported_voice_has_the_files_that_it_came_from(store, tmp_path):
    (tmp_path / "weights").write_bytes(b"weights")
    details = {"source": "huggingtweets/ann", "revision": "f00", "files": {"config.json": "d" * 64}}
    result = {"sha256": sha256_of(tmp_path / "weights"), "loss_before": None, "loss_after": None, "seconds": 0.0, "samples": []}
    await store.write(accounts.ensure_account, "ann")
    recipe = {"base": "gpt2", "method": "whole", "imported": "d" * 64}
    add = (models.add_imported, {"ann": Counts(9, 1, 1, 7, 0)}, recipe, tmp_path / "weights", result | {"details": details}, "me")
    await store.write(*add)
    document = await store.read(trace, "ann")
    (corpus,) = document["corpora"]
    assert (corpus["sources_sha256"], corpus["splits"]["train"]) == (None, 0)
    assert corpus["jobs"][0]["model"]["imported"] == details
    assert f"imported from huggingtweets/ann at f00: config.json SHA-256 {'d' * 12}…" in shown(render.lineage(document))
    found = await verify(store)
    assert (found.differences, found.unknown) == ([], [])


async def test_what_is_forgotten_has_no_lineage_any_more(app):
    await actions.forget(app, "ann", "me")
    for table in ("sources", "published", "corpora"):
        assert await app.store.read(lambda db, table=table: db[table].count) == 0
    with pytest.raises(NotStoredError):
        await app.store.read(trace, "ann")


# --------------------------------------------------------------------- kills


async def test_a_card_whose_writing_is_killed_is_known_to_be_cut_off_and_the_next_one_replaces_it(app, tmp_path, monkeypatch):
    write = publishing.write_whole

    def die(folder, files):
        write(folder, dict(list(files.items())[-2:]))
        raise KilledError

    monkeypatch.setattr(publishing, "write_whole", die)
    for place in ("card", "new"):
        with pytest.raises(KilledError):
            await actions.card(app, "ann", tmp_path / place)
    found = await verify(app.store)
    assert found.differences == []  # whatever a file is of, the old card or the new one, is written down
    sentence = "The card of version 1 of ann in {} was cut off: how much of it was written is not known."
    assert found.unknown == [sentence.format(tmp_path / place) for place in ("card", "new")]
    assert "and cut off" in shown((await actions.lineage(app, ["ann"])).text)
    monkeypatch.setattr(publishing, "write_whole", write)
    for place in ("card", "new"):
        await actions.card(app, "ann", tmp_path / place)
    found = await verify(app.store)
    assert (found.differences, found.unknown) == ([], [])


async def test_a_run_that_is_killed_says_in_its_lineage_that_it_was_cut_off(app):
    await app.store.write(accounts.add_tweets, "ann", [Tweet("9", None, "a later post of ann, of a few words")])
    wanted = await app.training.request(["ann"], by="me")
    said = []
    for work in (None, jobs.start_next, lambda db: jobs.requeue(db, wanted.job.id)):
        if work:
            await app.store.write(work)
        said.append(shown((await actions.lineage(app, ["ann"])).text))
        assert await differs(app) == []
    assert [": queued" in text for text in said] == [True, False, True]
    assert ": running" in said[1]
    await app.lead_until(app.training.result(wanted.job.id))
    assert ": done, in attempt 2: it was cut off before" in shown((await actions.lineage(app, ["ann"])).text)


@pytest.fixture
def carried(monkeypatch):
    """A carrier that writes something."""

    async def carry(order, *_):
        (Path(order.output) / "model.safetensors").write_bytes(b"merged")
        return Exported("a/base", "<s>", 6)

    monkeypatch.setattr(exporting, "carry", carry)


async def test_an_export_its_push_and_a_file_for_discord_are_in_the_lineage(app, carried, tmp_path, monkeypatch):
    await changed(app, "UPDATE models SET result = json_set(result, '$.details', json('{\"adapter\": {\"rank\": 8}}'))")

    async def push(*_):
        return "https://hub.example/me/ann"

    monkeypatch.setattr(exporting.pushing, "push", push)
    monkeypatch.setattr(exporting.pushing, "check_push", lambda *_: None)
    await actions.export(app, "ann", tmp_path / "out", push="me/ann")
    _, content = await exporting.export_zip(app.store, app.settings, app.speaking, "ann")
    _, export, pushed, packed = await app.store.read(published.of_model, 1)
    assert (export.kind, export.place, bool(export.finished_at)) == (Form.EXPORT, str(tmp_path / "out"), True)
    assert export.files == {path.name: sha256_of(path) for path in (tmp_path / "out").iterdir()}
    assert {"model.safetensors", "README.md", "mynah.json"} <= export.files.keys()
    assert (pushed.kind, pushed.place, pushed.files) == (Form.PUSH, "me/ann", export.files)
    assert (packed.kind, packed.files) == (Form.ZIP, {"ann-v1.zip": hashlib.sha256(content).hexdigest()})


async def test_an_export_that_is_killed_before_it_is_in_its_place_is_cut_off_and_one_that_cannot_be_there_is_none(
    app, carried, tmp_path, monkeypatch
):
    def die(*_):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", die)
        with pytest.raises(KilledError):
            await actions.export(app, "ann", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert (await verify(app.store)).unknown == [
        f"The export of version 1 of ann in {tmp_path / 'out'} was cut off: how much of it was written is not known."
    ]

    def refuse(*_):
        raise OSError(39, "Directory not empty")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        with pytest.raises(Exception, match="cannot be written"):
            await actions.export(app, "ann", tmp_path / "other")
    assert [one.place for one in await app.store.read(published.of_model, 1)] == [str(tmp_path / "card"), str(tmp_path / "out")]
    await actions.export(app, "ann", tmp_path / "out")
    found = await verify(app.store)
    assert (found.differences, found.unknown) == ([], [])


async def test_a_voice_that_is_forgotten_before_its_card_is_written_has_none(app, tmp_path, monkeypatch):
    draw = publishing.draw

    async def then_forget(*arguments, **options):
        card = await draw(*arguments, **options)
        await app.store.write(accounts.forget, "ann")
        return card

    monkeypatch.setattr(publishing, "draw", then_forget)
    with pytest.raises(NotStoredError, match="forgotten"):
        await actions.card(app, "ann", tmp_path / "late")
    assert not (tmp_path / "late").exists()


# -------------------------------------------------------------------- verify


async def test_nothing_differs_where_nothing_was_altered(app):
    found = await verify(app.store)
    assert (found.differences, found.unknown) == ([], [])
    assert found.looked_at == {"posts": 150, "corpora": 1, "jobs": 1, "versions": 1, "files": 3}
    assert await verify(app.store, "ann") == found
    assert "nothing differs." in shown((await actions.verify(app)).text)


ALTERED = [
    (
        "UPDATE tweets SET text = 'x' WHERE id = '1007'",
        "Of the posts of @ann that came from ann.jsonl on *, some are not as they were stored.",
    ),
    ("DELETE FROM tweets WHERE id = '1007'", "Of the posts of @ann that came from ann.jsonl on *, 149 of 150 are stored."),
    (
        "INSERT INTO tweets VALUES ('ann', '7', NULL, 'a post of a few words', 0, 0, '2020-01-01', NULL)",
        "Of the stored posts of @ann, 1 came from nothing that is written down.",
    ),
    ("UPDATE sources SET sha256 = 'f'", "Of the posts of @ann that came from ann.jsonl on *, some are not as they were stored."),
    (
        "UPDATE corpora SET content = replace(content, 'the', 'a')",
        "The corpus * of ann is not what its hash says.",
    ),
    ("UPDATE corpora SET content = '{}'", "The corpus * of ann cannot be read."),
    ("UPDATE corpora SET counts = replace(counts, '150', '-1')", "The corpus * of ann cannot be read."),
    (
        "UPDATE corpora SET counts = json_set(counts, '$.ann.downloaded', 151, '$.ann.short', 1)",
        "The corpus * of ann has other counts of its posts than its cards say.",
    ),
    (
        "UPDATE jobs SET recipe = json_set(recipe, '$.seed', 99)",
        "Job 1 of ann has another recipe or corpus than it was asked for with.",
    ),
    (
        "UPDATE jobs SET recipe = json_set(recipe, '$.base', 'other')",
        "The base, method or corpus of version 1 of ann is not its job's.",
    ),
    ("UPDATE model_weights SET chunk = zeroblob(8000)", "The weights of version 1 of ann are not what their hash says*"),
    ("DELETE FROM model_weights", "The weights of version 1 of ann are not what their hash says*"),
    ("UPDATE models SET bytes = 7", "The weights of version 1 of ann are not what their hash says*"),
    (
        "UPDATE models SET result = json_set(result, '$.loss_after', 0.1)",
        "The losses, samples or details of version 1 of ann are not what its run told.",
    ),
    ("UPDATE models SET result = 'no json'", "The losses, samples or details of version 1 of ann are not what its run told."),
]


async def test_what_was_altered_in_the_database_is_a_sentence(app):
    whole = sqlite3.connect(":memory:", check_same_thread=False)
    await app.store.read(lambda db: db.conn.backup(whole))
    for statement, sentence in ALTERED:
        await changed(app, statement)
        said = await differs(app, "ann")
        assert [one for one in said if fnmatchcase(one, sentence)], (statement, said)
        await app.store._run(app.store._writer, whole.backup, app.store._write_db.conn)
    assert await differs(app) == []
    whole.close()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda path: path.write_text(path.read_text() + " "), "{} is not what was written for the card of version 1 of ann."),
        (lambda path: path.unlink(), "{}, of the card of version 1 of ann, is gone or cannot be read."),
    ],
)
async def test_an_altered_card_is_a_sentence(app, tmp_path, spoil, sentence):
    path = tmp_path / "card/README.md"
    spoil(path)
    assert await differs(app) == [sentence.format(path)]


async def test_a_card_that_was_carried_away_is_no_difference(app, tmp_path):
    (tmp_path / "card").rename(tmp_path / "elsewhere")
    found = await verify(app.store)
    assert (found.differences, found.unknown) == ([], [f"The card of version 1 of ann is not in {tmp_path / 'card'} any more."])


async def test_words_of_a_forgotten_account_that_were_taken_out_are_no_difference(app):
    parent = Tweet("77", None, "what bob asked of ann the other day")
    brought = sources.Brought("file", "more.jsonl", "a" * 64)
    await app.store.write(accounts.add_tweets, "bob", [parent], brought)
    answer = Tweet("88", None, "what ann answered to bob the other day", is_reply=True, in_reply_to="77")
    await app.store.write(accounts.add_tweets, "ann", [answer], brought)
    wanted = await app.training.request(["ann"], by="me")
    await app.lead_until(app.training.result(wanted.job.id))
    await app.store.write(accounts.forget, "bob")
    found = await verify(app.store)
    assert found.differences == []
    (sentence,) = found.unknown
    assert sentence.endswith("of ann lacks the words of an account that was forgotten, so it is known as they left it alone.")
    await changed(app, "UPDATE corpora SET content = replace(content, 'other day', 'same day')")
    assert [one for one in await differs(app) if one.endswith("is not what its hash says.")]


async def test_of_what_was_stored_before_it_is_said_what_nobody_knows(tmp_path):
    """An old database is brought forward: its posts get a hash from now on, and of the rest it is said that nothing was recorded."""
    db = Database(tmp_path / "mynah.db")
    transact(db, lambda db: migrations.migrations.apply(db, stop_before="m028_lineage"))
    row = {"created_at": "", "is_retweet": 0, "is_reply": None}
    db["accounts"].insert({"handle": "ann", "created_at": ""})
    for number, at in enumerate(("2026-01-01", "2026-01-01", "2026-02-02")):
        db["tweets"].insert({"handle": "ann", "id": str(number), "text": f"post {number}", "imported_at": at} | row)
    transact(db, migrations.migrations.apply)
    assert [(source.kind, source.posts) for source in sources.of_account(db, "ann")] == [("unknown", 2), ("unknown", 1)]
    db.close()
    async with Store(tmp_path / "mynah.db") as store:
        found = await verify(store)
        assert (found.differences, found.looked_at["posts"]) == ([], 3)
        assert found.unknown == ["Of the posts of @ann, 3 were stored before it was recorded what they came from, and their hash."]
        await store.write(lambda db: db.conn.execute("UPDATE tweets SET text = 'x' WHERE id = '2'"))
        assert (await verify(store)).differences == ["Of the posts of @ann stored on 2026-02-02, some are not as they were stored."]


async def test_a_version_and_a_corpus_of_before_say_that_their_hashes_were_not_recorded(app):
    await changed(app, "UPDATE models SET result_sha256 = NULL")
    await changed(app, "UPDATE corpora SET sources_sha256 = NULL, rules = NULL")
    found = await verify(app.store)
    assert found.differences == []
    assert [sentence.split(" ann")[-1] for sentence in found.unknown] == [
        " was built was not recorded.", " was stored before its hash was recorded.",
    ]  # fmt: skip
    said = shown((await actions.lineage(app, ["ann"])).text)
    assert "of sources SHA-256 not recorded" in said
    assert "by rules that were not recorded" in said
    assert "its run told of it, SHA-256 not recorded" in said


@pytest.mark.parametrize("altered", [False, True])
def test_the_command_ends_with_1_where_something_differs(tmp_path, altered):
    (tmp_path / "config.toml").write_text(f'data_dir = "{tmp_path / "var"}"\n')
    (tmp_path / "posts.txt").write_text("one post that is long enough\nanother post that is long enough\n")
    options = ["--config", str(tmp_path / "config.toml")]
    assert CliRunner().invoke(cli, ["import", str(tmp_path / "posts.txt"), "--as", "ann", *options]).exit_code == 0
    if altered:
        db = Database(tmp_path / "var/mynah.db")
        with db.conn:
            db.conn.execute("UPDATE tweets SET text = 'x'")
        db.close()
    result = CliRunner().invoke(cli, ["verify", "ann", "--json", *options])
    document = json.loads(result.stdout)
    assert (result.exit_code, document["ok"], len(document["differences"])) == ((1, False, 1) if altered else (0, True, 0))
    said = CliRunner().invoke(cli, ["lineage", "ann", "--json", *options])
    assert (said.exit_code, json.loads(said.stdout)["accounts"][0]["sources"][0]["name"]) == (0, "posts.txt")
