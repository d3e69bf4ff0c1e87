"""`mynah card` on the command line: what is typed reaches the service, and what was written is said."""

import json
from pathlib import Path

from rich.text import Text
from typer.testing import CliRunner

from bot.faces.terminal import actions
from bot.faces.terminal.cli import cli


def typed(tmp_path, monkeypatch, *words):
    """Return what a command line handed on, and what it printed."""
    (tmp_path / "config.toml").write_text(f'data_dir = "{tmp_path / "var"}"\n')
    handed = []

    async def card(app, *arguments, **options):
        handed.append((arguments, options))
        return actions.Answer({"files": ["README.md"]}, Text("It is written."))

    monkeypatch.setattr(actions, "card", card)
    result = CliRunner().invoke(cli, ["card", *words, "--config", str(tmp_path / "config.toml")])
    assert result.exit_code == 0, result.output
    return handed[0], result.stdout


def test_every_option_is_handed_on(tmp_path, monkeypatch):
    words = [
        "ann-bob",
        "out",
        "--html",
        "--name",
        "ann=Ann",
        "--name",
        "bob=B=b",
        "--avatar",
        "ann=f.png",
        "--prompt",
        "I",
        "--version",
        "2",
    ]
    (arguments, options), said = typed(tmp_path, monkeypatch, *words)
    assert arguments == ("ann-bob", Path("out"))
    assert options == {"html": True, "names": ["ann=Ann", "bob=B=b"], "avatars": ["ann=f.png"], "prompt": "I", "version": 2}
    assert said == "It is written.\n"


def test_a_handle_is_enough(tmp_path, monkeypatch):
    (arguments, options), said = typed(tmp_path, monkeypatch, "ann", "--json")
    assert arguments == ("ann", None)
    assert options == {"html": False, "names": (), "avatars": (), "prompt": None, "version": None}
    assert json.loads(said) == {"files": ["README.md"]}
