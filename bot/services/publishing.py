"""Publishing a voice: its model card, its pictures and, if wanted, a page for browsers, written into a folder."""

import asyncio
import hashlib
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from bot.errors import BadRequestError, SpeechFailedError
from bot.files import write_whole
from bot.services import cards, model_card, pictures, profanity
from bot.services.folding import Views
from bot.services.learned import Learned, Manner
from bot.services.model_card import CURVE, DARK, PICTURE, Facts, Measure
from bot.services.pictures import THEMES, Account, Said
from bot.services.profanity import Level
from bot.services.speaking import Speaking
from bot.settings import Settings
from bot.threads import drawn
from data import consents, jobs, published, speech
from data.corpus import Corpus
from data.models import Model
from data.published import Form
from data.store import Store

README, PAGE = "README.md", "card.html"
LINES = 5
SEED = 1  # the same model says the same on each of its cards
ENOUGH_LINES = 5  # below that a share of them says nothing
MOST_LINES = 10_000  # the last ones, which are measured
SAMPLE = 1_000  # posts that are looked at for swearing
#: From which shares of its posts on a voice is not for all audiences: of slurs and the like, and of ordinary swearing.
SLURS, SWEARING = 0.01, 0.05
AVATAR_BYTES, AVATAR_SIDE, AVATAR_KEPT = 10_000_000, 4_096, 400
AVATAR_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")


@dataclass(frozen=True)
class Card:
    """A card that is not written yet."""

    files: dict[str, bytes]
    """By their names, README.md last: it names the others."""
    numbers: list[dict[str, Any]]
    """What it says that was measured for it."""

    async def write(self, folder: Path) -> None:
        """Write it into a folder, which is made if need be.

        Raises:
            BadRequestError: the folder cannot be written.
        """
        try:
            await asyncio.to_thread(write_whole, folder, self.files)
        except OSError as error:
            raise BadRequestError(f"{folder} cannot be written ({error.strerror}): name another folder.") from error


def folder_of(settings: Settings, model: Model) -> Path:
    """Return where a model's card is written unless somebody says where."""
    return settings.data_dir / "cards" / model.voice / f"v{model.version}"


async def publish(
    store: Store,
    settings: Settings,
    speaking: Speaking,
    model: Model,
    folder: Path,
    *,
    names: Mapping[str, str] | None = None,
    avatars: Mapping[str, bytes] | None = None,
    prompt: str | None = None,
    page: bool = False,
) -> list[Path]:
    """Write a model's card into a folder, which is made if need be, and write down that it is there; return the files, the card first.

    An earlier card in the folder is replaced. The other arguments are those of `draw`.

    Raises:
        BadRequestError: a card that is not Mynah's is there, the folder cannot be written, or as `draw`.
        NotStoredError: the voice was forgotten meanwhile.
    """
    _refuse_other_card(folder)
    card = await draw(store, settings, speaking, model, names=names, avatars=avatars, prompt=prompt, page=page)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in card.files.items()}
    place = str(folder.absolute())
    begun = await store.write(published.begin, model.id, Form.CARD, place, hashes, card.numbers)
    await card.write(folder)
    await store.write(published.finish, begun)
    return [folder / name for name in reversed(card.files)]


async def draw(
    store: Store,
    settings: Settings,
    speaking: Speaking,
    model: Model,
    *,
    names: Mapping[str, str] | None = None,
    avatars: Mapping[str, bytes] | None = None,
    prompt: str | None = None,
    page: bool = False,
    address: str = "",
    pictures_at: str = "",
) -> Card:
    """Return a model's card.

    Whoever calls this leads, or another process does: the lines are drawn by the speaker and pass the filter. Where it says none, those
    of the training's end that pass are shown.

    Args:
        store: the database.
        settings: licence, prompt and filter are in them.
        speaking: says the lines.
        model: which version of a voice.
        names: by handle, what accounts call themselves; otherwise they are shown by their handles.
        avatars: by handle, pictures as `read_avatar` returns them; otherwise one is drawn.
        prompt: what the lines begin with; None: what the settings say.
        page: write a page for browsers too.
        address: what the model is loaded by, such as its name on the hub; empty: a folder.
        pictures_at: the address under which the folder will be found, with a slash at its end; empty: beside the card.

    Raises:
        BadRequestError: a name or picture is of no account of the voice, or the prompt breaks a rule.
        NotStoredError: the voice was forgotten meanwhile.
    """
    named, faces = names or {}, avatars or {}
    if strangers := sorted({*named, *faces} - set(model.handles)):
        raise BadRequestError(f"@{strangers[0]} is no account of {model.voice}: name {' or '.join(f'@{one}' for one in model.handles)}.")
    accounts = tuple(Account(handle, named.get(handle, ""), faces.get(handle)) for handle in model.handles)
    prompt = settings.card.prompt if prompt is None else prompt
    said = await say(speaking, store, model, prompt)
    found = await store.read(_found, model)
    facts = await asyncio.to_thread(_facts, found, accounts, said, prompt, settings, address, pictures_at)
    files = await drawn(_drawn, facts, found)
    text = model_card.render(facts)
    if page:
        files[PAGE] = model_card.page(text, files).encode()
    files[README] = text.encode()
    return Card(files, [asdict(measure) for measure in facts.measured])


async def say(speaking: Speaking, store: Store, model: Model, prompt: str) -> Said:
    """Return what a version says to a prompt, filtered; where it says nothing, what of its training's samples may be shown.

    Raises:
        BadRequestError: the prompt must not be said.
    """
    wish = await speaking.request(model.voice, by="its card", version=model.version, prompt=prompt, count=LINES, seed=SEED)
    try:
        spoken = await speaking.answer(wish.id)
    except SpeechFailedError:
        learned = (await Learned(store).of(model.job)).copies
        allowed = await speaking.allowed(model.result["samples"], None)
        return Said("", tuple(line for line in allowed if not learned.copied_in(line))[:LINES])
    return Said(wish.prompt, tuple(line.text for line in spoken.lines))


def read_avatar(path: Path) -> bytes:
    """Return a picture as a small PNG, without what else is in its file.

    Raises:
        BadRequestError: it is no picture, or too large.
    """
    from PIL import Image, ImageOps

    try:
        if path.stat().st_size > AVATAR_BYTES:
            raise BadRequestError(f"{path.name} has more than {AVATAR_BYTES // 1_000_000} MB: give a smaller picture.")
        with Image.open(path, formats=AVATAR_FORMATS) as picture:
            if max(picture.size) > AVATAR_SIDE:
                raise BadRequestError(f"{path.name} is larger than {AVATAR_SIDE} by {AVATAR_SIDE} pixels: give a smaller picture.")
            small = ImageOps.fit(ImageOps.exif_transpose(picture).convert("RGBA"), (AVATAR_KEPT, AVATAR_KEPT))
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow's readers raise
        raise BadRequestError(f"{path} is no picture that can be read: give a PNG, JPEG, WebP or GIF file.") from error
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return buffer.getvalue()


# --------------------------------------------------------------------- facts


def _found(db: Database, model: Model) -> dict[str, Any]:
    """Return all that the database holds of a model's card."""
    return {
        "card": cards.full_card(db, model),
        "corpus": jobs.corpus_of(db, model.corpus),
        "events": [event for _, event in jobs.events_after(db, model.job)],
        "judged": speech.judged(db, model.id, MOST_LINES),
        "grounds": {handle: " and ".join(sorted({claim.ground for claim in consents.claims(db, handle)})) for handle in model.handles},
        "result": model.result,
    }


def _facts(
    found: Mapping[str, Any], accounts: tuple[Account, ...], said: Said, prompt: str, settings: Settings, address: str, at: str
) -> Facts:
    corpus: Corpus = found["corpus"]
    return Facts(
        card=found["card"],
        accounts=accounts,
        said=said,
        prompt=said.prompt or prompt or settings.card.prompt,
        languages=tuple(dict.fromkeys(corpus.languages.values())),
        license=settings.card.license,
        adult=_adult(corpus, settings.safety.profanity),
        grounds={handle: ground for handle, ground in found["grounds"].items() if ground},
        warnings=tuple(f"{warning.rpartition(': ')[0]}." for warning in corpus.warnings),  # without what an operator can do about it
        measured=tuple(_measured(found["card"], corpus, found["judged"])),
        address=address,
        pictures=at,
    )


def _adult(corpus: Corpus, level: Level) -> str:
    """Return why a voice is not for all audiences, in a sentence; empty where nothing says so."""
    if level == "any":
        return "the profanity filter is off."
    posts = list(dict.fromkeys(post.text for post in (*corpus.train, *corpus.stop, *corpus.report)))[:SAMPLE]
    views = [Views(post) for post in posts]
    looked_for: tuple[tuple[str, Level, float], ...] = (("slurs and the like", "mild", SLURS), ("swear words", "none", SWEARING))
    for what, refused, most in looked_for:
        share = sum(profanity.broken_by(view, refused) is not None for view in views) / max(1, len(views))
        if share >= most:
            return f"{share:.0%} of its posts hold {what}."
    return ""


def _measured(card: Mapping[str, Any], corpus: Corpus, judged: list[tuple[str, str]]) -> list[Measure]:
    """Return what the lines and the guesses so far say of a model, where there are enough of them."""
    found = []
    reached = [verdict for _, verdict in judged if verdict in (speech.PASSED, "copy", "repeat")]  # copies are looked for after other rules
    if len(reached) >= ENOUGH_LINES and corpus.train:  # of an imported voice nobody knows what it could repeat
        share = reached.count("copy") / len(reached)
        words = f"{share:.1%} of {len(reached):,} lines repeated a post; Mynah said none of these"
        found.append(Measure("copy_rate", "Copy rate", share, words))
    lines = [text for text, verdict in judged if verdict == speech.PASSED]
    if len(lines) >= ENOUGH_LINES and corpus.report:
        manner = Manner(post.text for post in corpus.train)
        own, held_out = (sum(map(manner.share, texts)) / len(texts) for texts in (lines, [post.text for post in corpus.report]))
        words = f"{own:.1%} of the letter triples in {len(lines):,} lines are its posts' own; in posts held out: {held_out:.1%}"
        found.append(Measure("fidelity", "Fidelity", own, words))
    if rate := card["fool_rate"]:
        words = (
            f"{rate['share']:.0%} of {rate['guesses']:,} guesses which line was the machine's were wrong; by chance: {rate['chance']:.0%}"
        )
        found.append(Measure("fool_rate", "Fool rate", rate["share"], words))
    return found


# --------------------------------------------------------------------- files


def _drawn(facts: Facts, found: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the pictures by their names."""
    files = {}
    for theme in THEMES:
        ending = DARK if theme == "dark" else ".png"
        files[PICTURE.removesuffix(".png") + ending] = pictures.predictions(facts.accounts, facts.said, theme)
        if "imported" in found["card"]["recipe"]:  # there is no curve of it here
            continue
        files[CURVE.removesuffix(".png") + ending] = cards.draw_curve(found["events"], found["result"], dark=theme == "dark")
    return files


def _refuse_other_card(folder: Path) -> None:
    """Make sure that no card of somebody else's is written over."""
    there = folder / README
    try:
        front, _, _ = there.read_text(encoding="utf-8").partition("\n---\n")
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, UnicodeDecodeError):
        front = ""
    if not front.startswith("---\n") or f"- {model_card.TAG}" not in front.splitlines():
        raise BadRequestError(f"{there} is not a card of Mynah's: name another folder.")
