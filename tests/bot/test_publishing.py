"""Publishing a voice: what is written where, what is shown of it, and what is refused."""

import io
import json
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard
from PIL import Image

from bot.app import Mynah
from bot.errors import BadHandleError, BadRequestError, NotStoredError, SpeechFailedError
from bot.faces.terminal import actions
from bot.services.publishing import AVATAR_BYTES, read_avatar
from bot.settings import Card, Safety, Secrets
from data import accounts, consents, jobs
from tests.bot.test_speaking import LINES
from tests.conftest import made_up_tweets, store_account
from tests.voices import add_version
from trainer.protocol import Line, Step

SAMPLES = ["a bell is only a loud bowl", "write to me: ann@example.com", "the lamp came back on the stairs, and a gull (1)"]


class PromptedSpeaker:
    """Goes on from the prompt with lines that ann never wrote, the first of which mentions somebody."""

    def __init__(self):
        self.error = None
        self.requests = []

    async def speak(self, request):
        self.requests.append(request)
        if self.error:
            raise self.error
        for index, line in enumerate(["@bob, hear", *LINES][: request.count]):
            yield Line(request.id, index, f"{request.prompt} {line}", complete=True, log_likelihood=-2.0)

    async def close(self):
        pass


@asynccontextmanager
async def opened(settings, executor, speaker):
    async with Mynah(settings, Secrets(), executor, speaker) as running:
        for handle, seed in (("ann", 1), ("bob", 2)):
            await running.store.write(store_account, handle, made_up_tweets(150, seed))
        yield running


@pytest.fixture
def speaker():
    return PromptedSpeaker()


@pytest.fixture
async def app(settings, executor, speaker):
    """Mynah with a voice of ann and one of ann and bob."""
    async with opened(settings, executor, speaker) as running:
        await running.store.write(add_version, ("ann",))
        await running.store.write(add_version, ("ann", "bob"))
        yield running


def files_in(folder):
    return sorted(file.name for file in folder.iterdir())


def picture(file):
    return Image.open(io.BytesIO(file.read_bytes())).convert("RGB")


ALWAYS = ["README.md", "curve-dark.png", "curve.png", "predictions-dark.png", "predictions.png"]


async def test_a_card_and_its_pictures_are_written_where_they_were_wanted(app, tmp_path):
    answer = await actions.card(app, "ann", tmp_path / "deep" / "card")
    assert files_in(tmp_path / "deep" / "card") == ALWAYS
    assert answer.document["files"][0] == str(tmp_path / "deep" / "card" / "README.md")
    assert sorted(answer.document["files"]) == [str(tmp_path / "deep" / "card" / name) for name in ALWAYS]
    assert picture(tmp_path / "deep" / "card" / "predictions.png").size == (1120, 586)
    light, dark = (picture(tmp_path / "deep" / "card" / name) for name in ("curve.png", "curve-dark.png"))
    assert light.size == dark.size
    assert (light.getpixel((2, 2)), dark.getpixel((2, 2))) == ((255, 255, 255), (21, 32, 43))


async def test_without_a_folder_it_lies_beside_the_curve_and_goes_with_the_voice(app, settings):
    await actions.card(app, "ann", html=True)
    folder = settings.data_dir / "cards" / "ann" / "v1"
    assert files_in(folder) == sorted([*ALWAYS, "card.html"])
    await actions.forget(app, "ann", "me")
    assert not folder.exists()


async def test_it_is_written_again_over_an_earlier_one(app, tmp_path):
    await actions.card(app, "ann", tmp_path / "card")
    before = (tmp_path / "card" / "README.md").read_text(encoding="utf-8")
    await actions.card(app, "ann", tmp_path / "card", names=["ann=Ann"])
    assert files_in(tmp_path / "card") == ALWAYS
    assert (tmp_path / "card" / "README.md").read_text(encoding="utf-8") != before


@pytest.mark.parametrize("there", [b"# my project\n", b"---\ntags:\n- mine\n---\n- mynah\n", b"---\n: [broken\n---\n", b"\xff"])
async def test_somebody_else_s_readme_is_left_alone(app, tmp_path, there):
    (tmp_path / "card").mkdir()
    (tmp_path / "card" / "README.md").write_bytes(there)
    with pytest.raises(BadRequestError, match="is not a card of Mynah's: name another folder"):
        await actions.card(app, "ann", tmp_path / "card")
    assert files_in(tmp_path / "card") == ["README.md"]
    assert (tmp_path / "card" / "README.md").read_bytes() == there


async def test_a_folder_that_cannot_be_written_is_refused(app, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadRequestError, match=r"cannot be written \(.*\): name another folder"):
        await actions.card(app, "ann", tmp_path / "file" / "card")


async def test_only_lines_that_may_be_said_are_shown(app, tmp_path, speaker):
    await actions.card(app, "ann", tmp_path, html=True)
    card = ModelCard.load(tmp_path / "README.md")
    (example,) = card.data.to_dict()["widget"]
    assert example["text"] == "My dream is"
    assert example["output"]["text"].startswith("My dream is ")
    shown = card.content + (tmp_path / "card.html").read_text(encoding="utf-8")
    assert "@bob" not in shown
    assert "hear" not in shown
    assert sum(shown.count(f"- My dream is {line}") for line in LINES) == 5
    assert speaker.requests[0].prompt == "My dream is"


async def test_the_same_version_says_the_same_on_each_of_its_cards(app, tmp_path):
    for name in ("one", "two"):
        await actions.card(app, "ann", tmp_path / name)
    one, two = ((tmp_path / name / "predictions.png").read_bytes() for name in ("one", "two"))
    assert one == two


async def test_where_the_voice_says_nothing_its_samples_are_shown_as_far_as_they_may_be(settings, executor, speaker, tmp_path):
    speaker.error = SpeechFailedError("The speaker is gone.")
    async with opened(settings, executor, speaker) as app:
        model = await app.store.write(add_version, ("ann",))
        posts = (await app.store.read(jobs.corpus_of, model.corpus)).train
        samples = [*SAMPLES, posts[0].text]
        await app.store.write(
            lambda db: db.execute("UPDATE models SET result = json_set(result, '$.samples', json(?))", [json.dumps(samples)])
        )
        await actions.card(app, "ann", tmp_path)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.to_dict()["widget"] == [{"text": "My dream is"}]
    assert "- a bell is only a loud bowl" in card.content
    assert "ann@example.com" not in card.content
    assert posts[0].text not in card.content
    assert "Asked for a post, it wrote these lines." in card.content


async def test_a_prompt_that_breaks_a_rule_is_refused(app, tmp_path):
    with pytest.raises(BadRequestError, match="That prompt mentions somebody"):
        await actions.card(app, "ann", tmp_path / "card", prompt="@bob is")
    assert not (tmp_path / "card").exists()


async def test_names_and_pictures_are_given_by_handle(app, tmp_path):
    file = tmp_path / "face.png"
    Image.new("RGB", (50, 50), "#00ff00").save(file)
    answer = await actions.card(app, "ann-bob", tmp_path / "card", names=["@Ann=Ann | <b>"], avatars=[f"bob={file}"])
    assert answer.document["name"] == "ann-bob"
    assert "# Ann &#124; &lt;b&gt; & @bob · AI CYBORG" in (tmp_path / "card" / "README.md").read_text(encoding="utf-8").replace(
        "&amp;", "&"
    )
    with_face = (tmp_path / "card" / "predictions.png").read_bytes()
    await actions.card(app, "ann-bob", tmp_path / "card", names=["@Ann=Ann | <b>"])
    assert with_face != (tmp_path / "card" / "predictions.png").read_bytes()


@pytest.mark.parametrize(
    ("given", "error", "why"),
    [
        ({"names": ["carl=Carl"]}, BadRequestError, "@carl is no account of ann: name @ann"),
        ({"names": ["ann"]}, BadRequestError, "--name ann says nothing of an account: write HANDLE=, and then what it is"),
        ({"avatars": ["ann="]}, BadRequestError, "--avatar ann= says nothing of an account"),
        ({"names": ["a b=Ann"]}, BadHandleError, "is not a handle"),
        ({"version": 7}, NotStoredError, "ann has no version 7"),
        ({"avatars": ["ann=/nowhere.png"]}, BadRequestError, "/nowhere.png is no picture that can be read"),
    ],
)
async def test_what_is_no_account_or_no_picture_is_refused(app, tmp_path, given, error, why):
    with pytest.raises(error, match=why):
        await actions.card(app, "ann", tmp_path / "card", **given)
    assert not (tmp_path / "card").exists()


async def test_a_voice_that_is_not_there_is_refused(app, tmp_path):
    with pytest.raises(NotStoredError, match="No voice named carl is trained"):
        await actions.card(app, "carl", tmp_path)


def test_a_picture_that_is_none_or_too_large_is_refused(tmp_path):
    file = tmp_path / "face.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\nand then nothing")
    with pytest.raises(BadRequestError, match="no picture that can be read"):
        read_avatar(file)
    Image.new("1", (5_000, 10)).save(file)
    with pytest.raises(BadRequestError, match="is larger than 4096 by 4096 pixels"):
        read_avatar(file)
    file.write_bytes(b"x" * (AVATAR_BYTES + 1))
    with pytest.raises(BadRequestError, match="more than 10 MB"):
        read_avatar(file)


def test_a_picture_is_kept_small_and_without_what_else_its_file_holds(tmp_path):
    file = tmp_path / "face.jpg"
    picture = Image.new("RGB", (900, 300), "red")
    exif = picture.getexif()
    exif[0x010E] = "where I live"
    picture.save(file, exif=exif)
    assert b"where I live" in file.read_bytes()
    kept = read_avatar(file)
    assert b"where I live" not in kept
    assert Image.open(io.BytesIO(kept)).size == (400, 400)


async def test_the_settings_say_the_licence_and_the_prompt(settings, executor, speaker, tmp_path):
    wanted = settings.model_copy(update={"card": Card(license="cc-by-4.0", prompt="I think that")})
    async with opened(wanted, executor, speaker) as app:
        await app.store.write(add_version, ("ann",))
        await actions.card(app, "ann", tmp_path)
    data = ModelCard.load(tmp_path / "README.md").data
    assert data.license == "cc-by-4.0"
    assert data.to_dict()["widget"][0]["text"] == "I think that"


@pytest.mark.parametrize(
    ("level", "words", "why"), [("any", "", "the profanity filter is off"), ("mild", "what shit", "of its posts hold swear words")]
)
async def test_what_the_filter_says_of_the_posts_is_said(settings, executor, speaker, tmp_path, level, words, why):
    wanted = settings.model_copy(update={"safety": Safety(profanity=level)})
    async with opened(wanted, executor, speaker) as app:
        every = enumerate(made_up_tweets(150, 9))
        tweets = [tweet if number % 5 else replace(tweet, text=f"{tweet.text} {words}") for number, tweet in every]
        await app.store.write(store_account, "carl", tweets)
        await app.store.write(add_version, ("carl",))
        await actions.card(app, "carl", tmp_path)
    card = ModelCard.load(tmp_path / "README.md")
    assert "not-for-all-audiences" in card.data.tags
    assert why in card.content


async def test_the_grounds_and_the_measures_are_said(app, tmp_path):
    await app.store.write(consents.claim, "bob", consents.Ground.PARODY, "me")
    await actions.card(app, "ann-bob", tmp_path)
    content = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "and below 40,000 a voice is thin.\n" in content
    assert r"(@ann: permission, @bob: parody and permission)" in content
    results = {result.metric_type: result.metric_value for result in ModelCard(content).data.eval_results}
    assert results.keys() == {"loss", "perplexity", "copy_rate", "fidelity"}
    assert results["copy_rate"] == 0
    assert 0 < results["fidelity"] < 1
    assert "| Copy rate | 0.0% of 5 lines" not in content  # 8 candidates, one of which was a mention
    assert "| Copy rate | 0.0% of 7 lines" in content


async def test_a_voice_that_is_forgotten_meanwhile_leaves_nothing(app, tmp_path, monkeypatch):
    real = app.speaking.answer

    async def forgotten(request_id):
        spoken = await real(request_id)
        await app.store.write(accounts.forget, "ann")
        return spoken

    monkeypatch.setattr(app.speaking, "answer", forgotten)
    with pytest.raises(NotStoredError):
        await actions.card(app, "ann", tmp_path / "card")
    assert not (tmp_path / "card").exists()


async def test_the_curve_is_drawn_of_what_the_trainer_said(app, tmp_path):
    await actions.card(app, "ann", tmp_path)
    before = (tmp_path / "curve.png").read_bytes()

    def add_steps(db):
        for number in range(1, 4):
            jobs.record_event(db, jobs.get(db, 1), Step(number, 3, 5.0 - number, 1.0, 1.0).to_json())

    await app.store.write(add_steps)
    await actions.card(app, "ann", tmp_path)
    assert (tmp_path / "curve.png").read_bytes() != before
