"""What the command line and the console do: a function a command, whose answer is said for people and as JSON."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from bot.app import Mynah
from bot.errors import BadRequestError, SpeechFailedError
from bot.faces.terminal import progress, render
from bot.faces.words import counted, moment, paused
from bot.services import bringing, cards, choosing, exporting, forgetting, publishing, pushing, verifying
from bot.services.importing import import_file
from bot.services.lineage import trace
from bot.services.paging import Estimate
from bot.services.scheduling import Planned, Spec
from bot.services.tracking import lacks
from data import accounts, consents, outbox, speech
from data import jobs as jobs_table
from data import models as models_table
from data.consents import Ground
from data.handles import normalise_handle, voice_name
from data.outbox import Post, State
from data.spending import MICRO

#: What a person says of where a training begins, and what Training.request is told.
START = {"last": True, "base": False, None: None}
PAGE = 50  # voices
BACKUPS_STAY = "Backups that were made before, and what a restore or an upgrade put aside (mynah.db.before-…), still hold it."


@dataclass(frozen=True)
class Answer:
    """What a command has to say."""

    document: dict[str, Any]
    text: RenderableType


async def import_posts(app: Mynah, path: Path, handle: str, by: str, ground: str | None = None) -> Answer:
    """Store the posts of a file or archive, and who claims on what ground that they may be learned from."""
    result = await import_file(app.store, app.settings, path, handle, by=by, ground=Ground(ground) if ground else None)
    document = {"handle": result.handle, "counts": asdict(result.counts), "new": result.new, "ground": result.ground}
    return Answer(document, render.imported(result, by))


async def consent(app: Mynah, handle: str, by: str, ground: str | None = None) -> Answer:
    """List who claims consent for an account, after claiming it on a ground, if one is given."""
    name = normalise_handle(handle)
    if ground:
        consents.refuse_blocked([name], app.settings.consent.blocked_handles)
    if name not in await app.store.read(accounts.known_handles):  # an imported voice's account has no posts, and is known
        await app.store.read(accounts.read_tweets, name)  # raises
    if ground:
        await app.store.write(consents.claim, name, Ground(ground), by)
    found = await app.store.read(consents.claims, name)
    said = [f"@{name}: {one.ground}, claimed by {one.claimed_by} on {one.created_at[:10]}" for one in found]
    document = {"handle": name, "claims": [asdict(one) for one in found]}
    return Answer(document, Text("\n".join(said) or f"Nobody has claimed consent for @{name}."))


async def opt_out(app: Mynah, handle: str, by: str, *, undo: bool = False) -> Answer:
    """Forget an account, and refuse it from now on; `undo`: refuse it no longer."""
    name = normalise_handle(handle)
    if undo:
        did = await app.store.write(consents.take_back, name)
        said = f"@{name} may be stored and trained again." if did else f"@{name} had not opted out."
        return Answer({"handle": name, "opted_out": False}, Text(said))
    elsewhere = await forgetting.beyond(app.store, app.settings, name)
    gone = await app.lead_until(forgetting.opt_out(app.store, app.training, app.settings, name, by=by))
    said = f"@{name} is forgotten, and will not be stored or trained again." if gone else f"@{name} will not be stored or trained."
    left, words = _left(elsewhere)
    document = {"handle": name, "opted_out": True, "deleted": gone, "left": left}
    return Answer(document, Text("\n".join([said, *words] if gone else [said])))


async def read(
    app: Mynah, handle: str, by: str, console: Console, *, posts: int | None = None, ground: str | None = None, estimate: bool = False
) -> Answer:
    """Read what is new of an account from X or the source; `estimate`: only say what it costs at most."""
    name = normalise_handle(handle)
    wanted = {} if posts is None else {"posts": posts}
    if estimate:
        most, left = app.reading.estimate(**wanted), await app.budget.left_to_read()
        document = {"handle": name, "posts": most.posts, "cost": most.cost / MICRO, "left": left / MICRO}
        return Answer(document, render.estimate(name, most, left))
    claimed = await app.store.read(consents.claims, name)
    chosen = Ground(ground) if ground else None if claimed else Ground.PERMISSION
    result = await app.reading.read(name, by=by, ground=chosen, **wanted, tell=_tell(console))
    left = await app.budget.left_to_read()
    document = asdict(result) | {"cost": result.cost / MICRO, "left": left / MICRO, "ground": chosen}
    return Answer(document, render.read(result, left, chosen, by))


def _tell(console: Console) -> Callable[[str, Estimate], None]:
    return lambda name, most: console.print(Text(render.at_most(name, most)), soft_wrap=True)


async def train(
    app: Mynah, handles: Sequence[str], by: str, console: Console, *, start: bool | None = None, ground: str | None = None
) -> Answer:
    """Train a voice, showing its progress, and answer with its card.

    What is new is read first, where the settings say so.

    Args:
        app: what does it.
        handles: whose voice.
        by: who asks, and claims the consent for what is read of an account for which nobody did.
        console: where warnings and progress are shown.
        start: from the version that speaks now, or from the base.
        ground: of that claim; None: a permission, as with an import.
    """
    if app.reading.on:
        claimed = Ground(ground or Ground.PERMISSION)
        posts = app.settings.trainer.max_posts
        for result in await app.reading.refresh(handles, by=by, ground=claimed, posts=posts, tell=_tell(console)):
            left = await app.budget.left_to_read()
            console.print(render.read(result, left, None, by), soft_wrap=True)
    wanted = await app.training.request(handles, by=by, start=start)
    untracked = lacks(app.settings, app.secrets)
    for warning in (*wanted.warnings, *([untracked] if untracked else [])):
        console.print(Text(warning, style="yellow"), soft_wrap=True)

    async def watched() -> models_table.Model:
        await progress.show(wanted.job.voice, app.training.events(wanted.job.id), console)
        return await app.training.result(wanted.job.id)

    try:
        model = await app.lead_until(watched())
    except asyncio.CancelledError:
        if wanted.new:  # Ctrl-C by the one who asked; whoever joined only stops looking
            await app.store.write(jobs_table.request_cancel, wanted.job.id, by)
        raise
    return await _card(app, model)


async def show(app: Mynah, handles: Sequence[str], *, version: int | None = None, full: bool = False) -> Answer:
    """Show the card of the version that a voice speaks with, or of another; `full`: with all that is needed to make it again."""
    name = voice_name(_handles(handles))
    wanted = (models_table.current, name) if version is None else (models_table.version, name, version)
    return await _card(app, await app.store.read(*wanted), full=full)


async def _card(app: Mynah, model: models_table.Model, *, full: bool = False) -> Answer:
    document = await app.store.read(cards.full_card if full else cards.told_card, model)
    said = [render.card(document)]
    if model.result["loss_after"] is not None:  # an imported voice has no curve
        document["curve"] = str(await cards.save_curve(app.store, model, app.settings.data_dir / "cards"))
        said.append(Text(f"The curve: {document['curve']}"))
    if not model.current:
        spoken = await app.store.read(models_table.current, model.voice)
        why = "which is pinned" if spoken.pinned else "its newest"
        said.append(
            Text(
                f"{model.voice} speaks with version {spoken.version}, {why}: `mynah pin {model.voice} {model.version}` has it speak with"
                " this one.",
                style="yellow",
            )
        )
    if full:
        said.append(render.particulars(document))
    return Answer(document, Group(*said))


async def card(
    app: Mynah,
    voice: str,
    folder: Path | None = None,
    *,
    html: bool = False,
    prompt: str | None = None,
    names: Sequence[str] = (),
    avatars: Sequence[str] = (),
    version: int | None = None,
) -> Answer:
    """Write the model card of the version that a voice speaks with, or of another, and its pictures; `names`, `avatars`: HANDLE=… each."""
    name = voice_name(_handles([voice]))
    wanted = (models_table.current, name) if version is None else (models_table.version, name, version)
    model = await app.store.read(*wanted)
    to = folder or publishing.folder_of(app.settings, model)
    faces = {handle: publishing.read_avatar(Path(file)) for handle, file in _pairs(avatars, "--avatar").items()}
    written = await app.lead_until(
        publishing.publish(
            app.store, app.settings, app.speaking, model, to, names=_pairs(names, "--name"), avatars=faces, prompt=prompt, page=html
        )
    )
    document = {"name": model.voice, "version": model.version, "files": [str(file) for file in written]}
    return Answer(document, Group(Text(f"The card of {model.voice}, version {model.version}:"), *(Text(f"  {file}") for file in written)))


def _pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """Return by handle what was given as HANDLE=VALUE."""
    pairs = [text.partition("=") for text in texts]
    if wrong := next((text for text, (_, _, value) in zip(texts, pairs, strict=True) if not value.strip()), None):
        raise BadRequestError(f"{option} {wrong} says nothing of an account: write HANDLE=, and then what it is.")
    return {normalise_handle(handle): value for handle, _, value in pairs}


async def generate(
    app: Mynah,
    handles: Sequence[str],
    by: str,
    *,
    version: int | None = None,
    author: str = "",
    message: str = "",
    prompt: str = "",
    count: int | None = None,
    seed: int | None = None,
    explain: bool = False,
    console: Console | None = None,
) -> Answer:
    """Have a voice say something; `explain`: with every candidate, which the console is shown even where none may be said."""
    request = await app.speaking.request(
        voice_name(_handles(handles)),
        by=by,
        version=version,
        author=author,
        message=message,
        prompt=prompt,
        count=count,
        seed=seed,
        purpose=speech.Purpose.TALK,
    )
    model = await app.store.read(models_table.get, request.model)
    try:
        spoken = await app.lead_until(app.speaking.answer(request.id))
    except SpeechFailedError:
        if explain and console:
            candidates = await app.store.read(speech.generations, request.id)
            console.print(render.explained(_explanation(model, candidates)), soft_wrap=True)
        raise
    document = {
        "name": request.voice,
        "version": model.version,
        "author": request.author,
        "message": request.message,
        "prompt": request.prompt,
        "seed": request.seed,
        "lines": [{"text": line.text, "log_likelihood": line.log_likelihood} for line in spoken.lines],
    }
    if not explain:
        return Answer(document, render.lines(spoken.lines))
    document |= _explanation(model, spoken.candidates)
    return Answer(document, Group(render.lines(spoken.lines), render.explained(document)))


def _explanation(model: models_table.Model, candidates: Sequence[speech.Generation]) -> dict[str, Any]:
    """Return what became of each candidate and why, its score taken apart."""
    typical = choosing.typical(model)
    lines = [
        asdict(line) | {"parts": asdict(choosing.score(line.log_likelihood, typical, line.style, line.relevance))} for line in candidates
    ]
    return {"typical_log_likelihood": typical, "candidates": lines}


async def models(app: Mynah, handles: Sequence[str] = (), *, versions: bool = False, search: str = "", page: int = 1) -> Answer:
    """List the voices, a page of those whose name holds a text, or one; `versions`: every version, not only the one that speaks."""
    if page < 1:
        raise BadRequestError("Pages are counted from 1.")
    if handles:
        found = [model for model in await app.store.read(models_table.versions, voice_name(_handles(handles))) if versions or model.current]
        total = 1
    else:
        listed = await app.store.read(models_table.page, search.removeprefix("@").lower(), first=(page - 1) * PAGE, most=PAGE)
        found, total = listed.models, listed.total
        if versions:
            found = [model for one in found for model in await app.store.read(models_table.versions, one.voice)]
    documents = [cards.card(model) for model in found]
    shown = render.versions(documents) if versions and documents else render.models(documents)
    pages = -(-total // PAGE)
    if pages > 1 and documents:
        shown = Group(shown, Text(f"Page {page} of {pages}, {total:,} voices in all: --page N, or --search TEXT."))
    elif total and not documents:
        shown = Text(f"There is no page {page}: the last is {pages}.")
    elif search and not documents:
        shown = Text(f"No voice has a name that holds {search!r}.")
    return Answer({"models": documents, "page": page, "pages": pages, "total": total}, shown)


async def lineage(app: Mynah, handles: Sequence[str]) -> Answer:
    """Show every step from a voice's posts to its cards."""
    document = await app.store.read(trace, voice_name(_handles(handles)))
    return Answer(document, render.lineage(document))


async def verify(app: Mynah, handles: Sequence[str] = ()) -> Answer:
    """Make the hashes of a voice anew, or all; the document says under `ok` whether nothing differs."""
    found = await verifying.verify(app.store, voice_name(_handles(handles)) if handles else None)
    return Answer({"ok": not found.differences} | asdict(found), render.verified(found))


async def pin(app: Mynah, voice: str, version: int) -> Answer:
    """Have a voice speak with one version until it is unpinned."""
    model = await app.store.write(models_table.pin, voice_name(_handles([voice])), version)
    said = f"{model.voice} speaks with version {version} from now on, whatever is trained later, until `mynah unpin {model.voice}`."
    return Answer({"name": model.voice, "version": version, "pinned": True}, Text(said))


async def unpin(app: Mynah, voice: str) -> Answer:
    """Have a voice speak with its newest version."""
    model = await app.store.write(models_table.unpin, voice_name(_handles([voice])))
    said = f"{model.voice} is not pinned: it speaks with its newest version, {model.version} now."
    return Answer({"name": model.voice, "version": model.version, "pinned": False}, Text(said))


async def jobs(app: Mynah) -> Answer:
    """List the trainings."""
    rows = await app.store.read(jobs_table.recent)
    return Answer({"jobs": [asdict(job) for job in rows]}, render.jobs(rows))


async def cancel(app: Mynah, job_id: int, by: str) -> Answer:
    """Cancel a training."""
    await app.training.cancel(job_id, by=by)
    job = await app.lead_until(app.training.ended(job_id))
    return Answer({"job": asdict(job)}, Text(f"Job {job.id} ({job.voice}) is {job.status}."))


async def forget(app: Mynah, handle: str, by: str) -> Answer:
    """Delete everything of an account."""
    elsewhere = await forgetting.beyond(app.store, app.settings, handle)
    gone = await app.lead_until(forgetting.forget(app.store, app.training, app.settings, handle, by=by))
    said = ", ".join(counted(number, name) for name, number in gone.items() if number) or "an empty account"
    left, words = _left(elsewhere)
    document = {"handle": handle.removeprefix("@").lower(), "deleted": gone, "left": left}
    return Answer(document, Text("\n".join([f"Forgotten: {said}.", *words])))


def _left(elsewhere: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return of the places that forgetting cannot reach those that are there, repositories too, and what to say of them and of backups."""
    left = [place for place in elsewhere if not Path(place).is_absolute() or Path(place).exists()]
    return left, [*([f"Yours to delete: {', '.join(left)}."] if left else []), BACKUPS_STAY]


async def export(app: Mynah, voice: str, folder: Path, *, version: int | None = None, adapter: bool = False, push: str = "") -> Answer:
    """Write a voice as a model that needs nothing of Mynah; `push`: and upload it there."""
    if push:
        pushing.check_push(push, app.secrets.hf_token)
    written = await app.lead_until(
        exporting.export(app.store, app.settings, app.speaking, voice, folder, version=version, adapter=adapter, address=push)
    )
    document = {"name": written.model.voice, "version": written.model.version, "folder": str(written.folder), "bytes": written.bytes}
    said = f"Version {written.model.version} of {written.model.voice} is in {written.folder} ({written.bytes / 1e6:,.1f} MB)."
    if push:
        document["address"] = await exporting.push(app.store, written, push, app.secrets.hf_token)
        said += f" It is at {document['address']}, for you alone to see."
    return Answer(document, Text(said))


async def import_model(app: Mynah, source: str, voice: str, by: str, ground: str | None = None) -> Answer:
    """Make a voice of a model that was made elsewhere, and answer with its card."""
    model, new = await bringing.import_model(app.store, app.settings, source, voice, by=by, ground=Ground(ground) if ground else None)
    card = await _card(app, model)
    if new:
        return card
    return Answer(card.document, Group(Text(f"It is stored already, as version {model.version}.", style="yellow"), card.text))


async def posts(app: Mynah) -> Answer:
    """List the outbox."""
    rows, pause = await app.posting.listed(), await app.posting.paused()
    reasons = await app.posting.reasons(rows)
    documents = [asdict(post) | {"why": reasons[post.id]} for post in rows]
    return Answer({"posts": documents, "paused": asdict(pause) if pause else None}, render.posts(rows, reasons, pause))


async def post(app: Mynah, post_id: int) -> Answer:
    """Show a post, and what became of it when, by whom and why."""
    history = await app.posting.history(post_id)
    found = await app.store.read(outbox.get, post_id)
    return Answer({"post": asdict(found), "history": history}, render.post(found, history))


async def edit_post(app: Mynah, post_id: int, by: str, write: Callable[[str], str | None], *, approve: bool) -> Answer:
    """Give a post the text that `write` makes of its own; None leaves it as it is."""
    text = write((await app.store.read(outbox.get, post_id)).text)
    if text is None:
        return Answer({"post": asdict(await app.store.read(outbox.get, post_id))}, Text(f"Post {post_id} is left as it was."))
    return _decided(await app.posting.edit(post_id, text, by, approve=approve))


async def decide(app: Mynah, verb: str, post_id: int, by: str, why: str = "") -> Answer:
    """Approve, reject or confirm a post of the outbox."""
    match verb:
        case "approve":
            post = await app.posting.approve(post_id, by)
        case "reject":
            post = await app.posting.reject(post_id, by, why)
        case _:
            post = await app.posting.confirm(post_id, by)
    return _decided(post)


def _decided(post: Post) -> Answer:
    when = f", not before {moment(post.not_before)}" if post.not_before else ""
    next_step = f" It is sent while `mynah run` runs{when}." if post.status == State.APPROVED else ""
    return Answer({"post": asdict(post)}, Text(f"Post {post.id} is {post.status}.{next_step}"))


async def pause(app: Mynah, by: str, why: str = "") -> Answer:
    """Stop all posting."""
    lasting = await app.posting.pause(by, why)
    return Answer({"paused": asdict(lasting)}, Text(f"{paused(lasting)} Nothing is posted and no schedule fires until `mynah resume`."))


async def resume(app: Mynah, by: str) -> Answer:
    """Let posting go on."""
    ended = await app.posting.resume(by)
    return Answer(
        {"ended": asdict(ended)}, Text("Posting goes on: what is approved is sent while `mynah run` runs, and schedules fire again.")
    )


async def mentions(app: Mynah) -> Answer:
    """List mentions, answers and stops."""
    seen = await app.mentions.overview()
    listed = [asdict(one) | {"answer": asdict(seen.answers[one.post]) if one.post is not None else None} for one in seen.mentions]
    document = {
        "on": app.mentions.on,
        "poll": asdict(seen.poll) if seen.poll else None,
        "mentions": listed,
        "stops": [asdict(one) for one in seen.stops],
    }
    return Answer(document, render.mentions(seen, on=app.mentions.on))


async def spend(app: Mynah) -> Answer:
    """Show what X has cost, and what it may."""
    seen = await app.budget.overview()
    document = {
        span: {
            "cap": cap / MICRO,
            "spent": sum(one.cost for one in spent) / MICRO,
            "kinds": [{"kind": one.kind, "count": one.count, "cost": one.cost / MICRO, "open": one.open / MICRO} for one in spent],
        }
        for span, cap, spent in (("today", seen.caps.day, seen.today), ("month", seen.caps.month, seen.month))
    }
    return Answer(document | {"left": seen.left / MICRO}, render.spending(seen))


async def add_schedule(app: Mynah, name: str, voice: str, by: str, spec: Spec) -> Answer:
    """Store a schedule."""
    return _planned([await app.scheduling.add(name, voice, spec, by=by, operator=True)])


async def schedules(app: Mynah) -> Answer:
    """List the schedules."""
    return _planned(await app.scheduling.listed())


async def show_schedule(app: Mynah, name: str) -> Answer:
    """Show a schedule, and what became of its newest times."""
    planned = await app.scheduling.get(name)
    return Answer({"schedule": _document(planned), "runs": [asdict(run) for run in planned.runs]}, render.schedule(planned))


async def pause_schedule(app: Mynah, name: str, by: str) -> Answer:
    """Stop a schedule."""
    return _planned([await app.scheduling.pause(name, by)])


async def resume_schedule(app: Mynah, name: str, by: str) -> Answer:
    """Let a schedule go on."""
    return _planned([await app.scheduling.resume(name, by)])


async def run_schedule(app: Mynah, name: str, by: str) -> Answer:
    """Have a schedule write a draft now."""
    run = await app.scheduling.run_now(name, by)
    return Answer({"run": asdict(run)}, Text(f"{run.schedule} writes a draft while `mynah run` runs; `mynah posts` shows it."))


async def remove_schedule(app: Mynah, name: str) -> Answer:
    """Delete a schedule."""
    await app.scheduling.remove(name)
    return Answer({"removed": name}, Text(f"The schedule {name} is gone; its posts stay."))


def _planned(rows: Sequence[Planned]) -> Answer:
    return Answer({"schedules": [_document(row) for row in rows]}, render.schedules(rows))


def _document(planned: Planned) -> dict[str, Any]:
    more = {"next": [moment.isoformat() for moment in planned.times], "unattended": planned.unattended}
    return asdict(planned.schedule) | more


def _handles(names: Sequence[str]) -> list[str]:
    """Split joint voices' names into handles: `a-b` is what `mynah models` shows, `a b` what was typed to train it."""
    return [handle for name in names for handle in name.split("-")]
