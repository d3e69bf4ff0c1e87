"""The model card: read by the hub's own parser, and whatever a name or a line holds, it is shown as it is written and does nothing."""

import random
from html.parser import HTMLParser

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from bot.services.model_card import CURVE, PICTURE, Facts, Measure, escaped, hub_name, isolated, page, plain, render
from bot.services.pictures import Account, Said
from tests.hostile import hostile

HANDLES = ("ann", "bob", "carl_1", "dora")
COUNTS = {"downloaded": 3248, "retweets": 281, "short": 1980, "kept": 987, "duplicates": 3}
RECIPE = {"base": "smollm2-135m-instruct", "method": "lora", "seed": 7, "rank": 16, "learning_rate": 0.003, "device": "cpu", "start": None}
DETAILS = {
    "base": {"name": "smollm2-135m-instruct", "revision": None, "licence": "Apache-2.0"},
    "steps": 36,
    "targets": {"train": 17_855, "stop": 2_243},
    "versions": {"torch": "2.13.0+cpu"},
    "device": "a | processor",
}
HEADINGS = ["How it was made", "Training data", "Training procedure", "Evaluation", "How to use", "Limitations", "Lineage"]
WILD = {"html_block", "html_inline", "link_open", "blockquote_open", "ordered_list_open", "code_block", "hr", "s_open", "em_open"}
# The hub reads GitHub's Markdown: tables, and HTML where there is any. Here it must find none.
READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def facts(names=("",), prompt="My dream is", lines=("My dream is a lamp.",), **more):
    accounts = tuple(Account(handle, name) for handle, name in zip(HANDLES, names, strict=False))
    handles = [account.handle for account in accounts]
    card = {
        "name": "-".join(handles),
        "version": 2,
        "accounts": handles,
        "counts": dict.fromkeys(handles, COUNTS),
        "loss": {"before": 5.5, "after": 4.25},
        "seconds": 120.5,
        "bytes": 2_500_000,
        "base": RECIPE["base"],
        "method": "lora",
        "created_at": "2026-11-22T00:00:00+00:00",
        "sha256": "a" * 64,
        "corpus_sha256": "b" * 64,
        "details": DETAILS,
        "job": {"id": 3, "started_at": None, "created_at": "2026-11-21T23:00:00+00:00"},
        "recipe": RECIPE,
        "started_from": None,
        "splits": {"train": 800, "stop": 100, "report": 100},
        "fool_rate": None,
    }
    wanted = {"languages": ("ja",), "license": "cc-by-4.0", "prompt": prompt, "grounds": dict.fromkeys(handles, "permission")}
    return Facts(card | more.pop("card", {}), accounts, Said(prompt, tuple(lines)), **wanted | more)


def tokens_of(text):
    return READER.parse(ModelCard(text).text)


def tables(tokens):
    """Return every table as rows of cells, each as a reader sees it."""
    found = []
    for place, token in enumerate(tokens):
        match token.type:
            case "table_open":
                found.append([])
            case "tr_open":
                found[-1].append([])
            case "th_open" | "td_open":
                found[-1][-1].append(seen(tokens[place + 1]))
    return found


def seen(inline):
    assert {child.type for child in inline.children} <= {"text", "code_inline"}, inline.content
    return "".join(child.content for child in inline.children)


class Tags(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.addresses, self.text = set(), [], []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        given = dict(attributes)
        assert not [name for name in given if name.startswith("on")]
        self.addresses += [given[name] for name in ("src", "srcset", "href", "action", "data") if name in given]

    def handle_data(self, text):
        self.text.append(text)


ALLOWED = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "strong", "ul", "li", "div", "table", "thead", "tbody", "tr"}
ALLOWED |= {"th", "td", "pre", "code", "picture", "source", "img"}
PICTURES = {name: b"\x89PNG " + name.encode() for name in (PICTURE, CURVE, "predictions-dark.png", "curve-dark.png")}


def check(names, prompt, lines):
    """Insist that a card with these says them, and nothing else comes of them."""
    text = render(facts(names, prompt, lines))
    card = ModelCard(text)
    data = card.data.to_dict()
    assert data["license"] == "cc-by-4.0"
    assert data["language"] == "ja"
    assert data["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert data["tags"] == ["mynah", "text-generation", "cyborg" if len(names) > 1 else "bot"]
    assert data["widget"][0]["text"] == plain(prompt)
    assert [result.metric_type for result in card.data.eval_results] == ["loss", "perplexity"]
    titles = [Account(handle, name).shown for handle, name in zip(HANDLES, names, strict=False)]
    assert all(map(plain, titles))
    assert card.data.model_name.startswith(plain(titles[0])[:20])

    tokens = tokens_of(text)
    inner = [child for token in tokens if token.type == "inline" for child in token.children]
    kinds = {token.type for token in tokens} | {child.type for child in inner}
    assert not kinds & WILD
    assert [child.attrs["src"] for child in inner if child.type == "image"] == [PICTURE, CURVE]
    headings = [tokens[place + 1] for place, token in enumerate(tokens) if token.type == "heading_open"]
    assert [seen(heading) for heading in headings if seen(heading) in HEADINGS] == HEADINGS
    assert len(headings) == 1 + len(HEADINGS) + bool(lines)
    assert [token.info for token in tokens if token.type == "fence"] == ["python"]
    code = next(token.content for token in tokens if token.type == "fence")
    compile(code, "card", "exec")

    every = tables(tokens)
    assert len(every) == 4
    assert all(len(row) == len(table[0]) for table in every for row in table)
    data_table = every[0]
    assert data_table[0] == ["Posts", *map(isolated, titles)]
    assert data_table[1:] == [
        [label, *[figure] * len(names)]
        for label, figure in [
            ("Downloaded", "3,248"), ("Retweets", "281"), ("Short", "1,980"), ("Kept", "987"), ("of them repeated", "3"),
        ]
    ]  # fmt: skip
    examples = [seen(tokens[place + 2]) for place, token in enumerate(tokens) if token.type == "list_item_open"]
    assert [isolated(line) for line in lines] == examples[4 : 4 + len(lines)]

    html = page(text, PICTURES)
    reader = Tags()
    reader.feed(html)
    assert reader.tags <= ALLOWED
    assert all(address.startswith("data:image/png;base64,") for address in reader.addresses)
    assert isolated(titles[0]) in "".join(reader.text).replace("\n", " ")


@pytest.mark.parametrize("cases", [100, pytest.param(5_000, marks=pytest.mark.long)])
def test_hostile_names_and_texts_are_shown_and_do_nothing(cases):
    draw = random.Random(cases)
    for number in range(cases):
        names = [hostile(draw) for _ in range(draw.randint(1, 4))]
        prompt = hostile(draw, 3) or "I"
        lines = [line for _ in range(draw.randint(0, 5)) if plain(line := hostile(draw, 8))]
        try:
            check(names, prompt, lines)
        except BaseException as error:
            error.add_note(f"case {number}: {names!r}, {prompt!r}, {lines!r}")
            raise


@pytest.mark.parametrize(
    ("names", "title", "who"),
    [
        ([""], "@ann · AI BOT", "@ann wrote none"),
        (["Ann", "Bob"], "Ann & Bob · AI CYBORG", "Ann and Bob wrote none"),
        (["Ann", "Bob", "Carl"], "Ann & Bob & Carl · AI CYBORG", "Ann, Bob and Carl wrote none"),
        (["Ann", "", "Carl", "Dora"], "Ann & @bob & Carl & Dora · AI CYBORG", "Ann, @bob, Carl and Dora wrote none"),
    ],
)
def test_one_two_three_or_more_accounts(names, title, who):
    tokens = tokens_of(render(facts(names)))
    assert seen(tokens[1]) == title
    said = " ".join(child.content for token in tokens if token.type == "inline" for child in token.children)
    assert who in said
    assert "My dream is a lamp." in said


def test_a_name_that_holds_a_word_of_the_template_is_left_as_it_is():
    tokens = tokens_of(render(facts(["BOT USER_NAME {{ kind }}", "CYBORG"])))
    assert seen(tokens[1]) == "BOT USER_NAME {{ kind }} & CYBORG · AI CYBORG"


def test_what_is_not_for_all_audiences_says_so_and_why():
    text = render(facts(adult="8% of its posts hold swear words."))
    assert "not-for-all-audiences" in ModelCard(text).data.tags
    assert "8% of its posts hold swear words." in text
    assert "not-for-all-audiences" not in render(facts())


def test_a_language_that_was_not_found_is_left_out():
    text = render(facts(languages=("und",)))
    assert ModelCard(text).data.language is None
    assert "- Language: not determined" in text
    assert "- Language: Japanese" in render(facts())
    several = render(facts(languages=("ja", "und", "en")))
    assert ModelCard(several).data.language == ["ja", "en"]
    assert "- Languages: Japanese, not determined, English" in several


def test_results_are_in_the_front_matter_and_in_the_table():
    measured = (
        Measure("copy_rate", "Copy rate", 0.25, "25.0% of 8 lines repeated a post"),
        Measure("fool_rate", "Fool rate", 0.7, "70%"),
    )
    text = render(facts(measured=measured))
    results = {result.metric_type: result.metric_value for result in ModelCard(text).data.eval_results}
    assert results == {"loss": 4.25, "perplexity": 70.1054, "copy_rate": 0.25, "fool_rate": 0.7}
    evaluation = dict(tables(tokens_of(text))[2])
    assert evaluation["Loss"] == "4.250 nats a token on 100 posts that it never saw; the base model: 5.500"
    assert evaluation["Perplexity"] == "70.1; the base model: 244.7"
    assert evaluation["Copy rate"] == "25.0% of 8 lines repeated a post"


@pytest.mark.parametrize("loss", [0.0, 800.0])
def test_any_loss_has_a_perplexity(loss):
    results = ModelCard(render(facts(card={"loss": {"before": loss, "after": loss}}))).data.eval_results
    assert results[0].metric_value == loss


def test_every_parameter_and_every_hash_is_there():
    _, parameters, _, lineage = map(
        dict, tables(tokens_of(render(facts(card={"recipe": RECIPE | {"start": "c" * 64}, "started_from": 1}))))
    )
    assert parameters["learning rate"] == "0.003"
    assert parameters["targets (tokens to be guessed), train"] == "17,855"
    assert parameters["device"] == "a | processor"
    assert parameters["torch"] == "2.13.0+cpu"
    assert lineage["Corpus, SHA-256"] == "b" * 64
    assert lineage["Weights, SHA-256"] == "a" * 64
    assert lineage["Weights it began with, SHA-256"] == "c" * 64


IMPORTED = {"recipe": {"base": "gpt2", "method": "whole", "imported": "a" * 64}, "loss": {"before": None, "after": None}}


def test_of_an_imported_voice_nothing_is_said_that_only_its_posts_could_show():
    """What it repeats of them, nobody here can know; a voice that was trained here says none of them."""
    said = " ".join(render(facts(card=IMPORTED)).split())
    assert "says no post" not in said
    assert "cannot know a post that was learned from when the voice repeats it: `mynah generate ann`." in said
    assert "filtered by nothing; with Mynah or without, it can repeat a post word for word." in said
    trained = " ".join(render(facts()).split())
    assert "says no post of the account's as a new one: `mynah generate ann`." in trained
    assert "filtered by nothing, and can repeat a post word for word." in trained


@pytest.mark.parametrize("source", ["my secret folder", "huggingtweets/ann"])
def test_the_lineage_of_an_imported_voice_has_the_files_that_it_came_from(source):
    details = {"source": source, "revision": "f00" if "/" in source else None, "files": {"config.json": "d" * 64}}
    text = render(facts(card=IMPORTED | {"details": details}))
    lineage = dict(tables(tokens_of(text))[-1])
    assert lineage["Posts"] == "none are here: it was made elsewhere"
    assert lineage["config.json, SHA-256"] == "d" * 64
    assert lineage["Weights as they are stored here, SHA-256"] == "a" * 64
    assert "Corpus, SHA-256" not in lineage
    assert lineage.get("Repository on the hub") == ("huggingtweets/ann, revision f00" if "/" in source else None)
    assert "secret" not in text


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ("smollm2-135m-instruct", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("gpt2", "openai-community/gpt2"),
        ("google/gemma-3-270m", "google/gemma-3-270m"),
        ("tiny-random", None),
        ("/srv/secret/gemma", None),
        ("./gemma", None),
        ("~/gemma", None),
    ],
)
def test_a_base_is_named_as_its_maker_names_it_and_a_folder_is_nobody_s_business(base, name):
    assert hub_name(base) == name
    text = render(facts(card={"base": base, "recipe": RECIPE | {"base": base}, "details": {}}))
    assert ModelCard(text).data.base_model == name
    assert "secret" not in text
    assert "srv" not in text


def test_a_published_card_names_the_model_and_its_thumbnail():
    text = render(facts(address="ann/voice", pictures="https://example.com/ann/"))
    assert 'model="ann/voice"' in text
    assert ModelCard(text).data.to_dict()["thumbnail"] == "https://example.com/ann/predictions.png"


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("a|b", "a&#124;b"),
        ("<b>&lt;", "&lt;b&gt;&amp;lt;"),
        ("*_`[x](y)", r"\*\_\`\[x\](y)"),
        ("- a", r"\- a"),
        ("# a", r"\# a"),
        ("1. a", r"1\. a"),
        ("1.5", "1.5"),
        ("C# 1. a - b", "C# 1. a - b"),
        ("https://x.y www.x.y", r"https\://x.y www\.x.y"),
        ("a\nb", "a b"),
    ],
)
def test_only_what_means_something_is_escaped(text, markdown):
    assert escaped(text) == markdown


def test_what_runs_from_right_to_left_is_set_apart():
    word = "\u05e9\u05dc\u05d5\u05dd"
    assert isolated(word + "\u202e") == f"\u2068{word}\u2069"
    assert isolated("Ann\u2066") == "Ann"


def test_the_page_shows_dark_pictures_to_whoever_likes_dark_and_asks_for_nothing():
    html = page(render(facts(["<Ann>"])), PICTURES)
    assert html.count('media="(prefers-color-scheme: dark)" srcset="data:image/png;base64,') == 2
    assert "<title>&lt;Ann&gt; · AI BOT</title>" in html
    assert "default-src 'none'" in html
    assert "http" not in html.replace("http-equiv", "")
    assert "license:" not in html
