"""The list of voices, in pages that buttons turn."""

import re
from typing import TYPE_CHECKING, Any

import discord

from bot.app import Mynah
from bot.errors import BadRequestError
from bot.faces.discord import render
from bot.faces.discord.buttons import Pressed
from bot.faces.discord.language import aloud, tr
from bot.services import cards
from data import models

if TYPE_CHECKING:
    from bot.faces.discord.bot import MynahBot

_NAME = re.compile(r"[a-z0-9_-]{0,40}")


async def listing(app: Mynah, search: str, page: int) -> tuple[str, discord.ui.View]:
    """Return a page of the voices whose name holds a text, pages counted from 1, and the buttons that turn it.

    Raises:
        BadRequestError: no name can hold the text, or there is no such page.
    """
    holding = search.strip().removeprefix("@").lower()
    if not _NAME.fullmatch(holding):
        raise BadRequestError("A voice's name has letters, digits, underscores and hyphens alone, and so has a part of it.")
    found = await app.store.read(models.page, holding, first=(page - 1) * render.LISTED, most=render.LISTED)
    pages = max(1, -(-found.total // render.LISTED))
    if not 1 <= page <= pages:
        raise BadRequestError(f"There is no page {page}: the last is {pages}.")
    view = discord.ui.View(timeout=None)
    if pages > 1:
        for to, label in ((page - 1, "Back"), (page + 1, "Next")):
            view.add_item(PageButton(to, holding, label=label, leads=1 <= to <= pages))
    return render.models([cards.card(model) for model in found.models], holding, page, pages, found.total), view


class PageButton(
    Pressed, discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"mynah:page:(?P<page>\d{1,6}):(?P<search>[a-z0-9_-]{0,40})"
):
    """One of the two buttons under a list."""

    def __init__(self, page: int, search: str, *, label: str = "", leads: bool = True) -> None:
        super().__init__(discord.ui.Button(label=tr(label) or "…", disabled=not leads, custom_id=f"mynah:page:{page}:{search}"))
        self.page = page
        self.search = search

    async def pressed(self, bot: "MynahBot", interaction: discord.Interaction[Any]) -> None:
        """Show the page in the place of the one that is there."""
        aloud()
        content, view = await listing(bot.app, self.search, self.page)
        await interaction.response.edit_message(content=content, view=view)
