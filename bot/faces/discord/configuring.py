"""A server's settings, in one private message: a menu of what to change opens the menu or the form that changes it."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import discord
from discord.ext import commands

from bot.errors import BadRequestError
from bot.faces.discord.buttons import Anywhere, as_seen
from bot.faces.discord.context import Context, hybrid, moderated, signature
from bot.faces.discord.forms import take_in
from bot.faces.discord.installs import for_moderators
from bot.faces.discord.language import tr
from bot.faces.discord.text import MESSAGE, cut, moment, who
from bot.services.profanity import LEVELS
from bot.settings import Quotas, Settings
from data import servers
from data.servers import ServerSettings

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

REFUSAL = "Settings are for members with the permission Manage Server."
FORM = "mynah:numbers"
CHOSEN = 25  # channels or roles: as many as one menu takes
CHANGES = 3  # shown
NAMED = 8  # channels or roles, in a line
KINDS = [  # not media channels: Discord's own description of a menu knows none
    discord.ChannelType.text,
    discord.ChannelType.news,
    discord.ChannelType.forum,
    discord.ChannelType.voice,
    discord.ChannelType.stage_voice,
]
LABELS = {
    "channels": "Channels",
    "train_roles": "Who may train",
    "post_roles": "Who may send to X",
    "numbers": "Quotas and answer chance",
    "prefix_commands": "Typed commands",
    "language": "Language of what all can see",
    "profanity": "Profanity",
}
NUMBERS = {
    "trainings_a_day": "Trainings a day, a member",
    "trainings_a_day_server": "Trainings a day, all members together",
    "lines_a_minute": "Lines a minute, a member",
    "answer_chance": "Answer chance",
}
LANGUAGES = {"auto": "As Discord has it for this server", "en": "English", "ja": "日本語"}
PROFANITY = {"any": "All may be said", "mild": "No slurs", "none": "No swearing at all"}
AS_SET = "operator"  # the value of a menu that stands for None


class Configuring(commands.Cog):
    """Setting how Mynah behaves in a server."""

    def __init__(self, bot: "MynahBot") -> None:
        self.bot = bot
        self.app = bot.app

    @hybrid()
    @for_moderators
    async def settings(self, ctx: Context) -> None:
        """Show and change how I behave in this server."""
        await ctx.begin("Looking at the settings …", private=True)
        await ctx.ask(await _page(self.bot, moderated(ctx, REFUSAL)), _menus())

    @commands.Cog.listener()
    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        """Take the form of numbers in."""
        await take_in(interaction, re.compile(FORM), self._take, anywhere=True)

    async def _take(self, interaction: discord.Interaction[Any], form: re.Match[str], typed: dict[str, str]) -> None:
        del form
        await _apply(self.bot, interaction, _numbers(typed, self.app.settings.quotas))


class SettingMenu(Anywhere, discord.ui.DynamicItem[discord.ui.Select[Any]], template=r"mynah:setting"):
    """The menu of what to change."""

    def __init__(self, chosen: str = "") -> None:
        options = [discord.SelectOption(label=tr(label), value=name, default=name == chosen) for name, label in LABELS.items()]
        super().__init__(discord.ui.Select(placeholder=tr("What to change"), options=options, custom_id="mynah:setting"))

    async def pressed(self, bot: "MynahBot", interaction: discord.Interaction[Any]) -> None:
        """Open the menu or the form that changes it."""
        guild = moderated(interaction, REFUSAL)
        (name,) = self.item.values
        settings = await bot.app.store.read(servers.get, guild.id)
        if name == "numbers":
            await interaction.response.send_modal(_form(settings, bot.app.settings.quotas))
            return
        as_seen(interaction)
        view = _menus(name, _select(name, guild, settings, bot.app.settings))
        await interaction.response.edit_message(content=await _page(bot, guild), view=view)


class ValueMenu(Anywhere, discord.ui.DynamicItem[discord.ui.Item[Any]], template=r"mynah:set:(?P<name>[a-z_]{1,30})"):
    """The menu that changes one setting."""

    def __init__(self, name: str, item: discord.ui.Item[Any]) -> None:
        super().__init__(item)
        self.name = name

    @classmethod
    async def from_custom_id(cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /) -> Self:
        """Make it anew from the id of a choice that was made."""
        del interaction
        return cls(match["name"], item)

    async def pressed(self, bot: "MynahBot", interaction: discord.Interaction[Any]) -> None:
        """Change the setting."""
        data: Any = interaction.data  # in which roles and channels are ids, whatever kind of menu it is
        await _apply(bot, interaction, {self.name: _value(self.name, data["values"], bot.app.settings)})


async def _apply(bot: "MynahBot", interaction: discord.Interaction[Any], wanted: dict[str, Any]) -> None:
    """Write changes down, and confirm them in the message of the menu."""
    guild = moderated(interaction, REFUSAL)
    await bot.app.store.write(servers.change, guild.id, signature(interaction.user), **wanted)
    as_seen(interaction)
    await interaction.response.edit_message(content=await _page(bot, guild), view=_menus())


def _value(name: str, chosen: list[str], operator: Settings) -> Any:
    """Return what a menu's choice stands for.

    Raises:
        BadRequestError: it is laxer than the operator allows.
    """
    if name in servers.LISTS:
        return tuple(sorted(map(int, chosen)))
    (value,) = chosen
    if name == "prefix_commands":
        return value == "on"
    if value in LEVELS and value not in _levels(operator):
        raise BadRequestError("The operator does not allow that much: choose a stricter level.")
    return None if value == AS_SET else value


def _levels(operator: Settings) -> tuple[str, ...]:
    """Return the levels of profanity that a server may choose from: the operator's, and what is stricter."""
    return LEVELS[LEVELS.index(operator.safety.profanity) :]


# --------------------------------------------------------------------- numbers


def _form(settings: ServerSettings, operator: Quotas) -> discord.ui.Modal:
    """Return the form of numbers, filled in with those that are set."""
    form = discord.ui.Modal(title=tr(LABELS["numbers"]), custom_id=FORM)
    for name, label in NUMBERS.items():
        value, most = getattr(settings, name), getattr(operator, name, None)
        if value is not None and most is not None:  # lowered since it was set here
            value = min(value, most)
        about = "How often I answer unasked where I have a voice, 0 to 1" if most is None else f"Empty: {most}, which is the most"
        field: discord.ui.TextInput[Any] = discord.ui.TextInput(
            custom_id=name, required=False, max_length=8, default=None if value is None else f"{value:g}"
        )
        form.add_item(discord.ui.Label(text=tr(label), description=tr(about), component=field))
    return form


def _numbers(typed: dict[str, str], operator: Quotas) -> dict[str, Any]:
    """Return the form's numbers as settings.

    Raises:
        BadRequestError: one cannot be read, or is beyond its bounds.
    """
    found: dict[str, Any] = {}
    for name, text in ((name, typed[name].strip()) for name in NUMBERS if name in typed):
        if name == "answer_chance":
            found[name] = _chance(text)
            continue
        most, least = getattr(operator, name), 1 if name == "lines_a_minute" else 0
        if text and not (re.fullmatch(r"[0-9]+", text) and least <= int(text) <= most):
            raise BadRequestError(f"{NUMBERS[name]}: type a whole number from {least} to {most}, which is the operator's, or nothing.")
        found[name] = int(text) if text else None
    return found


def _chance(text: str) -> float:
    """Return a chance that was typed, as `0.25` or `25%`; nothing is 0."""
    number = re.fullmatch(r"([0-9]*[.,]?[0-9]+)\s*(%?)", text or "0")
    chance = float(number[1].replace(",", ".")) / (100 if number[2] else 1) if number else -1.0
    if not 0 <= chance <= 1:
        raise BadRequestError("Answer chance: type a number from 0 to 1, as in 0.25, or nothing.")
    return chance


# ----------------------------------------------------------------------- shown


def _menus(chosen: str = "", select: discord.ui.Item[Any] | None = None) -> discord.ui.View:
    """Return the menu of what to change and, below it, the one that changes what was chosen."""
    view = discord.ui.View(timeout=None)
    view.add_item(SettingMenu(chosen))
    if select is not None:
        view.add_item(ValueMenu(chosen, select))
    return view


def _select(name: str, guild: discord.Guild, settings: ServerSettings, operator: Settings) -> discord.ui.Item[Any]:
    """Return the menu that changes a setting, with what is set chosen in it."""
    value, custom_id = getattr(settings, name), f"mynah:set:{name}"
    match name:
        case "channels":
            # Discord refuses a menu in which something is chosen that is gone.
            there = [discord.SelectDefaultValue.from_channel(channel) for number in value if (channel := guild.get_channel(number))]
            return discord.ui.ChannelSelect(
                placeholder=tr("None: all channels"),
                channel_types=KINDS,
                min_values=0,
                max_values=CHOSEN,
                default_values=there,
                custom_id=custom_id,
            )
        case "train_roles" | "post_roles":
            roles = [discord.SelectDefaultValue.from_role(role) for number in value if (role := guild.get_role(number))]
            nobody = "None: everybody" if name == "train_roles" else "None: members who may Manage Server"
            return discord.ui.RoleSelect(placeholder=tr(nobody), min_values=0, max_values=CHOSEN, default_values=roles, custom_id=custom_id)
        case "prefix_commands":
            choices, value = {"on": "On", "off": "Off"}, "on" if value else "off"
        case "language":
            choices = LANGUAGES
        case _:
            choices = {AS_SET: _as_operator(operator)} | {level: PROFANITY[level] for level in _levels(operator)}
    options = [discord.SelectOption(label=tr(label), value=key, default=key == (value or AS_SET)) for key, label in choices.items()]
    return discord.ui.Select(options=options, custom_id=custom_id)


def _as_operator(operator: Settings) -> str:
    return tr(f"As the operator set it: {PROFANITY[operator.safety.profanity]}")


async def _page(bot: "MynahBot", guild: discord.Guild) -> str:
    """Return the message's text: every setting, and who changed what last."""
    settings = await bot.app.store.read(servers.get, guild.id)
    changes = await bot.app.store.read(servers.changes, guild.id, CHANGES)
    labels = LABELS | NUMBERS
    order = [name for label in LABELS for name in (NUMBERS if label == "numbers" else (label,))]  # as the menu has them
    lines = [f"**{tr(labels[name])}**: {_shown(name, getattr(settings, name), bot.app.settings)}" for name in order]
    for change in changes:
        value = _shown(change.name, change.value, bot.app.settings)
        lines.append(tr(f"-# {who(change.changed_by)} set {labels[change.name]} on {moment(change.created_at)} UTC: {value}"))
    return cut("\n".join(lines), MESSAGE)


def _shown(name: str, value: Any, operator: Settings) -> str:
    """Return a setting's value in words."""
    match name:
        case "channels":
            return _named("#", value) or tr("all")
        case "train_roles" | "post_roles":
            nobody = "everybody" if name == "train_roles" else "members with the permission Manage Server"
            return _named("@&", value) or tr(nobody)
        case "prefix_commands":
            return tr(f"`{operator.discord.prefix}` is obeyed" if value else "off, slash commands alone")
        case "answer_chance":
            return tr(f"{100 * value:g}% of all messages in channels that have a voice" if value else "I speak only when asked")
        case "language":
            return tr(LANGUAGES[value])
        case "profanity":
            return tr(PROFANITY[value]) if value else _as_operator(operator)
    most: int = getattr(operator.quotas, name)
    return tr(f"{most}, the operator's") if value is None else str(min(value, most))


def _named(sign: str, ids: Sequence[int]) -> str:
    """Return channels or roles as Discord shows their names, not more than a message has room for."""
    more = tr(f" and {len(ids) - NAMED} more") if len(ids) > NAMED else ""
    return ", ".join(f"<{sign}{number}>" for number in ids[:NAMED]) + more
