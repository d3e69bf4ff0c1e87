"""What the terminal shows: cards, tables and lines, as rich renderables; whatever came from outside is shown as plain text."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from bot.faces import words
from bot.faces.words import GROUNDS, TOLD, counted, destination, moment, paused, when
from bot.services.cards import kind
from bot.services.choosing import STYLE
from bot.services.doctor import Finding
from bot.services.importing import Imported
from bot.services.mentions import Mentioned
from bot.services.paging import Estimate, Read
from bot.services.scheduling import Planned
from bot.services.spending import Overview
from bot.services.verifying import Verified
from data.consents import Ground
from data.jobs import Job, Status
from data.mentions import Fate, Mention
from data.outbox import Pause, Post, State
from data.speech import PASSED, Generation
from data.spending import dollars

#: Of the trainer's details: what the card has of the job, the corpus and the version that was begun with.
SAID_BY_THE_CARD = ("recipe", "posts", "start")


def card(document: dict[str, Any]) -> RenderableType:
    """Render a model's card: who, the table of counts, losses, time and size."""
    counts = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    counts.add_column("")
    for handle in document["accounts"]:
        counts.add_column(Text(f"@{handle}"), justify="right")
    for name in ("downloaded", "retweets", "short", "kept", "duplicates"):
        counts.add_row(name, *(f"{document['counts'][handle][name]:,}" for handle in document["accounts"]))
    loss = document["loss"]
    facts = Table.grid(padding=(0, 2))
    if loss["after"] is None:
        facts.add_row("made", "elsewhere, and imported")
    else:
        facts.add_row("loss on posts it never saw", f"{loss['before']:.3f} before, [bold]{loss['after']:.3f}[/] after (nats a token)")
        facts.add_row("time", f"{document['seconds']:.0f} s")
    facts.add_row("size", f"{document['bytes'] / 1e6:.1f} MB")
    facts.add_row("base", Text(f"{document['base']} ({document['method']})"))
    facts.add_row("version", str(document["version"]))
    if rate := document.get("fool_rate"):
        facts.add_row(
            "fool rate", f"[bold]{rate['share']:.0%}[/] of {rate['guesses']:,} guesses were wrong (by chance: {rate['chance']:.0%})"
        )
    title = Text(f"{document['name']} · {kind(document['accounts'])}", style="bold")
    return Panel(Group(counts, facts), title=title, title_align="left", box=box.ROUNDED, expand=False, padding=(0, 2))


def particulars(document: dict[str, Any]) -> RenderableType:
    """Render what a full card holds beyond the short one, a row for each group; the trainer's details stand there as it names them."""
    details = {name: value for name, value in document["details"].items() if name not in SAID_BY_THE_CARD}
    groups = {name: value for name, value in details.items() if isinstance(value, dict)}
    start = document["started_from"]
    rows: dict[str, Any] = {
        "sha256": document["sha256"],
        "corpus": document["corpus_sha256"],
        "splits": document["splits"],
        "job": {name: document["job"][name] for name in ("id", "requested_by", "created_at", "ended_at", "attempt")},
        "model": {"bytes": document["bytes"], "seconds": document["seconds"], "from": f"version {start}" if start else "base"},
        "recipe": document["recipe"],
        "run": {name: value for name, value in details.items() if name not in groups},
        **groups,
    }
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows.items():
        grid.add_row(Text(name.replace("_", " ")), Text(_pairs(value) if isinstance(value, dict) else _value(value)))
    corpus = document["corpus_sha256"][:12]
    again = f"To make it again, where the stored posts, max_posts and short_rule make the corpus {corpus}…:"
    return Group(Text(), grid, Text(), Text(again), Text(document["command"]))


def lineage(document: dict[str, Any]) -> RenderableType:
    """Render every step of a voice as a tree, whose branches are what was made of it; of a hash its beginning."""
    root = Tree(Text(document["name"], style="bold"))
    for account in document["accounts"]:
        claims = ", ".join(f"{one['ground']}, claimed by {one['claimed_by']}" for one in account["consents"])
        node = root.add(Text(f"posts of @{account['handle']} (consent: {claims or 'nobody claims it'})"))
        # X gives a page of posts at a time.
        for of_x, group in groupby(account["sources"], key=lambda source: bool(source["kind"] == "x")):
            rows = list(group)
            for some in [rows] if of_x else [[row] for row in rows]:
                node.add(Text(_source(some)))
        if not account["sources"]:
            node.add(Text("none are stored"))
    for corpus in document["corpora"]:
        node = root.add(Text(_corpus(corpus)))
        for handle, counts in corpus["counts"].items():
            node.add(Text(f"@{handle}: {_pairs(counts)}"))
        for job in corpus["jobs"]:
            _add_job(node, job)
    return root


def _source(rows: Sequence[dict[str, Any]]) -> str:
    first = rows[0]
    posts = f"{sum(row['posts'] for row in rows):,} new posts, {', '.join(_short(row['sha256']) for row in rows)}"
    match first["kind"]:
        case "file":
            whence = f"the file {first['name']}, {_short(first['content_sha256'], 'a folder, or gone before it was hashed')}"
        case "x":
            whence = "X"
        case "command":
            whence = "the command of [source]"
        case _:
            whence = "what was not recorded"
    return f"from {whence}, on {moment(first['at'])}: {posts}"


def _corpus(document: dict[str, Any]) -> str:
    named = f"corpus {_short(document['sha256'])}, of {moment(document['created_at'])}"
    splits = document["splits"]
    if not splits["train"]:
        return f"{named}: without posts, because what was made of it was made elsewhere"
    rules = _pairs(document["rules"]) if document["rules"] else "by rules that were not recorded"
    lost = "; words of an account that was forgotten were taken out of it" if document["altered_sha256"] else ""
    return f"{named}, of sources {_short(document['sources_sha256'])}: {_pairs(splits)} posts, {rules}{lost}"


def _add_job(tree: Tree, job: dict[str, Any]) -> None:
    again = f", in attempt {job['attempt']}: it was cut off before" if job["attempt"] > 1 else ""
    error = f" ({job['error']})" if job["error"] else ""
    named = f"job {job['id']}, {_short(job['fingerprint'])}, asked for by {job['requested_by']} on {moment(job['created_at'])}"
    node = tree.add(Text(f"{named}: {job['status']}{again}{error}"))
    node.add(Text(_pairs({name: value for name, value in job["recipe"].items() if value is not None})))
    model = job["model"]
    if model is None:
        if job["status"] == Status.DONE:
            node.add(Text("its version is not stored any more"))
        return
    node = node.add(Text(f"version {model['version']}: {model['bytes']:,} bytes of weights, {_short(model['sha256'])}", style="bold"))
    if model["start_sha256"]:
        node.add(Text(f"began with {_short(model['start_sha256'])}, version {model['started_from'] or 'that is gone'}"))
    if "imported" in model:
        node.add(Text(_brought(model["imported"])))
    else:
        node.add(Text(f"base {_value(model['base'])}"))
        loss = _pairs(model["loss"])
        node.add(Text(f"its run told of it, {_short(model['result_sha256'])}: loss {loss}"))
    for one in model["published"]:
        when = f"on {moment(one['finished_at'])}" if one["finished_at"] else f"begun on {moment(one['begun_at'])}, and cut off"
        leaf = node.add(Text(f"{one['kind']}, {one['place']}, {when}"))
        for number in one["numbers"]:
            leaf.add(Text(f"{number['title'].lower()}: {number['words']}"))
        leaf.add(Text(", ".join(f"{name} {_short(sha256)}" for name, sha256 in one["files"].items())))


def _brought(imported: dict[str, Any]) -> str:
    revision = f" at {imported['revision']}" if imported["revision"] else ""
    files = imported["files"] or {}
    read = ", ".join(f"{name} {_short(sha256)}" for name, sha256 in files.items()) or "of which files was not recorded"
    return f"imported from {imported['source'] or 'what was not recorded'}{revision}: {read}"


def _short(sha256: str | None, without: str = "not recorded") -> str:
    """Return the beginning of a hash, as much as tells it from all others here."""
    return f"SHA-256 {sha256[:12]}…" if sha256 else f"SHA-256 {without}"


def verified(found: Verified) -> RenderableType:
    """Render what was verified: first what differs, a line each."""
    looked_at = ", ".join(counted(number, name) for name, number in found.looked_at.items())
    ends = "nothing differs." if not found.differences else f"{len(found.differences):,} of the hashes or counts differ."
    return Group(
        *(Text(sentence, style="red") for sentence in found.differences),
        *(Text(sentence, style="dim") for sentence in found.unknown),
        Text(f"Looked at {looked_at}: {ends}"),
    )


def _pairs(values: dict[str, Any]) -> str:
    return "  ".join(f"{name}={_value(value)}" for name, value in values.items())


def _value(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
        case list() | tuple():
            return ",".join(map(_value, value))
        case dict():
            return f"({_pairs(value)})"
    return str(value)


def lines(generations: Sequence[Generation]) -> RenderableType:
    """Render what a voice said, a line each."""
    return Group(*(Text(f"• {line.text}") for line in generations))


def explained(document: dict[str, Any]) -> RenderableType:
    """Render every candidate, the best first: its score and the parts of it, in nats, and what became of it."""
    if not document["candidates"]:
        return Text("No candidate came.")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("score", "likelihood", "style", "relevance"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("line, and what became of it", overflow="fold")
    for line in sorted(document["candidates"], key=lambda line: (not line["chosen"], line["verdict"] != PASSED, -line["score"])):
        passed = "said" if line["chosen"] else "passed: others were better"
        verdict = passed if line["verdict"] == PASSED else f"{line['verdict']}: {line['reason']}"
        figures = (f"{line['parts'][name]:+.2f}" for name in ("likelihood", "style", "relevance"))
        table.add_row(f"{line['score']:.2f}", *figures, Text(line["text"], style="bold" if line["chosen"] else ""))
        table.add_row("", "", "", "", Text(f"→ {verdict}", style="green" if line["chosen"] else "dim"))
    typical = document["typical_log_likelihood"]
    how = f"score = likelihood + style + relevance. likelihood: nats a token below what is typical of the voice ({typical:.2f}); style:"
    return Group(
        Text(), table, Text(), Text(f"{how} {STYLE:g} times the share of trigrams that are the account's; relevance: to the message.")
    )


def imported(result: Imported, by: str) -> RenderableType:
    """Render what an import brought, and who answers for it."""
    c = result.counts
    return Text(
        f"@{result.handle}: {result.new:,} new. Stored: {c.downloaded:,} downloaded = {c.retweets:,} retweets + {c.short:,} short"
        f" + {c.kept:,} kept ({c.duplicates:,} of them duplicates). Consent: {GROUNDS[result.ground]}, says {by}."
        f" Next: mynah train {result.handle}"
    )


def estimate(handle: str, most: Estimate, left: int) -> RenderableType:
    """Render the most that reading would cost, before anybody is asked."""
    if not most.cost:
        return Text(f"Reading @{handle} costs nothing.")
    return Text(f"{at_most(handle, most)} {dollars(left)} may still be spent today. What is stored already is not read again.")


def at_most(handle: str, most: Estimate) -> str:
    """Say the most that reading costs."""
    return f"At most {most.posts:,} posts of @{handle} are read from X, for {dollars(most.cost)} with the look-up."


def read(result: Read, left: int, ground: Ground | None, by: str) -> RenderableType:
    """Render what reading brought and cost, and who answers for it."""
    paid = f", for {dollars(result.cost)}; {dollars(left)} may still be spent today" if result.cost else ""
    said = []
    if result.posts or not result.problems:
        said.append(f"@{result.handle}: {result.posts:,} post{'s' * (result.posts != 1)} read, {result.new:,} of them new{paid}.")
    if ground:
        said.append(f"Consent: {GROUNDS[ground]}, says {by}.")
    if result.more:
        said.append(f"Older ones are there: `mynah read {result.handle}` reads on.")
    return Group(*([Text(" ".join(said))] if said else []), *(Text(problem, style="yellow") for problem in result.problems))


def models(documents: Sequence[dict[str, Any]]) -> RenderableType:
    """Render the list of voices."""
    if not documents:
        return Text("No voice is trained yet: mynah import FILE --as HANDLE, then mynah train HANDLE.")
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("voice", "version", "posts kept", "loss before", "after", "MB", "made"):
        table.add_column(name, justify="left" if name in ("voice", "made") else "right", no_wrap=name != "voice", overflow="fold")
    for d in documents:
        version = f"{d['version']}, pinned" if d["pinned"] else str(d["version"])
        kept, before, after, size = _figures(d, 3)
        table.add_row(Text(d["name"]), version, kept, before, after, size, d["created_at"][:10])
    return table


def versions(documents: Sequence[dict[str, Any]]) -> RenderableType:
    """Render the versions of one voice or more, a table each, with a mark at those that speak."""
    tables: list[RenderableType] = []
    for voice, group in groupby(documents, key=lambda d: str(d["name"])):
        table = Table(box=None, padding=(0, 2, 0, 0), title=Text(voice, style="bold"), title_justify="left")
        for name in ("v", "speaks", "made", "posts", "loss", "MB", "method", "base"):
            fold = name == "base"
            table.add_column(name, justify="right" if name in ("v", "posts", "MB") else "left", no_wrap=not fold, overflow="fold")
        for d in group:
            mark = "pinned" if d["pinned"] else "newest" if d["current"] else ""
            kept, before, after, size = _figures(d, 2)
            figures = (d["created_at"][:10], kept, f"{before} → {after}", size, d["method"], Text(d["base"]))
            table.add_row(str(d["version"]), mark, *figures, style="bold" if d["current"] else "")
        tables += [table, Text()]
    return Group(*tables[:-1])


def _figures(document: dict[str, Any], digits: int) -> tuple[str, str, str, str]:
    """Return the posts kept, the loss before and after, and the megabytes; of an imported voice nobody measured the loss."""
    kept = sum(counts["kept"] for counts in document["counts"].values())
    loss = document["loss"]
    before, after = ("-" if loss[when] is None else f"{loss[when]:.{digits}f}" for when in ("before", "after"))
    return f"{kept:,}", before, after, f"{document['bytes'] / 1e6:.1f}"


def jobs(rows: Sequence[Job]) -> RenderableType:
    """Render the list of trainings, newest first."""
    if not rows:
        return Text("No training was asked for yet: mynah train HANDLE.")
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("job", "voice", "status", "asked by", "asked at", "why"):
        table.add_column(name)
    for job in rows:
        table.add_row(str(job.id), Text(job.voice), job.status, Text(job.requested_by), job.created_at[:16], Text(job.error or ""))
    return table


def posts(rows: Sequence[Post], reasons: Mapping[int, str], pause: Pause | None) -> RenderableType:
    """Render the outbox, newest first, below the pause that lasts and what waits for a person; `reasons` by the posts' numbers."""
    above = [Text(f"{paused(pause)} `mynah resume` lets it go on.", style="yellow")] if pause else []
    if not rows:
        return Group(*above, Text("The outbox is empty: a schedule writes drafts into it (mynah schedule add)."))
    for post in rows:
        if post.awaits_person:
            held = f" Nothing else goes to {post.destination} meanwhile." if post.status is State.FAILED else ""
            above.append(
                Text(f"Post {post.id} waits for you (mynah posts approve, edit, confirm or reject {post.id}).{held}", style="yellow")
            )
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("post", "to", "voice", "status", "text"):
        table.add_column(name)
    for post in rows:
        text = Text(post.text)
        if post.status in TOLD and reasons[post.id] != "approved":
            text.append(f"\n{reasons[post.id]}", style="yellow" if post.awaits_person else "dim")
        table.add_row(str(post.id), Text(_place(post)), Text(post.voice), post.status, text)
    return Group(*above, table)


def post(one: Post, history: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Render a post, and each change of it."""
    grid = Table.grid(padding=(0, 2))
    for change in history:
        why = Text(change["why"])
        if change["was"] is not None:
            why.append(f"\nit said: {change['was']}", style="dim")
        grid.add_row(moment(change["at"]), Text(change["status"]), Text(change["who"]), why)
    number = f", {one.x_id} there" if one.x_id else ""
    number += f", in answer to {one.in_reply_to}" if one.in_reply_to else ""
    return Group(Text(one.text, style="bold"), Text(f"post {one.id} of {one.voice} to {one.destination}{number}"), Text(""), grid)


def _place(post: Post) -> str:
    return f"X {post.account}" if post.account is not None else f"Discord {post.channel}"


def mentions(seen: Mentioned, *, on: bool) -> RenderableType:
    """Render the newest mentions with what became of each, below whether they are read, and above who is never answered again."""
    lines: list[RenderableType] = []
    if not on:
        lines.append(Text("Mentions are not read (x.mentions.on; docs/x.md says what X demands first)."))
    elif seen.poll is None:
        lines.append(Text("Mentions are read while `mynah run` runs; none was yet."))
    elif seen.poll.problem:
        lines.append(Text(f"{seen.poll.problem} Mentions are read again at {moment(seen.poll.next_at)}.", style="yellow"))
    if seen.mentions:
        table = Table(box=box.SIMPLE_HEAD)
        for name in ("mentioned at", "by", "text", "what became of it"):
            table.add_column(name, no_wrap=name == "mentioned at")
        for one in seen.mentions:
            table.add_row(moment(one.posted_at), Text(f"@{one.handle}"), Text(one.text or "(not kept)"), Text(_fate(one, seen)))
        lines.append(table)
    if seen.stops:
        lines.append(Text("Said stop, and never answered again:"))
        lines += [Text(f"  @{one.handle} ({one.author}), {moment(one.said_at)}, in post {one.mention}") for one in seen.stops]
    return Group(*(lines or [Text("Nobody has mentioned the account yet.")]))


def _fate(mention: Mention, seen: Mentioned) -> str:
    if mention.state is Fate.SEEN:
        return "is to be answered"
    if mention.state is Fate.IGNORED:
        return f"ignored: {mention.why}"
    if mention.post is None:
        return "its answer was forgotten with the voice"
    answer = seen.answers[mention.post]
    return f"{answer.status}, post {answer.id}: {answer.text}"


def findings(rows: Sequence[Finding]) -> RenderableType:
    """Render what the doctor found: what works, what does not, and what to do."""
    grid = Table.grid(padding=(0, 2))
    for finding in rows:
        mark = Text("✓", style="green") if finding.ok else Text("✗", style="red")
        grid.add_row(mark, finding.name, Text(finding.found), Text(finding.advice, style="yellow"))
    return grid


def spending(seen: Overview) -> RenderableType:
    """Render what X has cost today and this month by kind, and what the caps leave."""
    today = {one.kind: one for one in seen.today}
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("", "today", "", "this month", ""):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for one in seen.month:
        here = today.get(one.kind)
        cells = (f"{here.count:,}", dollars(here.cost)) if here else ("", "")
        table.add_row(str(one.kind).replace("_", " "), cells[0], cells[1], f"{one.count:,}", dollars(one.cost))
    spans = (("today", seen.today, seen.caps.day), ("this month", seen.month, seen.caps.month))
    said = [f"{dollars(sum(one.cost for one in spent))} of {dollars(cap)} {span}" for span, spent, cap in spans]
    lines = [Text(f"X has cost {' and '.join(said)} (UTC); {dollars(seen.left)} may still be spent today.")]
    if open_ := sum(one.open for one in seen.month):
        lines.append(Text(f"{dollars(open_)} of it is put aside for calls that are under way, or were cut off: these count in full."))
    return Group(*([table] if seen.month else []), *lines)


def schedules(rows: Sequence[Planned]) -> RenderableType:
    """Render the schedules, each with its next times."""
    if not rows:
        return Text("There is no schedule: mynah schedule add NAME VOICE --times '9:00, 18:30'.")
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("schedule", "voice, and where", "when", "next"):
        table.add_column(name, overflow="fold", no_wrap=name == "next")
    for planned in rows:
        one = planned.schedule
        where = Text("\n").join([Text(one.voice), Text(destination(one.account, one.channel))])
        table.add_row(Text(one.name), where, Text(when(one, "\n")), _next(planned, "\n"))
    return table


def schedule(planned: Planned) -> RenderableType:
    """Render all that a schedule was told, its next times, and what became of its newest ones."""
    one = planned.schedule
    facts = Table.grid(padding=(0, 2))
    for name, value in words.facts(planned).items():
        facts.add_row(name, Text(value))
    facts.add_row("next", _next(planned))
    parts: list[RenderableType] = [Text(one.name, style="bold"), facts]
    if planned.runs:
        runs = Table(box=box.SIMPLE_HEAD)
        for name in ("time", "became", "post", "why"):
            runs.add_column(name)
        for run in planned.runs:
            at = datetime.fromisoformat(run.at).astimezone(ZoneInfo(one.timezone))
            runs.add_row(f"{at:%a %Y-%m-%d %H:%M}", run.outcome, str(run.post or ""), Text(run.why))
        parts.append(runs)
    return Group(*parts)


def _next(planned: Planned, between: str = " ") -> Text:
    one = planned.schedule
    if one.paused_at:
        return Text(between.join(["paused since", moment(one.paused_at), f"by {one.paused_by}"]), style="yellow")
    return Text("\n".join(f"{at:%a %d %b %H:%M}" for at in planned.times) or "never again")
