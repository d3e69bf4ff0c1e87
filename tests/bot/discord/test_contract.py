"""The contract check itself: it lets through what Discord's description allows, and names what it does not; and who could be called."""

from types import SimpleNamespace

import pytest

from tests import discord_contract

described = pytest.mark.skipif(not discord_contract.available(), reason="no ../shared/discord-api here")
MESSAGES = "/channels/1456074443980800014/messages"


def request(method: str, path: str, json: object) -> SimpleNamespace:
    return SimpleNamespace(method=method, path=path, params={}, json=json)


@described
def test_what_is_allowed():
    """A plain message, with ids as numbers as discord.py sends them."""
    body = {"content": "words", "tts": False, "allowed_mentions": {"parse": [], "users": [1456074443980800015]}}
    assert discord_contract.breaches([request("POST", MESSAGES, body)]) == []


@described
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", MESSAGES, {"content": 5}),
        ("POST", MESSAGES, {"content": "x" * 4001}),
        ("POST", MESSAGES, {"embeds": [{"title": "x" * 257}]}),
        ("PATCH", "/channels/here/messages", {}),
        ("PUT", "/applications/1456074443980800014/commands", [{"name": "x" * 33, "description": "long"}]),
    ],
)
def test_what_is_not(method: str, path: str, body: object):
    """A wrong type, a text that is too long, a path that there is not."""
    (breach,) = discord_contract.breaches([request(method, path, body)])
    assert breach.startswith(f"1. {method} {path}")


def test_what_could_call_somebody():
    """Every request with words that leaves it to Discord to look for mentions is found; conftest.py looks at all that tests send."""
    quiet = {"content": "@everyone", "allowed_mentions": {"parse": [], "users": [1456074443980800015]}}
    loud = [{"content": "x"}, {"content": "x", "allowed_mentions": {"parse": ["users"]}}, {"content": "x", "allowed_mentions": {}}]
    reply = "/interactions/1/token/callback"
    asked = [request("POST", MESSAGES, body) for body in (quiet, *loud)]
    asked += [request("POST", reply, {"type": 4, "data": body}) for body in (quiet, *loud)]
    assert discord_contract.left_open(asked) == [*asked[1:4], *asked[5:]]
