"""The question before a training: what it learns from, on whose word, how long it takes; its buttons outlive the process."""

import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import discord

from bot.app import Mynah
from bot.errors import BadRequestError, ConsentError
from bot.faces.discord.buttons import Pressed, as_seen
from bot.faces.discord.context import origin, signature
from bot.faces.discord.following import follow
from bot.faces.discord.language import tr
from bot.faces.discord.render import duration
from bot.faces.discord.text import MESSAGE, cut, plural, safe, sentence, who
from bot.faces.words import GROUNDS
from bot.services.importing import import_file
from bot.services.preparing import Prepared, prepare
from data import accounts, askings, consents, counting
from data.askings import Asking
from data.consents import Ground
from data.handles import normalise_handle, normalise_handles
from data.spending import dollars
from data.store import stamp

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

KEPT = timedelta(days=1)
BRINGING = timedelta(minutes=10)
"""A file that came so lately may be about to get its question."""
NO_GROUND = "The operator takes archives alone whose account.js names the account: attach the account's own."
CLAIMS = {
    Ground.ARCHIVE: "It is my own account: this is its archive",
    Ground.PERMISSION: "I have the written permission of who wrote it",
    Ground.PARODY: "A public figure's public posts, for a parody",
}


async def question(app: Mynah, number: int, asking: Asking, user: discord.abc.User) -> tuple[str, discord.ui.View]:
    """Return the question to a member, and what answers it.

    Raises:
        MynahError: it cannot be trained; the text says why.
    """
    file = Path(asking.file) if asking.file else None
    reads = app.reading.on and file is None
    names = asking.handles.split()
    prepared = await prepare(
        app.store, app.settings, names, by=signature(user), file=file, base=asking.base, posts=asking.posts, reads=reads
    )
    open_ = asking.ground is None and bool(prepared.missing or file)
    if open_ and not prepared.grounds:
        raise ConsentError(NO_GROUND)
    view = discord.ui.View(timeout=None)
    if open_:
        view.add_item(GroundSelect(number, prepared.grounds))
    view.add_item(TrainButton("yes", number, ready=not open_))
    view.add_item(TrainButton("no", number))
    cost = await _cost(app, asking, len(prepared.handles)) if reads else tr("Nothing is read from X, so it costs nothing.")
    return cut("\n".join(_lines(app, asking, prepared, file, cost, open_=open_)), MESSAGE), view


async def _cost(app: Mynah, asking: Asking, accounts: int) -> str:
    """Say what would be read before it is learned from, and what that costs at most."""
    if not app.reading.from_x:
        return tr("What the operator's own source has of it is read first, and costs nothing.")
    most = app.reading.estimate(asking.posts or app.settings.trainer.max_posts, accounts=accounts)
    left = await app.budget.left_to_read()
    return tr(
        f"What is new on X is read first: at most {most.posts:,} posts, for at most {dollars(most.cost)};"
        f" {dollars(left)} may still be spent today."
    )


def _lines(app: Mynah, asking: Asking, prepared: Prepared, file: Path | None, cost: str, *, open_: bool) -> list[str]:
    trainer = app.settings.trainer
    most = asking.posts or trainer.max_posts
    lines = [tr(f"Train **{safe('-'.join(prepared.handles))}** on {safe(asking.base or trainer.base, 100)}?")]
    for handle, kept in prepared.kept.items():
        used = tr(f", of which the newest {most:,} are learned from") if kept > most else ""
        lines.append(f"• {safe('@' + handle)}: {plural(kept, 'usable post')}{used}")
    source = tr(f"`{file.name}`, {plural(prepared.new, 'post')} of it new") if file else tr("what is stored")
    lines.append(f"{tr(f'• Source: {source}.')} {cost}")
    known = tr(
        f"about {duration(prepared.seconds)}, as the last ones took here"
        if prepared.seconds
        else "not known before the first training here"
    )
    lines.append(tr(f"• Time: {known}."))
    for handle, claims in prepared.claims.items():
        said = [tr(f"{GROUNDS[one.ground]}, says {who(one.claimed_by)}") for one in claims]
        lines += [tr(f"• Consent of {safe('@' + handle)}: {'; '.join(said)}.")] if said else []
    if open_:
        lines.append(tr("• Consent: choose on what ground you claim it. It is written down under your name."))
    elif asking.ground:
        lines.append(tr(f"• Consent: you claim it; the ground is {GROUNDS[asking.ground]}."))
    return [*lines, *(f"⚠ {sentence(warning)}" for warning in prepared.warnings)]


class GroundSelect(Pressed, discord.ui.DynamicItem[discord.ui.Select[Any]], template=r"mynah:ground:(?P<asking>\d{1,18})"):
    """The choice of the ground on which consent is claimed."""

    def __init__(self, asking: int, grounds: tuple[Ground, ...] = tuple(Ground)) -> None:
        options = [discord.SelectOption(label=tr(CLAIMS[ground]), value=ground) for ground in grounds]
        super().__init__(
            discord.ui.Select(placeholder=tr("Why may it be learned from?"), options=options, custom_id=f"mynah:ground:{asking}")
        )
        self.asking = asking

    async def pressed(self, bot: "MynahBot", interaction: discord.Interaction[Any]) -> None:
        """Write the ground down, and let the question be answered with yes."""
        await _own(bot.app, self.asking, interaction.user)
        await interaction.response.defer()
        asking = await bot.app.store.write(askings.choose, self.asking, Ground(self.item.values[0]))
        as_seen(interaction)
        content, view = await question(bot.app, self.asking, asking, interaction.user)
        await interaction.edit_original_response(content=content, view=view)


class TrainButton(Pressed, discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"mynah:train:(?P<choice>yes|no):(?P<asking>\d{1,18})"):
    """One of the two buttons under the question."""

    def __init__(self, choice: str, asking: int, *, ready: bool = True) -> None:
        style = discord.ButtonStyle.success if choice == "yes" else discord.ButtonStyle.secondary
        label = tr("Train" if choice == "yes" else "Never mind")
        super().__init__(discord.ui.Button(label=label, style=style, disabled=not ready, custom_id=f"mynah:train:{choice}:{asking}"))
        self.choice = choice
        self.asking = asking

    async def pressed(self, bot: "MynahBot", interaction: discord.Interaction[Any]) -> None:
        """Train, or do not; the question is settled once."""
        await _own(bot.app, self.asking, interaction.user)
        if self.choice == "no":
            await settle(bot.app, self.asking)
            as_seen(interaction)
            await interaction.response.edit_message(content=tr("Nothing was trained."), view=None)
        else:
            await interaction.response.defer()
            await _train(bot, interaction, self.asking)


async def _train(bot: "MynahBot", interaction: discord.Interaction[Any], number: int) -> None:
    """Import what was brought, claim the consent, ask for the training, and have it followed.

    Each can be done twice without harm, so the question is settled last: whoever is refused, or cut off, may press again.
    """
    app = bot.app
    asking = await app.store.read(askings.get, number)
    by, names = signature(interaction.user), asking.handles.split()
    where = origin(interaction.user, interaction.guild)
    room = await app.training.room(where)  # where there is none, the training may still be one that was asked for already
    if asking.file:
        if room:
            await import_file(app.store, app.settings, Path(asking.file), names[0], by=by, ground=asking.ground, trusted=False)
        elif normalise_handle(names[0]) not in await app.store.read(accounts.known_handles):
            await app.training.need_room(where)  # raises
    else:
        if app.reading.on and room:
            await _read(app, interaction, asking, by)
        if asking.ground:
            stored = await app.store.read(accounts.known_handles)
            for name in filter(stored.__contains__, normalise_handles(names)):
                await app.store.write(consents.claim, name, asking.ground, by)
    wanted = await app.training.request(names, by=by, origin=where, base=asking.base, posts=asking.posts)
    await follow(app, wanted, interaction)
    await settle(app, number)


async def _read(app: Mynah, interaction: discord.Interaction[Any], asking: Asking, by: str) -> None:
    """Read what is new of the accounts, and tell whoever pressed what it brought and cost."""
    posts = asking.posts or app.settings.trainer.max_posts
    read = await app.reading.refresh(asking.handles.split(), by=by, ground=asking.ground, posts=posts)
    said = [
        tr(f"{safe('@' + one.handle)}: {plural(one.posts, 'post')} read, {one.new:,} of them new, for {dollars(one.cost)}.")
        for one in read
        if one.posts or not one.problems
    ]
    problems = [sentence(problem) for one in read for problem in one.problems]
    await interaction.followup.send(cut("\n".join([*said, *problems]), MESSAGE), ephemeral=True)


async def _own(app: Mynah, number: int, user: discord.abc.User) -> Asking:
    """Return what was asked, if it was asked by this member.

    Raises:
        BadRequestError: it was somebody else.
        NotStoredError: it was settled, or is too long ago.
    """
    asking = await app.store.read(askings.get, number)
    if asking.member != user.id:
        raise BadRequestError("That question was not asked of you.")
    return asking


async def expire(app: Mynah) -> None:
    """Let go of the questions that nobody answered for a day, of every file that no question waits with, and of quotas' old counts."""
    await app.store.write(counting.let_go)
    before = stamp(datetime.now(UTC) - KEPT)
    kept = {file.parent for file in await app.store.write(askings.expire, before)}
    uploads = app.settings.data_dir / "uploads"
    found = await asyncio.to_thread(lambda: [(folder, folder.stat().st_mtime) for folder in uploads.glob("*")])
    for folder, changed in found:
        if folder not in kept and changed < (datetime.now(UTC) - BRINGING).timestamp():
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def settle(app: Mynah, number: int) -> None:
    """Take a question back, with the file that was brought for it."""
    asking = await app.store.write(askings.settle, number)
    if asking.file:
        await asyncio.to_thread(shutil.rmtree, Path(asking.file).parent, ignore_errors=True)
