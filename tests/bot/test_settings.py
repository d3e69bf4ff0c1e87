"""Settings: the file, the environment above it, and a sentence for each mistake."""

import os
import tomllib
from pathlib import Path

import pytest

from bot.errors import SettingsError
from bot.settings import Settings, _paths, load_secrets, load_settings
from tests.conftest import ROOT
from trainer.protocol import Sampling


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """None of Mynah's variables but those that a test sets."""
    for name in [name for name in os.environ if name.startswith(("MYNAH_", "DISCORD_", "X_A"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def config(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "etc" / "config.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_the_shipped_file_says_what_is_the_default_and_names_every_key():
    path = ROOT / "config.toml"
    assert load_settings(path) == load_settings(None).model_copy(update={"data_dir": ROOT / "var", "cache_dir": ROOT / "var/cache"})
    text = path.read_text()
    for *section, key in _paths(Settings):
        table = f"\n[{'.'.join([*section, key])}]\n"
        assert f"\n{key} = " in text or f"\n# {key} = " in text or table in text, key


def test_sampling_is_the_preset_with_what_is_set_over_it(config):
    assert load_settings(None).speaker.sampling == Sampling()
    wanted = load_settings(config('[speaker]\npreset = "huggingtweets"\ntop_k = 0\nmin_p = 0.1\n')).speaker.sampling
    assert wanted == Sampling(temperature=1.0, top_p=0.95, top_k=0, min_p=0.1, max_tokens=160)


def test_who_answers_mentions(config):
    path = config('[x.mentions]\non = true\nvoice = "Bob-@ann"\nnever = ["@Chatter"]\ninterval = "90s"\n')
    mentions = load_settings(path).x.mentions
    assert (mentions.voice, mentions.never, mentions.interval, mentions.unattended) == ("ann-bob", {"chatter"}, 90, False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("on = true", "voice must name who answers"),
        ("on = true\nvoice = '!'", "x.mentions.voice"),
        ("account = 'news'", "mentions.account must be one of default"),
        ("interval = '59s'", "greater than or equal to 60"),
        ("unattended = 'yes, but'", "x.mentions.unattended"),
    ],
)
def test_a_mistake_in_who_answers_mentions_is_named(config, text, says):
    with pytest.raises(SettingsError, match=says):
        load_settings(config(f"[x.mentions]\n{text}\n"))


def test_the_environment_outranks_the_file(config, monkeypatch):
    path = config("[trainer]\nmax_posts = 50\nseed = 3\n")
    monkeypatch.setenv("MYNAH_TRAINER__MAX_POSTS", "70")
    settings = load_settings(path)
    assert (settings.trainer.max_posts, settings.trainer.seed) == (70, 3)


def test_who_is_blocked(config, monkeypatch):
    path = config('[discord]\nblocked_users = [1456074443980800014]\n[consent]\nblocked_handles = ["@Ann", "bob"]\n')
    assert load_settings(path).discord.blocked_users == {1456074443980800014}
    assert load_settings(path).consent.blocked_handles == {"ann", "bob"}
    monkeypatch.setenv("MYNAH_DISCORD__BLOCKED_USERS", "[5, 6]")
    assert load_settings(path).discord.blocked_users == {5, 6}


def test_relative_paths_are_relative_to_the_file(config, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    assert load_settings(config('data_dir = "../lib"\n')).data_dir == tmp_path / "lib"
    assert load_settings(config('data_dir = "/srv/mynah"\n')).cache_dir == Path("/srv/mynah/cache")
    assert load_settings(config('[safety]\nblocklist = "lists/words.txt"\n')).safety.blocklist == tmp_path / "etc/lists/words.txt"
    assert load_settings(config("")).safety.blocklist is None


@pytest.mark.parametrize(
    ("text", "environ", "named"),
    [
        ("[trainer]\nmax_post = 5\n", {}, "trainer.max_post in config.toml is not a setting of Mynah's; did you mean trainer.max_posts?"),
        ("[traner]\nseed = 5\n", {}, "traner in config.toml is not a setting of Mynah's; did you mean trainer?"),
        ("colour = 'red'\n", {}, "colour in config.toml is not a setting of Mynah's."),
        ("", {"MYNAH_TRAINER__MAXPOSTS": "5"}, "The variable MYNAH_TRAINER__MAXPOSTS is not a setting"),
        ("", {"MYNAH_DATADIR": "x"}, "did you mean MYNAH_DATA_DIR"),
        ("[trainer]\nmax_posts = 'many'\n", {}, "trainer.max_posts in config.toml is wrong"),
        ("", {"MYNAH_TRAINER__MAX_POSTS": "-4"}, "The variable MYNAH_TRAINER__MAX_POSTS is wrong"),
        ("trainer = 5\n", {}, "trainer in config.toml is wrong"),
        ("[trainer\n", {}, "config.toml is not valid TOML"),
        ("\x00", {}, "config.toml is not valid TOML"),
        ("a = " + "[" * 5_000, {}, "config.toml is not valid TOML"),
        ("a." * 2_000 + "a = 1", {}, "a in config.toml is not a setting of Mynah's"),
        ('data_dir = "a\\u0000b"\n', {}, "The path 'a\\x00b' cannot be used"),
        ("[trainer]\nat_once = 257\n", {}, "trainer.at_once in config.toml is wrong"),
        ("[trainer]\nstay_minutes = inf\n", {}, "trainer.stay_minutes in config.toml is wrong"),
        ("[trainer]\nstart_from = 'first'\n", {}, "trainer.start_from in config.toml is wrong"),
        ("[speaker]\ntop_p = 1.5\n", {}, "speaker.top_p in config.toml is wrong"),
        ("[x]\nahead = 'soon'\n", {}, "x.ahead in config.toml is wrong: 'soon' is not a span"),
        ("[x]\nunattended = ['a b']\n", {}, "x.unattended.0 in config.toml is wrong"),
        ("[x]\nsuffix = ' by @ann'\n", {}, "x.suffix in config.toml is wrong: with it every post mentions somebody"),
        ("[x]\ndaily_cap = -1\n", {}, "x.daily_cap in config.toml is wrong"),
        ("[x.prices]\nposts_read = nan\n", {}, "x.prices.posts_read in config.toml is wrong"),
        ("[x.prices]\npost_read = 1\n", {}, "did you mean x.prices.posts_read"),
        ("", {"MYNAH_X__PRICES__POSTS_READ": "free"}, "The variable MYNAH_X__PRICES__POSTS_READ is wrong"),
        (
            "[consent]\nblocked_handles = ['a b']\n",
            {},
            "consent.blocked_handles.0 in config.toml is wrong: 'a b' is not a handle",
        ),
        ("[discord]\nblocked_users = ['bob']\n", {}, "discord.blocked_users.0 in config.toml is wrong"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_key(config, monkeypatch, text, environ, named):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings(config(text))
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_named_file_must_exist(tmp_path, monkeypatch):
    with pytest.raises(SettingsError, match="no configuration file"):
        load_settings(tmp_path / "nowhere.toml")
    monkeypatch.setenv("MYNAH_CONFIG", str(tmp_path / "nowhere.toml"))
    with pytest.raises(SettingsError, match="no configuration file"):
        load_settings(None)


def test_secrets_come_from_the_environment_or_a_file_it_names_and_never_show(tmp_path, monkeypatch):
    file = tmp_path / "token"
    file.write_text("from-a-file\n")
    for name, value in {"DISCORD_TOKEN_FILE": str(file), "X_API_KEY": "k", "X_API_SECRET": " "}.items():
        monkeypatch.setenv(name, value)
    secrets = load_secrets()
    assert secrets.discord_token.get_secret_value() == "from-a-file"
    assert (secrets.of_x().api_key.get_secret_value(), secrets.of_x().api_secret) == ("k", None)
    assert "from-a-file" not in repr(secrets)
    monkeypatch.setenv("DISCORD_TOKEN_FILE", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="DISCORD_TOKEN_FILE"):
        load_secrets()
    file.write_bytes(b"\xff")
    monkeypatch.setenv("DISCORD_TOKEN_FILE", str(file))
    with pytest.raises(SettingsError, match="which holds no text"):
        load_secrets()


def test_the_shipped_file_holds_no_secret():
    document = tomllib.loads((ROOT / "config.toml").read_text())
    assert not [
        key for section in document.values() if isinstance(section, dict) for key in section if "token" in key and key != "max_tokens"
    ]


def test_a_schedule_is_named_in_capitals_or_not(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[x]\nunattended = ["Mornings"]\n')
    assert load_settings(path).x.unattended == {"mornings"}
