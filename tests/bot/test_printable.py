"""What comes from outside steers no terminal and forges no line of a log."""

import io
import json
import logging
import os
import re
import sys

import pytest
import structlog
from rich.table import Table
from rich.text import Text

from bot.__main__ import main
from bot.executors import processes
from bot.faces.terminal import actions, cli
from bot.faces.terminal.screen import Screen
from bot.log import configure_logging
from bot.printable import printable, spelt
from bot.settings import XKeys, x_variable
from data.outbox import DEFAULT_ACCOUNT

EVIL = "a\x1b[2J\x9b31mb\x07\x7f\u202ec\u2028d\re\nf\tg"
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e]")


@pytest.fixture
def logged(tmp_path):
    """A function that returns what stands in the log by now."""
    configure_logging(tmp_path / "mynah.log")
    return (tmp_path / "mynah.log").read_text


@pytest.fixture
def console(logged):
    """What the service writes to stderr, instead."""
    configure_logging()
    stream = io.StringIO()
    logging.getLogger().handlers[0].stream = stream
    return stream


def test_what_a_terminal_would_obey_is_taken_out_or_spelt_out():
    assert printable(EVIL) == "a[2J31mbcde\nf\tg"
    assert json.loads(spelt(json.dumps(EVIL, ensure_ascii=False))) == EVIL
    assert not CONTROLS.search(spelt(json.dumps(EVIL, ensure_ascii=False)))
    assert printable("日本語 Z̸ 👩\u200d👧 שלום") == "日本語 Z̸ 👩\u200d👧 שלום"


def _speak_of_evil():
    structlog.get_logger().info(f"guild {EVIL}", who=EVIL.replace(" ", ""), lines=[EVIL])
    logging.getLogger("discord.gateway").warning("guild %s", EVIL)
    try:
        raise ValueError(EVIL)
    except ValueError:
        structlog.get_logger().exception("failed")


def test_a_log_on_the_console_has_a_line_for_each_event(console):
    _speak_of_evil()
    text = console.getvalue()
    assert not CONTROLS.search(text)
    assert len([line for line in text.splitlines() if not line.startswith("    ")]) == 4  # the last event's traceback begins flush


def test_a_log_in_a_file_has_a_line_for_each_event(logged):
    _speak_of_evil()
    assert not CONTROLS.search(logged())
    assert [json.loads(line)["level"] for line in logged().splitlines()] == ["info", "warning", "error"]


def test_nothing_on_the_screen_is_obeyed():
    screen = Screen(file=io.StringIO(), width=60)
    table = Table()
    table.add_column(Text(EVIL))
    table.add_row(Text(EVIL))
    screen.print(Text(EVIL, style="bold"), table)
    screen.print(Text(EVIL), soft_wrap=True)
    assert not CONTROLS.search(screen.file.getvalue())
    assert screen.file.getvalue().count("a[2J31mbc") == 4


def test_rich_alone_would_let_it_through():
    """Else the class is not needed any more."""
    from rich.console import Console

    console = Console(file=io.StringIO())
    console.print(Text(EVIL))
    assert CONTROLS.search(console.file.getvalue())


@pytest.mark.parametrize("json_wanted", [False, True])
def test_a_command_prints_nothing_that_is_obeyed(tmp_path, monkeypatch, capsys, logged, json_wanted):
    async def answer(*_, **__):
        return actions.Answer({"text": EVIL}, Text(EVIL))

    (tmp_path / "config.toml").write_text('data_dir = "var"')
    monkeypatch.setattr(actions, "jobs", answer)
    monkeypatch.setattr(cli, "configure_logging", lambda *_, **__: None)
    with pytest.raises(SystemExit) as ended:
        main(["jobs", "--config", str(tmp_path / "config.toml"), *(["--json"] if json_wanted else [])])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert not CONTROLS.search(printed)
    if json_wanted:
        assert json.loads(printed) == {"text": EVIL}


def test_a_sentence_of_an_error_is_one_line_that_nothing_obeys(capsys):
    with pytest.raises(SystemExit):
        main([f"no-such-command{EVIL}"])
    said = capsys.readouterr().err
    assert not CONTROLS.search(said)
    assert said.count("\n") == 1


async def test_a_child_knows_no_token(tmp_path, monkeypatch):
    """Trainer, speaker and carrier are all started so."""
    names = [x_variable(account, field) for account in (DEFAULT_ACCOUNT, "news") for field in XKeys.model_fields]
    for name in ["DISCORD_TOKEN", "HF_TOKEN", "MYNAH_CONFIG", "AWS_SECRET_ACCESS_KEY", "NVIDIA_API_KEY", "LANGCHAIN_API_KEY", *names]:
        monkeypatch.setenv(name, "secret")
        monkeypatch.setenv(f"{name}_FILE", "/run/secrets/secret")
    script = "import json, os, sys; print(json.dumps([dict(os.environ), sys.argv]))"
    child = await processes.start([sys.executable, "-c", script], tmp_path / "log")
    said = await child.stdout.read()
    await child.wait()
    child.stdin.close()
    assert b"secret" not in said
    assert json.loads(said)[0]["PATH"] == os.environ["PATH"]
