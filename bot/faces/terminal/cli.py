"""The command line: parses, runs one action, prints the answer; exit status 0, or 1 with one sentence on stderr."""

import asyncio
import getpass
import json as json_format
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import click
import typer

from bot.app import Mynah
from bot.faces.terminal import actions, render, upkeep
from bot.faces.terminal.console import converse
from bot.faces.terminal.screen import Screen
from bot.log import configure_logging
from bot.printable import spelt
from bot.services.doctor import Finding, examine, healthy
from bot.services.scheduling import Spec
from bot.settings import Secrets, Settings, load_secrets, load_settings

cli = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Mynah learns to write like an account, and then speaks: in Discord, and on X.",
)
posts_cli = typer.Typer(help="The outbox of posts, for X and for channels: alone, it lists them.", invoke_without_command=True)
schedule_cli = typer.Typer(help="When voices write posts, for X or for channels in Discord.")
cli.add_typer(posts_cli, name="posts")
cli.add_typer(schedule_cli, name="schedule")

ConfigOption = Annotated[Path | None, typer.Option("--config", help="The configuration file; ./config.toml if there is one.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, and nothing else, on stdout.")]
HandlesArgument = Annotated[list[str], typer.Argument(help="One account, or several for a joint voice.", metavar="HANDLE...")]
HandleArgument = Annotated[str, typer.Argument(metavar="HANDLE")]
VersionOption = Annotated[int | None, typer.Option("--version", help="One of its versions; otherwise the pinned one, or the newest.")]

_config: list[Path] = []  # the --config before the command, which the one after it outranks


def _settings(config: Path | None) -> Settings:
    return load_settings(config or (_config[-1] if _config else None))


def _by() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "operator"


def _run(config: Path | None, json: bool, action: Callable[[Mynah], Awaitable[actions.Answer]]) -> actions.Answer:
    """Run one action with all parts open, print what it answers, and return it."""
    settings = _settings(config)
    secrets = _begin(settings)

    async def run() -> actions.Answer:
        async with Mynah(settings, secrets) as app:
            return await action(app)

    answer = asyncio.run(run())
    _print(answer, json)
    return answer


def _upkeep(config: Path | None, json: bool, action: Callable[[Settings], actions.Answer]) -> None:
    """Do something to the data folder as a whole, in which nothing is open, and print what it answers."""
    settings = _settings(config)
    _begin(settings)
    _print(action(settings), json)


def _begin(settings: Settings, *, service: bool = False) -> Secrets:
    """Have a command log into a file, and the service to stderr; return the secrets, which no log will hold."""
    secrets = load_secrets(settings.x.accounts)
    if not service:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    configure_logging(None if service else settings.data_dir / "mynah.log", style=settings.log.style, secrets=secrets.values())
    return secrets


def _print(answer: actions.Answer, json: bool) -> None:
    if json:
        print(spelt(json_format.dumps(answer.document, ensure_ascii=False)))
    else:
        Screen().print(answer.text, soft_wrap=True)


@cli.callback()
def main(config: ConfigOption = None) -> None:
    """Take --config before the command."""
    _config[:] = [config] if config else []


@cli.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="An X archive (zip or folder), or a JSONL, CSV or TXT file.")],
    handle: Annotated[str, typer.Option("--as", metavar="HANDLE", help="Whose posts these are.")],
    ground: Annotated[
        Literal["archive", "permission", "parody"] | None,
        typer.Option("--consent", help="Why they may be learned from; otherwise the archive where it is this account's, or a permission."),
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Store the posts of a file, and that you answer for it; importing again adds only what is new."""
    _run(config, json, lambda app: actions.import_posts(app, file, handle, _by(), ground))


@cli.command()
def read(
    handle: HandleArgument,
    posts: Annotated[int | None, typer.Option(help="So many of its newest posts are to be there; otherwise as many as X gives.")] = None,
    ground: Annotated[
        Literal["permission", "parody"] | None,
        typer.Option("--consent", help="Why they may be learned from; otherwise what was claimed before, or a permission."),
    ] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Only say what it costs at most.")] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Read what is new of an account from X, where the settings allow it, or from your source, and that you answer for it."""
    console = Screen(stderr=True)
    _run(config, json, lambda app: actions.read(app, handle, _by(), console, posts=posts, ground=ground, estimate=estimate))


@cli.command()
def consent(
    handle: HandleArgument,
    ground: Annotated[Literal["permission", "parody"] | None, typer.Option("--ground", help="Claim it on this ground.")] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show who says that an account may be learned from, or say it."""
    _run(config, json, lambda app: actions.consent(app, handle, _by(), ground))


@cli.command("opt-out")
def opt_out(
    handle: HandleArgument,
    undo: Annotated[bool, typer.Option("--undo", help="It may be stored and trained again.")] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Forget an account, and never store or train it again."""
    _run(config, json, lambda app: actions.opt_out(app, handle, _by(), undo=undo))


@cli.command()
def train(
    handles: HandlesArgument,
    start: Annotated[
        Literal["last", "base"] | None, typer.Option("--from", help="Go on from the version that speaks now, or begin with the base anew.")
    ] = None,
    ground: Annotated[
        Literal["permission", "parody"] | None,
        typer.Option("--consent", help="Where posts are read first: why they may be learned from, if nobody has claimed it; a permission."),
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Train a voice on stored posts, after reading what is new where the settings say so, and show its card."""
    console = Screen(stderr=True)
    _run(config, json, lambda app: actions.train(app, handles, _by(), console, start=actions.START[start], ground=ground))


@cli.command()
def generate(
    handles: HandlesArgument,
    author: Annotated[str, typer.Option("--as", metavar="HANDLE", help="Of a joint voice, the account as which it speaks.")] = "",
    message: Annotated[str, typer.Option("--answer", metavar="MESSAGE", help="What the lines are to answer.")] = "",
    prompt: Annotated[str, typer.Option(help="What the lines are to begin with.")] = "",
    count: Annotated[int | None, typer.Option("-n", "--count", help="How many lines.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same lines.")] = None,
    version: VersionOption = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show every candidate, its score and why it was not said.")] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Have a voice write posts."""
    _run(
        config,
        json,
        lambda app: actions.generate(
            app,
            handles,
            _by(),
            version=version,
            author=author,
            message=message,
            prompt=prompt,
            count=count,
            seed=seed,
            explain=explain,
            console=Screen(stderr=True),
        ),
    )


@cli.command()
def models(
    handles: Annotated[list[str] | None, typer.Argument(help="Whose voice; all of them otherwise.", metavar="HANDLE...")] = None,
    versions: Annotated[bool, typer.Option("--versions", help="Every version, with a mark at the one that speaks.")] = False,
    search: Annotated[str, typer.Option("--search", help="Only those whose name holds this.", metavar="TEXT")] = "",
    page: Annotated[int, typer.Option("--page", help="Which fifty of them, from 1.")] = 1,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List the voices that are trained."""
    _run(config, json, lambda app: actions.models(app, handles or (), versions=versions, search=search, page=page))


@cli.command()
def show(
    handles: HandlesArgument,
    full: Annotated[bool, typer.Option("--all", help="Everything that is needed to make it again.")] = False,
    version: VersionOption = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show a voice's card and draw its curve."""
    _run(config, json, lambda app: actions.show(app, handles, version=version, full=full))


@cli.command()
def card(
    handle: HandleArgument,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Where to; otherwise a folder of its own in the data folder.")
    ] = None,
    html: Annotated[bool, typer.Option("--html", help="A page for browsers too, in one file.")] = False,
    prompt: Annotated[str | None, typer.Option(help="What its lines begin with; otherwise what config.toml says.")] = None,
    names: Annotated[list[str] | None, typer.Option("--name", metavar="HANDLE=NAME", help="What an account calls itself.")] = None,
    avatars: Annotated[list[str] | None, typer.Option("--avatar", metavar="HANDLE=FILE", help="An account's picture.")] = None,
    version: VersionOption = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Write a voice's model card and pictures into a folder."""
    _run(
        config,
        json,
        lambda app: actions.card(app, handle, folder, html=html, prompt=prompt, names=names or (), avatars=avatars or (), version=version),
    )


@cli.command()
def lineage(handles: HandlesArgument, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show where a voice comes from: its posts' sources, corpora, trainings, versions, cards and exports, with their hashes."""
    _run(config, json, lambda app: actions.lineage(app, handles))


@cli.command()
def verify(
    handles: Annotated[list[str] | None, typer.Argument(help="Whose voice; all that is stored otherwise.", metavar="HANDLE...")] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Make all hashes of the lineage anew, and say what differs; exit status 1 if something does."""
    if not _run(config, json, lambda app: actions.verify(app, handles or ())).document["ok"]:
        raise typer.Exit(1)


@cli.command()
def pin(
    handle: HandleArgument,
    version: Annotated[int, typer.Argument(metavar="VERSION")],
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Have a voice speak with one version, whatever is trained later."""
    _run(config, json, lambda app: actions.pin(app, handle, version))


@cli.command()
def unpin(handle: HandleArgument, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Have a voice speak with its newest version again."""
    _run(config, json, lambda app: actions.unpin(app, handle))


@cli.command()
def jobs(json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the trainings, newest first."""
    _run(config, json, actions.jobs)


@cli.command()
def cancel(job: Annotated[int, typer.Argument(metavar="JOB")], json: JsonOption = False, config: ConfigOption = None) -> None:
    """Cancel a training."""
    _run(config, json, lambda app: actions.cancel(app, job, _by()))


@cli.command()
def forget(handle: HandleArgument, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Delete an account's posts and every voice, version and line made of them."""
    _run(config, json, lambda app: actions.forget(app, handle, _by()))


@cli.command()
def pause(
    why: Annotated[str, typer.Option(help="The reason, for the record.")] = "",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Stop all posting at once: nothing goes to X and no schedule fires, across restarts, until `mynah resume`."""
    _run(config, json, lambda app: actions.pause(app, _by(), why))


@cli.command()
def resume(json: JsonOption = False, config: ConfigOption = None) -> None:
    """Let posting go on."""
    _run(config, json, lambda app: actions.resume(app, _by()))


@cli.command()
def spend(json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show what X has cost this UTC day and month, by kind, and what the caps leave."""
    _run(config, json, actions.spend)


@cli.command()
def export(
    handle: HandleArgument,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is not there yet, or is empty.")],
    version: VersionOption = None,
    adapter: Annotated[bool, typer.Option("--adapter", help="The adapter alone, as peft takes it, and not the whole model.")] = False,
    push: Annotated[str, typer.Option("--push", metavar="OWNER/NAME", help="Upload it into this private repository of the hub.")] = "",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Write a voice as a Hugging Face model, which needs nothing of Mynah."""
    _run(config, json, lambda app: actions.export(app, handle, folder, version=version, adapter=adapter, push=push))


@cli.command("import-model")
def import_model(
    source: Annotated[str, typer.Argument(metavar="DIR_OR_NAME", help="A model's folder, or its name on the hub.")],
    handle: Annotated[str, typer.Option("--as", metavar="HANDLE", help="Whose posts it learned from; a-b of a joint one.")],
    ground: Annotated[
        Literal["permission", "parody"] | None, typer.Option("--consent", help="Claim that it may be used, on this ground.")
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Make a voice of a huggingtweets model, of an exported one, or of a LoRA of a known base."""
    _run(config, json, lambda app: actions.import_model(app, source, handle, _by(), ground))


PostArgument = Annotated[int, typer.Argument(metavar="POST", min=1, max=2**63 - 1)]


@cli.command()
def mentions(json: JsonOption = False, config: ConfigOption = None) -> None:
    """List who mentioned the account on X that answers, what became of it, and who is never answered again."""
    _run(config, json, actions.mentions)


@posts_cli.callback()
def posts(context: typer.Context, json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the outbox, newest first, unless a command says what to do with a post."""
    if context.invoked_subcommand is None:
        _run(config, json, actions.posts)
    elif config:
        _config[:] = [config]


@posts_cli.command()
def approve(post: PostArgument, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Let a draft be sent (or one that failed, or that you looked for on X and did not find)."""
    _run(config, json, lambda app: actions.decide(app, "approve", post, _by()))


@posts_cli.command()
def reject(
    post: PostArgument,
    why: Annotated[str, typer.Option(help="The reason, for the record.")] = "",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Keep a post from being sent."""
    _run(config, json, lambda app: actions.decide(app, "reject", post, _by(), why))


@posts_cli.command()
def confirm(post: PostArgument, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Record that a post nobody was sure of is on X."""
    _run(config, json, lambda app: actions.decide(app, "confirm", post, _by()))


@posts_cli.command("show")
def show_post(post: PostArgument, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show a post, and what became of it: when, by whom and why."""
    _run(config, json, lambda app: actions.post(app, post))


@posts_cli.command("edit")
def edit_post(
    post: PostArgument,
    text: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="What it says from now on; left out, $EDITOR asks for it.")] = None,
    approve: Annotated[bool, typer.Option("--approve", help="Let it be sent; otherwise it is a draft again.")] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Change the text of a post that is not on its way."""
    _run(config, json, lambda app: actions.edit_post(app, post, _by(), (lambda _: text) if text is not None else _edited, approve=approve))


def _edited(text: str) -> str | None:
    """Have a person edit a text; None: he did not."""
    return click.edit(text)


NameArgument = Annotated[str, typer.Argument(metavar="NAME")]


@schedule_cli.command("add")
def schedule_add(
    name: NameArgument,
    voice: Annotated[str, typer.Argument(metavar="VOICE")],
    every: Annotated[str | None, typer.Option(help="90s, 30m, 6h or 1d, counted from now.")] = None,
    times: Annotated[str | None, typer.Option(help="Times of the day: '9:00, 18:30'; 'mon-fri 9am, sat 10:30'.")] = None,
    cron: Annotated[str | None, typer.Option(help="Five fields: '0 9 * * 1-5' is nine o'clock on weekdays.")] = None,
    timezone: Annotated[str, typer.Option(help="Such as Europe/Madrid.")] = "UTC",
    jitter: Annotated[str, typer.Option(help="A span, such as 20m, within which each post comes later, by chance.")] = "",
    quiet: Annotated[str, typer.Option(help="Hours such as 22:00-07:00; times in them are left out.")] = "",
    max_a_day: Annotated[int | None, typer.Option(help="At most so many drafts on a day of its time zone.")] = None,
    account: Annotated[str | None, typer.Option(help="The X account that posts, as config.toml names it.")] = None,
    channel: Annotated[int | None, typer.Option(help="The id of a channel in Discord, in the place of X.")] = None,
    prompt: Annotated[str, typer.Option(help="What the posts are to begin with.")] = "",
    creativity: Annotated[float | None, typer.Option(help="0 to 2, as temperature in config.toml.")] = None,
    missed: Annotated[
        Literal["once", "skip"], typer.Option(help="Whether the newest of the times that were missed is made up once, or none is.")
    ] = "once",
    grace: Annotated[str, typer.Option(help="How long after its time it is made up.")] = "1h",
    ahead: Annotated[str | None, typer.Option(help="How long before its time a draft is written; otherwise as config.toml says.")] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Have a voice write drafts at set times: give one of --every, --times and --cron."""
    spec = Spec(
        every=every,
        cron=cron,
        times=times,
        timezone=timezone,
        jitter=jitter,
        quiet=quiet,
        max_a_day=max_a_day,
        account=account,
        channel=channel,
        prompt=prompt,
        creativity=creativity,
        missed=missed,
        grace=grace,
        ahead=ahead,
    )
    _run(config, json, lambda app: actions.add_schedule(app, name, voice, _by(), spec))


@schedule_cli.command("list")
def schedule_list(json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the schedules, each with its next three times."""
    _run(config, json, actions.schedules)


@schedule_cli.command("show")
def schedule_show(name: NameArgument, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show all that a schedule was told, and what became of its last ten times."""
    _run(config, json, lambda app: actions.show_schedule(app, name))


@schedule_cli.command("pause")
def schedule_pause(name: NameArgument, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Stop one schedule until it is resumed; what it has written stays (`mynah pause` stops all posting)."""
    _run(config, json, lambda app: actions.pause_schedule(app, name, _by()))


@schedule_cli.command("resume")
def schedule_resume(name: NameArgument, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Let a schedule go on; what fell into its pause is not made up."""
    _run(config, json, lambda app: actions.resume_schedule(app, name, _by()))


@schedule_cli.command("run")
def schedule_run(name: NameArgument, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Have a schedule write a draft now, besides its times."""
    _run(config, json, lambda app: actions.run_schedule(app, name, _by()))


@schedule_cli.command("remove")
def schedule_remove(name: NameArgument, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Delete a schedule; its posts stay."""
    _run(config, json, lambda app: actions.remove_schedule(app, name))


@cli.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that is not there yet.")],
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Write all that Mynah knows into one file, and prove it; the service may go on meanwhile. X's OAuth 2.0 tokens are not in it."""
    _upkeep(config, json, lambda settings: upkeep.backup(settings, file))


@cli.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `mynah backup` wrote.")],
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Put a backup in the place of the database, which stays beside it; the service must be stopped."""
    _upkeep(config, json, lambda settings: upkeep.restore(settings, file))


@cli.command()
def gc(
    dry: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Remove what is needed no more: old versions, old lines, caches, and what killed processes left."""
    _run(config, json, lambda app: upkeep.collect(app, dry=dry))


@cli.command()
def web(json: JsonOption = False, config: ConfigOption = None) -> None:
    """Print the address of your page, with the token that opens it; `mynah run` serves it where web.port is set."""
    _upkeep(config, json, upkeep.page)


@cli.command()
def doctor(
    profiles: Annotated[
        bool, typer.Option("--x", help="Ask X for the profile of each account, too; it is paid for, a user read each.")
    ] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Read all of the database, and start what trainings stand on.")] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Say what works, what is missing, and what to do about it."""
    settings = _settings(config)
    findings = examine(settings, load_secrets(settings.x.accounts), deep=deep)
    if profiles:
        findings += _profiles(settings)
    if json:
        print(json_format.dumps({"ok": healthy(findings), "checks": [asdict(finding) for finding in findings]}))
    else:
        Screen().print(render.findings(findings))
    if not healthy(findings):
        raise typer.Exit(1)


def _profiles(settings: Settings) -> list[Finding]:
    from bot.x.profiles import examine_profiles  # tweepy is slow to import

    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def run() -> list[Finding]:
        async with Mynah(settings, load_secrets(settings.x.accounts)) as app:
            return await examine_profiles(settings, app.secrets, app.budget)

    return asyncio.run(run())


@cli.command()
def console(config: ConfigOption = None) -> None:
    """Take the main Discord commands here, and some more, with the prefix that they have there."""
    settings = _settings(config)
    asyncio.run(converse(settings, _begin(settings), _by()))


@cli.command()
def run(config: ConfigOption = None) -> None:
    """Run the service: Discord, and the schedules for X, until it is told to stop."""
    from bot.serve import serve  # discord.py takes half a second to import, which no other command should wait for

    settings = _settings(config)
    asyncio.run(serve(settings, _begin(settings, service=True)))
