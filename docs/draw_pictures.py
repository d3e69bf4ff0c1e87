"""Draws docs/pictures: what Discord's members see of Mynah, each picture in dark and light.

    npm install @skyra/discord-components-core@4.0.2 esbuild
    echo "import '@skyra/discord-components-core'" | npx esbuild --bundle --minify --format=iife --outfile=components.js
    PYTHONPATH=. python docs/draw_pictures.py components.js [--chromium chromium] [--cache var/cache]

The bundled lighthouse keeper is trained, once over her posts, while a simulated Discord (simcord) takes what the bot sends; a server whose
language is Japanese follows the same training. That JSON is what is drawn, by web components that look like Discord's client, in headless
Chromium. Fonts with Japanese and with emoji must be installed.
"""

import argparse
import asyncio
import base64
import html
import io
import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import discord
import simcord
from PIL import Image, ImageChops

from bot.app import Mynah
from bot.demo import HANDLE
from bot.faces.discord.bot import MynahBot
from bot.services.importing import import_file
from bot.services.portraits import portrait
from bot.services.scheduling import Spec
from bot.settings import Secrets, Settings
from data import quizzes
from data.bundled import bundled
from data.outbox import DEFAULT_ACCOUNT, Destination

PICTURES = Path(__file__).parent / "pictures"
WIDTH, HEIGHT, SCALE, MARGIN = 620, 1400, 1.5, 12
COLOURS = 128
SECONDS = 3600  # on a busy machine
THEMES = {"dark": ("", "#313338", "#1e1f22"), "light": ("light-theme", "#ffffff", "#e3e5e8")}
"""Attribute of the components, and the colours of Discord behind messages and behind code."""
BUTTONS = {1: "primary", 2: "secondary", 3: "success", 4: "destructive"}
MARKDOWN = (
    (r"`([^`]+)`", r"<code>\1</code>"),
    (r"\*\*(.+?)\*\*", r"<b>\1</b>"),
    (r"\*(.+?)\*", r"<i>\1</i>"),
    (r"(?m)^&gt; (.*)$", r"<discord-quote>\1</discord-quote>"),
    (r"(?m)^-# (.*)$", r"<discord-subscript>\1</discord-subscript>"),
)
Message = dict[str, Any]
"""A message as JSON, at one moment."""


class Show:
    """A server in which things happen, and what its members see."""

    def __init__(self, env: simcord.Env, name: str, locale: str) -> None:
        self.env = env
        self.guild = env.create_guild(name, preferred_locale=locale)
        self.channel = self.guild.create_text_channel("lamp-room")
        self.alice, self.bob = (self.guild.add_member(env.create_user(name)) for name in ("alice", "bob"))
        keepers = self.guild.create_role("keepers", permissions=discord.Permissions(manage_guild=True))
        self.boss = self.guild.add_member(env.create_user("boss"), roles=[keepers])

    async def told(self, message: discord.Message) -> None:
        """Wait until the end of a training is told in a message of its own."""
        await self.until(lambda: self.newest().id != message.id)

    def newest(self) -> discord.Message:
        """Return the last message that all can see."""
        return [message for message in self.channel.history() if not message.flags.ephemeral][-1]

    def states(self, message: int) -> Iterator[Message]:
        """Yield what a message of the bot's showed after each of its edits."""
        state: Message = {}
        for request in self.env.http_requests:
            if request.method == "PATCH" and request.path.endswith(f"/messages/{message}"):
                state |= request.json or {}
                yield dict(state)

    async def until(self, true: Callable[[], Any], seconds: float = 1.0) -> None:
        """Let the simulated clock go on, a second at a time, while the trainer and the speaker work in the real one."""
        async with asyncio.timeout(SECONDS):
            while not true():
                await self.env.advance_time(seconds)
                await asyncio.sleep(0.2)


def seen(message: discord.Message) -> Message:
    """Return a message as JSON."""
    return {
        "content": message.content,
        "embeds": [embed.to_dict() for embed in message.embeds],
        "components": [row.to_dict() for row in message.components],
        "ephemeral": message.flags.ephemeral,
    }


async def capture(cache: Path, folder: Path) -> tuple[dict[str, Message], bytes]:
    """Train the keeper and play with her; return the messages by the names of their pictures, and the curve as PNG."""
    settings = Settings.model_validate({"data_dir": folder, "cache_dir": cache.resolve(), "trainer": {"epochs": 1}})
    async with Mynah(settings, Secrets()) as app:
        await import_file(app.store, settings, bundled("sample"), HANDLE, by="the keeper")
        if not app.lead.take():
            raise SystemExit("Another process works in this folder.")
        bot = MynahBot(app, prefix_commands=True)
        async with app.working(), simcord.run(bot, settle_timeout=SECONDS) as env:
            english, japanese = Show(env, "Lighthouse", "en-US"), Show(env, "灯台", "ja")
            return await trained(english, japanese) | await played(english, app) | await approved(english, app) | await settled(
                english
            ), curve(env, english)


async def trained(english: Show, japanese: Show) -> dict[str, Message]:
    """Have a training asked for in both servers, and return the question, its progress and the card."""
    pictures, followed = {}, {}
    for show, ending in ((english, ""), (japanese, "-ja")):
        asked = await show.alice.slash(show.channel, "train", handles=HANDLE)
        pictures.setdefault("question", seen(asked.response.message))
        await show.alice.click(asked.response, label="Train")
        followed[ending] = show, show.newest()
    for ending, (show, message) in followed.items():
        await show.told(message)
        with_bar = [state for state in show.states(message.id) if "█" in state["content"]]
        quoting = [state for state in with_bar if "“" in state["content"]] or with_bar
        pictures[f"progress{ending}"] = seen(message) | quoting[len(quoting) // 2]
        pictures[f"card{ending}"] = seen(next(one for one in show.channel.history() if one.id == message.id))
    return pictures


async def played(show: Show, app: Mynah) -> dict[str, Message]:
    """Have the keeper speak, and members guess; return the lines, the quiz and its reveal."""
    lines = await show.alice.slash(show.channel, "generate", voice=HANDLE)
    await show.alice.slash(show.channel, "quiz", voice=HANDLE)
    message = show.newest()
    await show.until(lambda: "…" not in show.newest().content)
    asked = seen(show.newest())
    odd = (await app.store.read(quizzes.get, 1)).odd
    await show.alice.click(message, label="ABCD"[odd])
    await show.bob.click(message, label="ABCD"[odd - 1])
    await show.until(lambda: not show.newest().components, 10)
    return {"lines": seen(lines.response.message), "quiz": asked, "reveal": seen(show.newest())}


async def approved(show: Show, app: Mynah) -> dict[str, Message]:
    """Have a schedule's line put up to be approved, and return its card."""
    desk = show.guild.create_text_channel("desk")
    app.settings = app.settings.model_copy(update={"x": app.settings.x.model_copy(update={"approval_channel": desk.id})})
    await app.scheduling.add("mornings", HANDLE, Spec(times="9:00"), by="boss", server=show.guild.id)
    (line,) = (await app.speaking.answer((await app.speaking.request(HANDLE, by="boss", count=1)).id)).lines
    due = datetime.now(UTC).replace(hour=9, minute=0) + timedelta(days=1)
    to = Destination(DEFAULT_ACCOUNT)
    put = {"voice": HANDLE, "schedule": "mornings", "text": line.text, "who": "schedule mornings", "to": to, "not_before": due}
    await app.store.write(app.posting.put, **put, unattended=False)
    await show.until(lambda: any(message.components for message in desk.history()))
    return {"approval": seen(desk.history()[-1])}


async def settled(show: Show) -> dict[str, Message]:
    """Change a setting, open the menu of another one, and return the message."""
    page = (await show.boss.slash(show.channel, "settings")).response
    for name in ("profanity", "language"):
        await show.boss.select(page, [name], custom_id="mynah:setting")
        if name == "profanity":
            await show.boss.select(page, ["none"], custom_id="mynah:set:profanity")
    return {"settings": seen(page.message)}


def curve(env: simcord.Env, show: Show) -> bytes:
    """Return the picture that was attached to the card."""
    (address,) = {attached.url for message in show.channel.history() for attached in message.attachments}
    return env.backend.cdn.get(address) or b""


# ----------------------------------------------------------------------- pages


def marked(text: str) -> str:
    """Return Discord's markdown as HTML, as far as the messages use it."""
    pieces = re.split(r"(\\[^A-Za-z0-9\s])", text)
    kept = "".join(f"&#{ord(piece[1])};" if place % 2 else html.escape(piece, quote=False) for place, piece in enumerate(pieces))
    kept = re.sub(r"&lt;t:(\d+):([TfR])&gt;", clock, kept)
    for pattern, replacement in MARKDOWN:
        kept = re.sub(pattern, replacement, kept)
    return re.sub(r"(</discord-(?:quote|subscript)>)\n", r"\1", kept).replace("\n", "<br>")


def clock(found: re.Match[str]) -> str:
    """Return a moment as Discord shows it, in UTC: its time, its day and time, or the hours from now."""
    moment = datetime.fromtimestamp(int(found[1]), UTC)
    shown = {"T": f"{moment:%H:%M:%S}", "f": f"{moment.day} {moment:%B %Y %H:%M}"}
    shown["R"] = f"in {round((moment - datetime.now(UTC)).total_seconds() / 3600)} hours"
    return f"<code>{shown[found[2]]}</code>"


def embedded(embed: Message, picture: str) -> str:
    """Return an embed as HTML; its image is the picture."""
    fields, place = "", 0
    for field in embed.get("fields", []):
        place = place % 3 + 1 if field["inline"] else 0
        inline = f'inline inline-index="{place}"' if field["inline"] else ""
        fields += f'<discord-embed-field field-title="{html.escape(field["name"])}" {inline}>{marked(field["value"])}</discord-embed-field>'
    title = html.escape(re.sub(r"\\(.)", r"\1", embed["title"]))
    image = f'image="{picture}"' if "image" in embed else ""
    return (
        f'<discord-embed slot="embeds" color="#{embed["color"]:06x}" embed-title="{title}" {image}>'
        f'<discord-embed-description slot="description">{marked(embed.get("description", ""))}</discord-embed-description>'
        f'<discord-embed-fields slot="fields">{fields}</discord-embed-fields>'
        f'<discord-embed-footer slot="footer">{html.escape(embed["footer"]["text"])}</discord-embed-footer></discord-embed>'
    )


def component(part: Message) -> str:
    """Return a button, or a menu with what is chosen in it, as HTML."""
    disabled = "disabled" if part.get("disabled") else ""
    if part["type"] == discord.ComponentType.button.value:
        return f'<discord-button type="{BUTTONS[part["style"]]}" {disabled}>{html.escape(part["label"])}</discord-button>'
    chosen = [option["label"] for option in part.get("options", []) if option.get("default")]
    shown = html.escape(", ".join(chosen) or part.get("placeholder") or "")
    return f'<discord-string-select-menu placeholder="{shown}" {disabled}></discord-string-select-menu>'


def page(message: Message, picture: str, components: str, theme: str, language: str) -> str:
    """Return a page that shows one message."""
    look, background, behind = THEMES[theme]
    rows = "".join(
        f"<discord-action-row>{''.join(component(part) for part in row['components'])}</discord-action-row>"
        for row in message.get("components", [])
    )
    under = f'<discord-attachments slot="components">{rows}</discord-attachments>' if rows else ""
    private = "ephemeral" if message.get("ephemeral") else ""
    return (
        f'<!doctype html><html lang="{language}"><meta charset="utf-8"><script>{components}</script>'
        f"<style>body {{margin: 0; background: {background}}} discord-messages {{border: none !important}}"
        f" code {{font: 0.85em 'DejaVu Sans Mono'; background: {behind}; border-radius: 4px; padding: 0.15em 0.25em}}</style>"
        f'<discord-messages {look} no-background><discord-message author="Mynah" bot {private} avatar="{data_url(portrait("mynah"))}">'
        f"{marked(message['content'])}"
        f"{''.join(embedded(embed, picture) for embed in message['embeds'])}{under}</discord-message></discord-messages></html>"
    )


def data_url(picture: bytes) -> str:
    """Return a PNG as an address."""
    return "data:image/png;base64," + base64.b64encode(picture).decode()


def draw(document: str, target: Path, chromium: str, folder: Path) -> None:
    """Draw a page into a file, without the empty part below and beside it."""
    source, raw = folder / "page.html", folder / "page.png"
    source.write_text(document, encoding="utf-8")
    size = [f"--window-size={WIDTH},{HEIGHT}", f"--force-device-scale-factor={SCALE}", "--hide-scrollbars", "--virtual-time-budget=4000"]
    subprocess.run([chromium, "--headless", "--no-sandbox", *size, f"--screenshot={raw}", source.as_uri()], check=True, capture_output=True)
    whole = Image.open(io.BytesIO(raw.read_bytes())).convert("RGB")
    empty = Image.new("RGB", whole.size, whole.getpixel((0, whole.height - 1)))
    _, top, _, bottom = ImageChops.difference(whole, empty).getbbox()
    margin = round(MARGIN * SCALE)
    part = whole.crop((0, max(0, top - margin), whole.width, min(whole.height, bottom + margin)))
    part.quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)


def main() -> None:
    """Train, and draw every picture in both themes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("components", type=Path, help="the web components, in one file")
    parser.add_argument("--chromium", default="chromium")
    parser.add_argument("--cache", type=Path, default=Path("var/cache"), help="folder of base models")
    arguments = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    with TemporaryDirectory() as name:
        folder = Path(name)
        messages, picture = asyncio.run(capture(arguments.cache, folder))
        components = arguments.components.read_text(encoding="utf-8").replace("</script", "<\\/script")
        for what, message in messages.items():
            for theme in THEMES:
                target = PICTURES / f"{what}-{theme}.png"
                language = "ja" if what.endswith("-ja") else "en"
                draw(page(message, data_url(picture), components, theme, language), target, arguments.chromium, folder)
                print(target, target.stat().st_size)


if __name__ == "__main__":
    main()
