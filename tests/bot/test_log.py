"""The log: its styles, what is bound to a task, and what no line holds."""

import asyncio
import json
import logging

import pytest
import structlog

from bot import log as log_module
from bot.log import configure_logging
from bot.settings import Secrets, XKeys, load_secrets, x_variable
from data.outbox import DEFAULT_ACCOUNT

SECRET = "hunter2-token"
log = structlog.get_logger()


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_file_holds_an_object_a_line_with_what_is_bound(tmp_path):
    file = tmp_path / "mynah.log"
    configure_logging(file)
    with structlog.contextvars.bound_contextvars(job=7, voice="ann"):
        log.info("model stored", version=2)
        logging.getLogger("elsewhere").warning("of a library")
    first, second = lines(file)
    assert (first["event"], first["job"], first["voice"], first["version"], first["level"]) == ("model stored", 7, "ann", 2, "info")
    assert (second["event"], second["job"], second["logger"]) == ("of a library", 7, "elsewhere")


def test_the_service_writes_for_people_or_json_as_it_is_told(capsys):
    configure_logging(style="json")
    log.info("Mynah runs")
    assert json.loads(capsys.readouterr().err)["event"] == "Mynah runs"
    configure_logging()
    log.info("Mynah runs")
    assert "Mynah runs" in capsys.readouterr().err


def test_a_file_for_people_has_no_colours(tmp_path):
    configure_logging(tmp_path / "mynah.log", style="console")
    log.info("Mynah runs")
    said = (tmp_path / "mynah.log").read_text()
    assert "Mynah runs" in said
    assert "\x1b" not in said


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_secret_is_struck_out_wherever_it_stands(tmp_path, style):
    file = tmp_path / "mynah.log"
    configure_logging(file, style=style, secrets=[SECRET, ""])
    event = f"bearing {SECRET}"
    log.info(event, address=f"https://x.example/?token={SECRET}")
    logging.getLogger("library").error("refused: %s", SECRET)
    try:
        raise ValueError(SECRET)
    except ValueError:
        log.exception("a command failed")
    said = file.read_text()
    assert SECRET not in said
    assert said.count("[secret]") >= 4


def test_every_secret_of_the_environment_is_one(monkeypatch):
    names = [name.upper() for name in Secrets.model_fields if name != "x"]
    names += [x_variable(account, name) for account in (DEFAULT_ACCOUNT, "news") for name in XKeys.model_fields]
    assert len(names) > 10
    for name in names:
        monkeypatch.setenv(name, f"value-of-{name}")
    assert sorted(load_secrets(["news"]).values()) == sorted(f"value-of-{name}" for name in names)
    assert Secrets().values() == []


def test_a_long_log_begins_anew_and_the_old_one_is_kept_once(tmp_path, monkeypatch):
    monkeypatch.setattr(log_module, "FILE_BYTES", 10)
    file = tmp_path / "mynah.log"
    file.write_text("what was logged long before\n")
    configure_logging(file)
    log.info("Mynah runs")
    assert (tmp_path / "mynah.log.1").read_text() == "what was logged long before\n"
    assert [line["event"] for line in lines(file)] == ["Mynah runs"]


async def test_what_is_bound_in_one_task_is_not_in_anothers_lines(tmp_path):
    configure_logging(tmp_path / "mynah.log")

    async def one(server):
        structlog.contextvars.bind_contextvars(server=server)
        await asyncio.sleep(0)
        log.info("asked")

    await asyncio.gather(*(asyncio.create_task(one(server)) for server in (1, 2)))
    log.info("elsewhere")
    assert [line.get("server") for line in lines(tmp_path / "mynah.log")] == [1, 2, None]
