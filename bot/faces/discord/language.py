"""The languages of Mynah's own words: a sentence is made in English, and looked up whole in a catalogue of patterns when it is said."""

import re
import tomllib
from contextvars import ContextVar
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import discord
from discord import app_commands

from data.servers import ServerSettings

ENGLISH = "en"
LOCALES = {
    discord.Locale.american_english: ENGLISH,
    discord.Locale.british_english: ENGLISH,
    discord.Locale.japanese: "ja",
}
"""Those of Discord's locales whose language is spoken here."""
DEPTH = 4
_PLACE = re.compile(r"\{(\w+)(:words|:list)?\}")
_BETWEEN = re.compile(" or |; ")
_NAMES = (
    app_commands.TranslationContextLocation.command_name,
    app_commands.TranslationContextLocation.group_name,
    app_commands.TranslationContextLocation.parameter_name,
)


class Heard(NamedTuple):
    """Who hears what is said in this task."""

    reader: str = ENGLISH
    """The language of whoever is answered."""
    room: str = ENGLISH
    """That of what all can see."""
    aloud: bool = False
    """Whether the next words are for all."""


_heard: ContextVar[Heard] = ContextVar("heard", default=Heard())  # noqa: B039 - a tuple, which nothing changes


class Catalogue:
    """The sentences of one language.

    An entry's key is a sentence with `{names}` where values stand; a value is carried over as it is, one marked `{name:words}` is
    itself looked up, since it is Mynah's words too, and in one marked `{name:list}` a comma stands for what English has between pieces.
    """

    def __init__(self, entries: dict[str, str]) -> None:
        self._whole = {english: own for english, own in entries.items() if not _PLACE.search(english)}
        # A whole sentence before a phrase, whose last value could be the rest of a sentence; then the most particular one.
        rank = {english: (not english.endswith((".", "?", "…")), -len(_PLACE.sub("", english))) for english in entries}
        patterns = sorted((english for english in entries if english not in self._whole), key=rank.__getitem__)
        self._patterns = [(_PLACE.split(english)[::3], _PLACE.split(english)[1::3], entries[english]) for english in patterns]

    def find(self, text: str, depth: int = DEPTH) -> str | None:
        """Return a text in this language; None: it has no entry. Words within words are looked up `depth` levels deep."""
        if text in self._whole:
            return self._whole[text]
        for fixed, names, own in self._patterns:
            if values := _between(fixed, text):
                return _PLACE.sub(partial(self._value, dict(zip(names, values, strict=True)), depth), own)
        return self._joined(text, depth)

    def _joined(self, text: str, depth: int) -> str | None:
        """Return two sentences of which a semicolon makes one; None: one of them has no entry, so it may be a person's."""
        first, _, second = text.removesuffix(".").rpartition("; ")
        if not depth or not first or (after := self._within(second, depth - 1)) is None:
            return None
        before = self._within(first, depth - 1)
        return None if before is None else f"{before}。{after}。"

    def _within(self, text: str, depth: int) -> str | None:
        """Return words that stand in a sentence, where one that is whole elsewhere has no full stop; None: they have no entry."""
        found = self.find(text, depth)
        if found is None and (whole := self.find(f"{text}.", depth)) is not None:
            found = whole.removesuffix("。")
        return found

    def _value(self, values: dict[str, str], depth: int, place: re.Match[str]) -> str:
        """Return a value as a sentence takes it; Mynah's own words may be several, with commas between."""
        value = values[place[1]]
        if place[2] == ":list":
            return _BETWEEN.sub("、", value)
        if not place[2] or not depth:
            return value
        pieces = [self.find(piece, depth - 1) for piece in value.split(", ")]
        found = [piece for piece in pieces if piece is not None]
        return "、".join(found) if len(found) == len(pieces) else self._within(value, depth - 1) or value


def _between(fixed: list[str], text: str) -> list[str] | None:
    """Return what stands between the fixed pieces of a sentence, each taken where it comes first; None: it is another sentence.

    A regular expression would say the same, but try all places of all pieces together: seconds for a text that was made to take them.
    """
    if not (text.startswith(fixed[0]) and text.endswith(fixed[-1])):
        return None
    values, place, end = [], len(fixed[0]), len(text) - len(fixed[-1])
    for piece in fixed[1:-1]:
        found = text.find(piece, place, end)
        if found < 0:
            return None
        values.append(text[place:found])
        place = found + len(piece)
    return [*values, text[place:end]] if place <= end else None


@cache
def catalogue(language: str) -> Catalogue:
    """Return the sentences of a language; English has none to look up."""
    if language == ENGLISH:
        return Catalogue({})
    sections = tomllib.loads((Path(__file__).parent / f"words_{language}.toml").read_text("utf-8"))
    return Catalogue({english: own for section in sections.values() for english, own in section.items()})


def tr(text: str) -> str:
    """Return words of Mynah's own, as they are in English, in the language of whoever hears them; what has no entry stays English."""
    heard = _heard.get()
    return catalogue(heard.room if heard.aloud else heard.reader).find(text) or text


def room_language(locale: discord.Locale | None, settings: ServerSettings) -> str:
    """Return the language of what all can see: the server's setting, else its locale where that is spoken here, else English."""
    if settings.language != "auto":
        return settings.language
    return LOCALES.get(locale, ENGLISH) if locale else ENGLISH


def answer_in(
    guild: discord.Guild | None, settings: ServerSettings, locale: discord.Locale | None = None, *, there: discord.Locale | None = None
) -> None:
    """Say everything in this task so that who asked understands it, or, where nothing tells his locale, the server's members do.

    `there`: the server's locale as an interaction tells it, also of a server that Mynah is not in; None: it is as the server has it.
    """
    room = room_language(there or (guild.preferred_locale if guild else None), settings)
    reader = LOCALES.get(locale, room) if locale else room
    _heard.set(Heard(reader, room if guild else reader))


def aloud() -> None:
    """Say what follows in this task to all who can see it."""
    _heard.set(_heard.get()._replace(aloud=True))


def aside() -> None:
    """Say what follows in this task to whoever asked."""
    _heard.set(_heard.get()._replace(aloud=False))


class Translator(app_commands.Translator):
    """Gives Discord the descriptions of commands and options in each language; names stay, except those of menus, which nobody types."""

    async def translate(
        self, string: app_commands.locale_str, locale: discord.Locale, context: app_commands.TranslationContextTypes
    ) -> str | None:
        """Return one of them in a locale; None: Discord shows the English one."""
        if locale not in LOCALES or (context.location in _NAMES and not isinstance(context.data, app_commands.ContextMenu)):
            return None
        return catalogue(LOCALES[locale]).find(string.message)
