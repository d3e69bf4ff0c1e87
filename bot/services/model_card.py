"""A voice's model card as the Hugging Face hub reads it: front matter and Markdown from a template, and the same as one page of HTML.

Whatever is put into the template is escaped for Markdown, so that a name is seen as it is written and does nothing else.
"""

import base64
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bot.services.cards import kind
from bot.services.pictures import Account, Said
from data.language import NAMES
from trainer.protocol import HUB_NAMES

if TYPE_CHECKING:
    from jinja2 import Environment
    from markdown_it.renderer import RendererHTML

TEMPLATES = Path(__file__).parent / "templates"
PICTURE, CURVE, DARK = "predictions.png", "curve.png", "-dark.png"
TAG = "mynah"
COUNTS = {
    "downloaded": "Downloaded",
    "retweets": "Retweets",
    "short": "Short",
    "kept": "Kept",
    "duplicates": "of them repeated",
}
LABELS = {
    "scale": "scale (alpha / rank)",
    "stored_rank": "rank, stored",
    "answers": "share learned as answers",
    "tokens_per_step": "targets a step",
    "row": "positions a row",
    "rows_per_step": "rows a step",
    "warm_up": "warm-up, share of the steps",
    "clip": "largest norm of the gradient",
    "evaluations": "looks at the posts that decide when to stop",
    "patience": "looks without a better one before it stops",
    "targets": "targets (tokens to be guessed)",
    "tokens_per_second": "targets a second",
}
"""Of parameters that their names do not explain."""

#: What means something anywhere in a line. Pipes and angle brackets become entities, which no table and no HTML looks into.
_ANYWHERE = re.compile(r"([\\`*_\[\]~$])|(&|<|>|\|)|(://)|(www\.)", re.IGNORECASE)
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"}
_AT_THE_START = re.compile(r"^[-+=#]")
_NUMBERED = re.compile(r"^(\d+)([.)])(?=\s|$)")
#: Controls, halves of pairs, and marks of direction, which would turn round what stands after them.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]")
_RIGHT_TO_LEFT = {"R", "AL"}


class Markdown(str):
    """A text that is Markdown already."""

    __slots__ = ()


@dataclass(frozen=True)
class Facts:
    """All that a card says of a model."""

    card: Mapping[str, Any]
    """As bot.services.cards.full_card returns it."""
    accounts: tuple[Account, ...]
    """In the order of the card's."""
    said: Said
    """Lines that may be said."""
    languages: tuple[str, ...]
    """Of the accounts, each once: ISO 639-1, or `und`."""
    license: str
    """An identifier of the hub's."""
    prompt: str
    """What to try it with; that of the lines, or another where it said none."""
    adult: str = ""
    """Why it is not for all audiences: a sentence; empty: it is."""
    grounds: Mapping[str, str] = field(default_factory=dict)
    """By handle, on what ground it was learned from."""
    warnings: tuple[str, ...] = ()
    measured: tuple["Measure", ...] = ()
    """Beside the losses."""
    address: str = ""
    """What a pipeline is told to load it by; empty: a folder."""
    pictures: str = ""
    """The address of the folder with the pictures; empty: they lie beside the card."""


@dataclass(frozen=True)
class Measure:
    """One result, as a number and in words."""

    name: str
    title: str
    value: float
    words: str


def hub_name(base: str) -> str | None:
    """Return what a base is called on the hub; None: it is a folder, or was made here."""
    known = HUB_NAMES.get(base)
    return known or (base if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", base, re.ASCII) else None)


def render(facts: Facts) -> str:
    """Return the card: a README.md of the hub."""
    return f"---\n{front_matter(facts)}\n---\n\n{body(facts)}"


def front_matter(facts: Facts) -> str:
    """Return the YAML between the dashes."""
    from huggingface_hub import EvalResult, ModelCardData  # a tenth of a second, which only those who want a card wait for

    card = facts.card
    names = _title(facts)
    languages = [code for code in facts.languages if code in NAMES]
    tags = [TAG, "text-generation", "cyborg" if len(facts.accounts) > 1 else "bot", *(["not-for-all-audiences"] if facts.adult else [])]
    held_out: dict[str, Any] = {"task_type": "text-generation", "dataset_type": "posts", "dataset_name": "posts that it never saw"}
    widget: list[dict[str, Any]] = [{"text": plain(facts.prompt)}]
    if facts.said.prompt and facts.said.lines:
        widget[0]["output"] = {"text": plain(facts.said.lines[0])}
    data = ModelCardData(
        language=(languages if len(languages) > 1 else languages[0]) if languages else None,
        license=facts.license,
        base_model=hub_name(card["base"]),
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=tags,
        metrics=[one.name for one in _losses(card)] or None,
        model_name=plain(names),
        eval_results=[
            EvalResult(metric_type=one.name, metric_name=one.title, metric_value=round(one.value, 4), **held_out)
            for one in (*_losses(card), *facts.measured)
        ],
        thumbnail=facts.pictures + PICTURE,
        widget=widget,
    )
    return str(data.to_yaml())


def body(facts: Facts) -> str:
    """Return the Markdown."""
    card, accounts = facts.card, facts.accounts
    several = len(accounts) > 1
    names = [isolated(account.shown) for account in accounts]
    handles = [f"@{account.handle}" for account in accounts]
    start = card["started_from"]
    title = _title(facts)
    begun = f"Asked to go on from “{isolated(facts.said.prompt)}”" if facts.said.prompt else "Asked for a post"
    return (
        _environment()
        .get_template("card.md")
        .render(
            title=title,
            picture=f"What {title} says",
            names=_listed(names),
            several=several,
            voice=card["name"],
            version=card["version"],
            created=card["created_at"][:10],
            kind=kind(accounts),
            number=len(accounts),
            handles=", ".join(handles),
            languages=[NAMES.get(code, "not determined") for code in facts.languages],
            licence="unknown, so none is granted" if facts.license == "unknown" else facts.license,
            adult=facts.adult,
            begun=begun,
            lines=[isolated(line) for line in facts.said.lines],
            consent=", ".join(f"@{handle}: {ground}" for handle, ground in facts.grounds.items()) or "no claim is stored any more",
            splits=card["splits"],
            started=f" It went on from version {start} of the same voice." if start else "",
            columns=names,
            counts=[(label, [f"{card['counts'][account.handle][name]:,}" for account in accounts]) for name, label in COUNTS.items()],
            warnings=facts.warnings,
            base=_base(card),
            method="a low-rank adapter on all its linear layers (LoRA)" if card["method"] == "lora" else "in all of its weights",
            imported="imported" in card["recipe"],
            curve="The loss, step by step",
            parameters=_parameters(card),
            evaluation=[(one.title, one.words) for one in (*_losses(card), *facts.measured)],
            address=Markdown(json.dumps(plain(facts.address) or "path/to/the/folder", ensure_ascii=False)),
            prompt=Markdown(json.dumps(plain(facts.prompt), ensure_ascii=False)),
            voice_word=Markdown(card["name"]),
            lineage=_lineage(card),
        )
    )


def page(markdown: str, pictures: Mapping[str, bytes]) -> str:
    """Return a card's Markdown as one page of HTML that asks for nothing else.

    Args:
        markdown: with or without its front matter.
        pictures: PNG files by their names in the Markdown; that of a dark page, if there is one, ends in DARK.
    """
    from jinja2 import Environment, FileSystemLoader
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    text = re.sub(r"\A---\n.*?\n---\n", "", markdown, flags=re.DOTALL)
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")

    def image(self: "RendererHTML", tokens: Sequence[Any], place: int, options: Any, env: Any) -> str:
        name = str(tokens[place].attrs["src"])
        said = Markup.escape(self.renderInlineAsText(tokens[place].children, options, env))
        dark = pictures.get(name.removesuffix(".png") + DARK)
        other = f'<source media="(prefers-color-scheme: dark)" srcset="{_data_url(dark)}">' if dark else ""
        return f'<picture>{other}<img src="{_data_url(pictures.get(name, b""))}" alt="{said}"></picture>'

    reader.add_render_rule("image", image)
    reader.add_render_rule("table_open", lambda *_: '<div class="table"><table>\n')
    reader.add_render_rule("table_close", lambda *_: "</table></div>\n")
    title = next((token.children for token in reader.parse(text) if token.type == "inline"), None) or []
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, keep_trailing_newline=True)
    named = cast("RendererHTML", reader.renderer).renderInlineAsText(title, reader.options, {})
    return environment.get_template("page.html").render(title=named, body=Markup(reader.render(text)))  # noqa: S704 - raw HTML is off


# --------------------------------------------------------------------- parts


def _title(facts: Facts) -> str:
    return f"{' & '.join(isolated(account.shown) for account in facts.accounts)} · {kind(facts.accounts)}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _base(card: Mapping[str, Any]) -> str:
    named = hub_name(card["base"])
    details = card["details"].get("base") or {}
    said = [named or _without_folders(card["base"])]
    said += [f"revision {details['revision']}"] if details.get("revision") else []
    said += [f"licence: {details['licence']}"] if details.get("licence") else []
    return ", ".join(said)


def _without_folders(base: str) -> str:
    """Return the name of a base, of a folder its last part: where it lies is nobody's business."""
    return Path(base).name or base


def _losses(card: Mapping[str, Any]) -> list[Measure]:
    if card["loss"]["after"] is None:  # it was made elsewhere, and nobody can measure it without the posts
        return []
    before, after = card["loss"]["before"], card["loss"]["after"]
    posts = f"{card['splits']['report']:,} posts that it never saw"
    return [
        Measure("loss", "Loss", after, f"{after:.3f} nats a token on {posts}; the base model: {before:.3f}"),
        Measure("perplexity", "Perplexity", _perplexity(after), f"{_perplexity(after):,.1f}; the base model: {_perplexity(before):,.1f}"),
    ]


def _perplexity(loss: float) -> float:
    return math.exp(min(loss, 700.0))  # e to the 710th is no float any more


def _parameters(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    details = card["details"]
    recipe = {name: value for name, value in card["recipe"].items() if name not in ("base", "start")}
    run = {
        name: details[name]
        for name in ("steps", "steps_planned", "best_step", "targets", "stop_loss", "tokens_per_second", "device")
        if name in details
    }
    rows = recipe | run | {"seconds": card["seconds"], "bytes stored": card["bytes"]} | details.get("versions", {})
    return [pair for name, value in rows.items() for pair in _flat(LABELS.get(name, name.replace("_", " ")), value)]


def _flat(name: str, value: Any) -> list[tuple[str, str]]:
    match value:
        case dict():
            return [pair for key, part in value.items() for pair in _flat(f"{name}, {key}", part)]
        case list() | tuple():
            return [(name, ", ".join(map(str, value)))]
        case bool():
            return [(name, "yes" if value else "no")]
        case int():
            return [(name, f"{value:,}" if name != "seed" else str(value))]
        case float():
            return [(name, f"{value:.6g}")]
    return [(name, "chosen by the trainer" if value is None else str(value))]


def _lineage(card: Mapping[str, Any]) -> list[tuple[str, Any]]:
    if "imported" in card["recipe"]:
        return _lineage_from_elsewhere(card)
    posts = sum(counts["downloaded"] for counts in card["counts"].values())
    start = [("Weights it began with, SHA-256", card["recipe"]["start"])] if card["recipe"].get("start") else []
    return [
        ("Posts", f"{posts:,}, of {_listed([f'@{handle}' for handle in card['accounts']])}"),
        ("Corpus, SHA-256", card["corpus_sha256"]),
        ("Base model", _base(card)),
        *start,
        ("Training", f"job {card['job']['id']}, begun {card['job']['started_at'] or card['job']['created_at']}"),
        ("Weights, SHA-256", card["sha256"]),
        ("Voice", f"{card['name']}, version {card['version']}, {card['created_at']}"),
    ]


def _lineage_from_elsewhere(card: Mapping[str, Any]) -> list[tuple[str, Any]]:
    details = card["details"]
    source, revision = details.get("source") or "", details.get("revision")
    # A folder's name is nobody's business; a repository's is known to all, and has a slash.
    hub = [("Repository on the hub", f"{source}, revision {revision or 'not recorded'}")] if "/" in source else []
    files = [(f"{name}, SHA-256", sha256) for name, sha256 in (details.get("files") or {}).items()]
    return [
        ("Posts", "none are here: it was made elsewhere"),
        *hub,
        *files,
        ("Imported", card["job"]["created_at"]),
        ("Weights as they are stored here, SHA-256", card["sha256"]),
        ("Voice", f"{card['name']}, version {card['version']}, {card['created_at']}"),
    ]


# ------------------------------------------------------------------ escaping


def plain(text: str) -> str:
    """Return a text in one line, without controls and marks of direction."""
    return " ".join(_UNSEEN.sub("", " ".join(text.split())).split())


def isolated(text: str) -> str:
    """Return a text in one line that does not turn round what stands beside it: what runs from right to left is set apart."""
    text = plain(text)
    turns = any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in text)
    return f"\u2068{text}\u2069" if turns else text


def escaped(value: Any) -> str:
    """Return a value as Markdown, in one line, that shows it; what is Markdown already stays."""
    if isinstance(value, Markdown):
        return value
    text = _ANYWHERE.sub(_escape, " ".join(str(value).split()))
    return _NUMBERED.sub(r"\1\\\2", _AT_THE_START.sub(r"\\\g<0>", text))


def _escape(found: re.Match[str]) -> str:
    mark, entity, scheme, _ = found.groups()
    if mark or scheme:
        return f"\\{found[0]}"
    return _ENTITIES[entity] if entity else f"{found[0][:-1]}\\."


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # finalize is to Markdown what autoescape is to HTML: every value passes it, and none has to be thought of.
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        finalize=escaped,
        autoescape=False,  # noqa: S701 - see above
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _data_url(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode()
