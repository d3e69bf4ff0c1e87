"""Taking a voice away from Discord: its adapter, attached, for moderators and for whoever the posts belong to."""

import asyncio
import hashlib
import random
import zipfile
from io import BytesIO
from pathlib import Path

import discord
import pytest

from bot.faces.discord.context import Context, signature
from bot.services import exporting
from data import consents, models, servers
from data.choosing import Counts
from data.consents import Ground
from tests.bot.discord.conftest import Stage, posts
from tests.conftest import store_account
from trainer.protocol import Exported


def refused(stage: Stage, times: int = 1) -> None:
    """Say that so many commands ended in a refusal, which simcord would else count as a defect."""
    assert len(stage.env.errors) == times


@pytest.fixture(autouse=True)
def size(monkeypatch):
    """How many bytes the adapter has; no child makes it."""
    sizes = {"bytes": 1000}

    async def carry(order, *_):
        assert order.adapter
        (Path(order.output) / "adapter_model.safetensors").write_bytes(random.Random(0).randbytes(sizes["bytes"]))
        return Exported("tiny", "<s>", sizes["bytes"])

    monkeypatch.setattr(exporting, "carry", carry)
    return sizes


async def train(stage: Stage, handle: str = "keeper", adapter: dict | None = None) -> None:
    number = len(stage.executor.runs) + 1
    wanted = await stage.app.training.request([handle], by="operator")
    (await stage.run(number)).done(details={"adapter": {"rank": 8, "scale": 2.0} if adapter is None else adapter})
    await stage.app.training.result(wanted.job.id)


async def claim(stage: Stage, member, handle: str, ground: Ground) -> None:
    await stage.app.store.write(consents.claim, handle, ground, signature(member))


async def test_a_moderator_gets_the_adapter_in_private(stage: Stage):
    await train(stage)
    result = await stage.boss.slash(stage.channel, "export", voice="keeper")
    assert result.ephemeral
    assert result.response.content == "Version 1 of **keeper**; its README says what to do with it."
    (file,) = result.response.attachments
    assert file.filename == "keeper-v1.zip"
    names = zipfile.ZipFile(BytesIO(await file.read())).namelist()
    assert names == [f"keeper-v1/{name}" for name in ("README.md", "adapter_model.safetensors", "mynah.json")]
    assert not list((stage.app.settings.data_dir / "travel").glob("*"))


async def test_whoever_brought_the_accounts_own_archive_gets_it_and_nobody_else(stage: Stage):
    await train(stage)
    await claim(stage, stage.alice, "keeper", Ground.ARCHIVE)
    await claim(stage, stage.bob, "keeper", Ground.PERMISSION)
    assert (await stage.alice.slash(stage.channel, "export", voice="keeper")).response.attachments
    no = await stage.bob.slash(stage.channel, "export", voice="keeper")
    assert no.ephemeral
    assert no.response.content.startswith("Exporting is for members with the permission Manage Server, and for whoever brought")
    refused(stage)


async def test_exports_wait_for_each_other_since_each_takes_the_memory_of_a_base(stage: Stage, monkeypatch):
    await train(stage)
    begun = []
    pretend = exporting.carry

    async def noted(*order):
        begun.append(order)
        return await pretend(*order)

    monkeypatch.setattr(exporting, "carry", noted)
    turn = stage.env.bot.get_cog("Exporting")._one_at_a_time
    async with turn:
        asked = asyncio.create_task(stage.boss.slash(stage.channel, "export", voice="keeper"))
        async with asyncio.timeout(60):
            while not turn._waiters:
                await stage.app.store.changed(0.05)
        assert not begun
    assert (await asked).response.attachments
    assert len(begun) == 1


async def test_a_joint_voice_is_for_whoever_brought_all_of_it(stage: Stage):
    number = len(stage.executor.runs) + 1
    wanted = await stage.app.training.request(["keeper", "gull"], by="operator")
    (await stage.run(number)).done(details={"adapter": {"rank": 8}})
    await stage.app.training.result(wanted.job.id)
    await claim(stage, stage.alice, "keeper", Ground.ARCHIVE)
    no = await stage.alice.slash(stage.channel, "export", voice="gull-keeper")
    assert "brought the archive of each account" in no.response.content
    await claim(stage, stage.alice, "gull", Ground.ARCHIVE)
    assert (await stage.alice.slash(stage.channel, "export", voice="gull-keeper")).response.attachments
    refused(stage)


async def test_who_may_not_use_a_voice_here_may_not_take_it_away(stage: Stage):
    await train(stage)
    await claim(stage, stage.alice, "keeper", Ground.ARCHIVE)
    role = stage.boss.guild.create_role("Crew")
    await stage.app.store.write(servers.set_voice_roles, stage.boss.guild.id, "keeper", [role.id], "boss")
    no = await stage.alice.slash(stage.channel, "export", voice="keeper")
    assert no.response.content == "The voice keeper is for members with the role Crew in this server."
    refused(stage)


async def test_typed_in_a_channel_it_is_refused_since_all_would_get_it(stage: Stage):
    await train(stage)
    await stage.boss.send(stage.channel, "!export keeper")
    assert stage.history[-1].content == "What is exported is for you alone to see: use `/export`, or write to me in private."
    assert not stage.history[-1].attachments
    refused(stage)


async def test_typed_in_private_it_is_for_the_owner(stage: Stage):
    await train(stage)
    carol = stage.env.create_user("carol")
    await carol.send_dm("!export keeper")
    await claim(stage, carol, "keeper", Ground.ARCHIVE)
    await carol.send_dm("!export keeper")
    first, second = (m for m in carol.dm_channel.history() if m.author.id == stage.env.bot.user.id)
    assert first.content.startswith("Exporting is for members")
    assert [file.filename for file in second.attachments] == ["keeper-v1.zip"]
    refused(stage)


async def test_a_file_that_discord_would_refuse_is_not_sent(stage: Stage, size):
    await train(stage)
    size["bytes"] = 30_000_000
    no = await stage.boss.slash(stage.channel, "export", voice="keeper")
    assert no.ephemeral
    assert no.response.content.startswith("The file has ")
    assert "`mynah export keeper DIR --adapter` writes it on Mynah's machine." in no.response.content
    refused(stage)


async def test_where_mynah_may_not_attach_files_it_says_so(stage: Stage, monkeypatch):
    await train(stage)
    monkeypatch.setattr(Context, "bot_permissions", discord.Permissions(send_messages=True))
    no = await stage.boss.slash(stage.channel, "export", voice="keeper")
    assert no.response.content == "I may not attach files here: ask a moderator to give me the permission Attach Files."
    refused(stage)


async def test_a_voice_that_is_not_there_or_has_no_adapter_is_one_sentence(stage: Stage):
    missing = await stage.boss.slash(stage.channel, "export", voice="nobody")
    assert missing.response.content.startswith("No voice named nobody is trained")
    await train(stage, adapter={})
    whole = await stage.boss.slash(stage.channel, "export", voice="keeper")
    assert whole.response.content.startswith("keeper is a whole model, too large to attach")
    refused(stage, 2)


async def test_a_voice_is_offered_as_it_is_typed(stage: Stage):
    await train(stage)
    assert [choice["value"] for choice in await stage.boss.autocomplete(stage.channel, "export", "voice", "kee")] == ["keeper"]


async def test_an_imported_voice_is_shown_and_listed_without_a_loss(stage: Stage, tmp_path):
    await stage.app.store.write(store_account, "crab", posts("crab", 3))
    file = tmp_path / "weights"
    file.write_bytes(b"weights")
    result = {"loss_before": None, "loss_after": None, "seconds": 0.0, "samples": ["a line"], "details": {"adapter": None, "typical": -4.0}}
    result["sha256"] = hashlib.sha256(b"weights").hexdigest()
    recipe = {"base": "gpt2", "method": "whole"}
    for version in (1, 2):
        await stage.app.store.write(
            models.add_imported, {"crab": Counts(9, 1, 1, 7, 0)}, recipe | {"imported": version}, file, result, "operator"
        )
    listed = await stage.alice.slash(stage.channel, "models")
    assert "• **crab** · version 2 · 7 posts · imported · " in listed.response.content
    shown = await stage.boss.slash(stage.channel, "show", voice="crab")
    (embed,) = shown.response.embeds
    assert next((field.name, field.value) for field in embed.fields) == ("Made", "elsewhere, and imported")
    assert any("UTC, imported" in (option["description"] or "") for option in shown.response.components[0]["components"][0]["options"][1:])
