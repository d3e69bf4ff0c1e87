# ruff: noqa: RUF001 - Japanese has brackets and colons of its own
import ast
import asyncio
import re
import tomllib
from functools import cache
from pathlib import Path

import discord
import pytest

import bot.errors
from bot.faces.discord import language
from bot.faces.discord.bot import MynahBot
from bot.faces.discord.language import catalogue
from bot.faces.words import counted
from bot.services.posting import LOOK
from data import servers
from tests.bot.discord.conftest import unlike
from trainer import protocol

ROOT = Path(bot.__file__).parents[1]
FACE = ROOT / "bot" / "faces" / "discord"
ERRORS = {*bot.errors.__all__, "BadWeightsError", "SendError", "XError"} - {"SettingsError", "MynahError"}
UNHEARD = (
    "bot/faces/terminal",
    "bot/faces/web",
    "bot/monitor.py",
    "bot/services/backups.py",
    "bot/services/blocklist.py",
    "bot/services/bringing.py",
    "bot/services/publishing.py",
    "bot/services/pushing.py",
    "data/backups.py",
)
"""Whose errors no member can run into: the terminal's, the settings', and those of backups and of folders with cards and models."""
SENTENCES = {"tr": 0, "begin": 0, "publish": 0, "fail": 2, "Failed": 1, "Verdict": 1, "Broken": 1}
"""Functions that take a sentence, and at which place."""
SHOWN = ("content", "label", "placeholder", "title", "description", "name", "text")
SHOWING = {"answer", "ask", "refuse", "send", "reply", "send_message", "edit", "edit_message", "edit_original_response", "add_field"} | {
    "set_footer", "Button", "Select", "RoleSelect", "ChannelSelect", "SelectOption", "Label", "Modal", "TextInput", "Embed"
}  # fmt: skip
LOOK_JA = "投稿先をご確認ください。なければ承認（再送）、あれば確認済み、放っておくなら却下にします"
PLACES = re.compile(r"\{[^{}]*\}")


def erased(text):
    """A sentence with nothing in its places."""
    return PLACES.sub("{}", text)


def written(node):
    """The text of a literal, with its values' places; None: it is none."""
    match node:
        case ast.Constant(value=str(text)):
            return erased(text)
        case ast.JoinedStr(values=values):
            return "".join("{}" if isinstance(value, ast.FormattedValue) else value.value for value in values)
    return None


@cache
def module(path):
    return ast.parse(path.read_text("utf-8"))


def sources(*folders):
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def called(node):
    return getattr(node.func, "id", getattr(node.func, "attr", ""))


def texts(node, tree):
    """Every text that an expression of a module can be, as far as its literals tell."""
    if (text := written(node)) is not None:
        return {text}
    found = set()
    match node:
        case ast.IfExp(body=body, orelse=orelse):
            found = texts(body, tree) | texts(orelse, tree)
        case ast.BoolOp(values=values):
            found = {text for value in values for text in texts(value, tree)}
        case ast.Dict(values=values) | ast.Tuple(elts=values) | ast.List(elts=values):
            found = {text for value in values for text in texts(value, tree)}
        case ast.Subscript(value=ast.Name() as name):
            found = texts(name, tree)
        case ast.Name(id=name):
            for other in ast.walk(tree):
                if isinstance(other, ast.Assign) and any(isinstance(target, ast.Name) and target.id == name for target in other.targets):
                    found |= texts(other.value, tree)
        case ast.Call(func=ast.Name(id=name)):
            for other in ast.walk(tree):
                if isinstance(other, ast.FunctionDef) and other.name == name and name.startswith("_"):
                    found |= {
                        text for line in ast.walk(other) if isinstance(line, ast.Return) and line.value for text in texts(line.value, tree)
                    }
    return found


@cache
def heard():
    """Every sentence that can reach a member, and where it stands."""
    found = {}
    for path in sources("bot", "data"):
        where = path.relative_to(ROOT).as_posix()
        if where.startswith(UNHEARD):
            continue
        tree = module(path)
        for node in ast.walk(tree):
            if isinstance(node, ast.Return) and (text := written(node.value)) and text.startswith("holds "):
                found[text] = where
            if not isinstance(node, ast.Call):
                continue
            name = called(node)
            if name == "write" and getattr(node.args[0], "attr", "") == "fail":  # `store.write(speech.fail, request, sentence)`
                name = "fail"
            place = 0 if name in ERRORS else SENTENCES.get(name)
            if place is not None and len(node.args) > place:
                found |= dict.fromkeys(texts(node.args[place], tree), f"{where}:{node.lineno}")
            if name == "plural" and (text := written(node.args[1])):
                found |= {f"{{}} {text}": where, f"{{}} {text}s": where}
    return {text: where for text, where in found.items() if re.search(r"[A-Za-z]{2}", PLACES.sub("", text))}


def verdicts():
    """The names of all verdicts, each as it is counted where no line may be said."""
    calls = [node for path in sources("bot") for node in ast.walk(module(path)) if isinstance(node, ast.Call)]
    return {f"{text} {{}}" for node in calls if called(node) in {"Verdict", "Broken"} and (text := written(node.args[0]))}


def forgotten():
    """What is counted of an account that is forgotten, each as it is said."""
    (forget,) = [node for node in module(ROOT / "data/accounts.py").body if getattr(node, "name", "") == "forget"]
    named = [node.keys for node in ast.walk(forget) if isinstance(node, ast.Dict)]
    named += [node.value.elts for node in ast.walk(forget) if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple)]
    tables = {text for nodes in named for node in nodes if (text := written(node))}
    return {f"{{}}{counted(number, table).lstrip('12')}" for table in tables for number in (1, 2)}


def entries():
    """The Japanese catalogue: every entry by its sentence."""
    sections = tomllib.loads((FACE / "words_ja.toml").read_text("utf-8"))
    return {english: own for section in sections.values() for english, own in section.items()}


def test_no_sentence_is_in_the_catalogue_twice():
    sections = tomllib.loads((FACE / "words_ja.toml").read_text("utf-8"))
    assert sum(map(len, sections.values())) == len(entries())


def shown(tree):
    """The commands as Discord gets them, and the descriptions within."""
    for command in (*tree.walk_commands(), *tree.get_commands(type=discord.AppCommandType.message)):
        yield getattr(command, "description", "") or command.name
        for parameter in getattr(command, "parameters", ()):
            yield parameter.description


def test_every_sentence_that_a_member_can_see_is_in_the_japanese_catalogue():
    have = {erased(english) for english in entries()}
    assert len(heard()) > 250
    assert {text: where for text, where in heard().items() if text not in have} == {}
    assert (len(forgotten()), len(verdicts())) == (16, 11)
    assert (forgotten() | verdicts()) - have == set()


def test_every_description_of_a_command_is_in_the_japanese_catalogue_and_short_enough_for_discord(simcord_bot, env):
    found = list(shown(simcord_bot.tree))
    have = entries()
    assert len(found) > 30
    assert [text for text in found if text not in have] == []
    assert [have[text] for text in found if len(have[text]) > 100] == []


def unsaid(tree):
    """The literals of a module that nobody is told: documentation, what something is compared with, what goes to the log."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=value) | ast.Subscript(slice=value) | ast.MatchValue(value=value):
                yield value
            case ast.Compare(left=left, comparators=others):
                yield from (left, *others)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log")), args=values):
                yield from values


def test_every_entry_of_the_catalogue_is_still_made_somewhere(simcord_bot, env):
    made = set(heard()) | forgotten() | verdicts() | set(map(erased, shown(simcord_bot.tree)))
    for path in sources("bot", "data", "trainer"):
        silent = set(map(id, unsaid(module(path))))
        made |= {text for node in ast.walk(module(path)) if id(node) not in silent and (text := written(node)) is not None}
    assert [english for english in entries() if erased(english) not in made] == []


def test_no_text_of_the_face_goes_out_past_the_catalogue():
    past = []
    for path in sources("bot/faces/discord"):
        for node in ast.walk(module(path)):
            if not isinstance(node, ast.Call) or called(node) not in SHOWING:
                continue
            said = [node.args[0]] if node.args and called(node) in {"answer", "ask", "refuse", "send", "reply", "send_message"} else []
            for value in [*said, *(word.value for word in node.keywords if word.arg in SHOWN)]:
                parts = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
                texts = [text for part in parts if (text := written(part)) and re.search(r"[A-Za-z]{2}", PLACES.sub("", text))]
                past += [(path.name, node.lineno, text) for text in texts]
    assert past == []


def test_a_translation_carries_over_each_value_of_its_sentence_and_no_other():
    place = re.compile(r"\{(\w+)(?::words|:list)?\}")
    for english, own in entries().items():
        assert set(place.findall(own)) <= set(place.findall(english)), english
        assert not set(re.findall(r"`[^`]*`", own)) - set(re.findall(r"`[^`]*`", english)), english
        assert not re.search(r"\}\{\w+:words\}", english), english  # nothing tells where the value before it ends
        lost = set(place.findall(english)) - set(place.findall(own)) - {"s"}
        assert not lost, (english, lost)


def test_a_value_in_a_sentence_is_never_translated_and_mynahs_own_words_in_it_are():
    find = catalogue("ja").find
    assert find("**Cancel** stays.") == "**Cancel** はそのまま残ります。"
    assert find("That topic holds a phone number: give another.") == "この話題は電話番号を含むため使えません。別の話題を指定してください。"
    assert find("@a has 12 characters in 2 usable posts of 9 (3 retweets, 4 too short), and training needs 500: import more posts.") == (
        "@a の使える投稿は2件・12文字です（元の投稿数 9、除外：リツイート3件、短すぎるもの4件）。"
        "学習には500文字必要です。投稿をもっと取り込んでください。"
    )
    claim = (
        "Nobody has claimed consent for @a on the ground of archive, as the settings ask:"
        " `mynah consent a --ground …` writes down who does."
    )
    assert find(claim) == (
        "@a について、設定で求められている根拠（archive）による同意を申告した人がいません。`mynah consent a --ground …` で記録できます。"
    )
    assert find("None of 24 lines of a may be said (copy 20, cut_off 4): try another prompt.") == (
        "a の24件の文は、どれも表示できませんでした（写し 20件、途切れ 4件）。別のプロンプトをお試しください。"
    )
    assert find("**a** is forgotten: 1,150 tweets, 2 voices, 3 requests.") == (
        "**a** を削除しました：元の投稿1,150件、ボイス2件、生成の依頼3件"
    )
    assert find("The voice a is for members with the role Boss or Chief in this server.") == (
        "このサーバーでは、ボイス a はロール Boss、Chief のあるメンバーのみ利用できます。"
    )
    assert find(" and 12 besides") == "、ほか12人"
    assert find("**a** · job 1 · " * 1000).startswith("**a** · ジョブ 1 · **a** · ジョブ 1 · ")  # in no time, and not without end
    assert find("A sentence that nobody wrote down.") is None


@pytest.mark.parametrize(
    ("reason", "own"),
    [
        (
            f"Mynah stopped while this was being sent, so it may be there; {LOOK}.",
            f"送信中にMynahが停止したため、投稿されている可能性があります。{LOOK_JA}。",
        ),
        (
            f"X failed with 503 while it had the post, which may be there; {LOOK}.",
            f"投稿の送信中に、Xがエラー 503 を返しました。投稿されている可能性があります。{LOOK_JA}。",
        ),
        (
            "Discord did not answer clearly, so the line may be in the channel or not; Mynah looks before it sends it again.",
            "Discordからはっきりした応答がなく、文がチャンネルにあるかどうか分かりません。もう一度送る前に、Mynahが確認します。",
        ),
        (
            f"It may be there, and Mynah could not look (I may not read the messages of the channel); {LOOK}.",
            f"すでに投稿されている可能性があります。Mynahは確認できませんでした（チャンネルのメッセージを読む権限がありません）。{LOOK_JA}。",
        ),
        (
            f"It may be there, and Mynah looked and did not find it; {LOOK}.",
            f"すでに投稿されている可能性があります。Mynahが確認しましたが、見つかりませんでした。{LOOK_JA}。",
        ),
        ("It was not taken yet: I cannot see it; nor you.", "まだ受け付けられていません：I cannot see it; nor you."),
    ],
)
def test_reasons_that_are_made_of_two_sentences_are_translated_and_a_persons_are_not(reason, own):
    assert catalogue("ja").find(reason) == own


def test_what_a_person_wrote_with_a_semicolon_stays():
    assert catalogue("ja").find("Too dull; the gull was better.") is None


# --------------------------------------------------------------------- in a server


@pytest.fixture
def in_japanese(monkeypatch):
    """Takes members whose Discord is in Japanese; simcord knows English ones alone."""
    there = set()
    take = discord.Interaction._from_data

    def taken(interaction, data):
        who = int(data["member" if "member" in data else "user"].get("user", data.get("user"))["id"])
        take(interaction, data | ({"locale": "ja"} if who in there else {}))

    monkeypatch.setattr(discord.Interaction, "_from_data", taken)
    return lambda *members: there.update(member.id for member in members)


async def speaks(stage, language):
    await stage.app.store.write(servers.change, stage.channel.guild.id, "boss", language=language)


def labels(message):
    return [part["label"] for row in message.components for part in row["components"] if "label" in part]


async def test_a_refusal_is_in_the_language_of_whoever_is_refused(stage, in_japanese):
    in_japanese(stage.alice)
    for setting in ("auto", "en"):
        await speaks(stage, setting)
        refused = await stage.alice.slash(stage.channel, "generate", voice="nobody")
        assert refused.followups[-1].ephemeral
        assert refused.followups[-1].content.startswith("nobody という学習済みのボイスはありません。`/train nobody` で作れます。")
    refused = await stage.bob.slash(stage.channel, "generate", voice="nobody")
    assert refused.followups[-1].content.startswith("No voice named nobody is trained: `/train nobody` makes it")
    assert len(stage.env.errors) == 3


async def test_a_reader_of_a_third_language_reads_the_servers(stage, monkeypatch):
    monkeypatch.delitem(language.LOCALES, discord.Locale.american_english)  # which everybody has in simcord
    await speaks(stage, "ja")
    assert "あなたについて保存されているものはありません。" in (await stage.alice.slash(stage.channel, "about")).response.content


async def test_the_question_is_the_askers_and_the_message_that_follows_the_servers(stage, in_japanese):
    in_japanese(stage.alice)
    asked = await stage.alice.slash(stage.channel, "train", handles="keeper")
    assert asked.response.content.startswith(
        "**keeper** を tiny で学習しますか？\n• @\u200bkeeper: 使える投稿 150件\n• データ：保存済みの投稿。"
    )
    assert labels(asked.response) == ["学習する", "やめる"]
    await stage.alice.click(asked.response, label="学習する")
    (public,) = [message for message in stage.history if not message.flags.ephemeral]
    assert public.content == "**keeper** · job 1 · is queued"
    assert [button.label for row in public.components for button in row.children] == ["Cancel"]
    assert asked.response.content == f"**keeper** の学習は待機中です。進み具合はこちらで確認できます：{public.jump_url}"


async def test_a_servers_progress_and_card_are_in_its_language_and_the_lines_in_them_are_left_alone(stage):
    await speaks(stage, "ja")
    await stage.alice.send(stage.channel, "!train keeper")
    await stage.alice.click(stage.history[-1], label="学習する")
    run = await stage.run()
    run.say(protocol.Stage("train"), protocol.Step(50, 100, 3.0, 1234.0, 95.0), protocol.Sample(50, "Nobody voted."))
    run.say(protocol.Note("The GPU's memory ran out: going on with 2 rows at once instead of 4."), protocol.Note("A note of tomorrow's."))
    await stage.recorded(1, 5)
    await stage.env.advance_time(6)
    shown = stage.history[0].content
    for expected in (
        "**keeper** · ジョブ 1 · 学習しています\n",
        "` 50% · 残り約1分35秒\nステップ 50/100 · 損失 3.00 · 1,234 トークン/秒",
        "> *“Nobody voted.”*",
        "⚠ GPUのメモリが不足しました。同時に処理する行数を4から2に減らして続けます。",
        "⚠ A note of tomorrow's.",
    ):
        assert expected in shown, shown
    assert [button.label for row in stage.history[0].components for button in row.children] == ["取り消す"]
    run.done(samples=["Nobody voted."])
    await stage.app.training.ended(1)
    await stage.env.advance_time(6)
    card, told = stage.history
    assert card.content == "**keeper** の学習が終わりました。`/generate` で話させることができます。"
    assert told.content == f"<@{stage.alice.id}> {card.content}"
    fields = {field.name: field.value for field in card.embeds[0].fields}
    assert fields["時間"] == "1分23秒"
    assert fields["投稿"] == "**keeper**：全150件 = リツイート0件 + 短いもの0件 + 採用150件（うち重複0件）"
    assert card.embeds[0].description == "• Nobody voted."
    assert [button.label for row in card.components for button in row.children] == ["生成", "再学習", "削除"]


async def test_a_line_that_reads_like_a_sentence_of_mynahs_is_left_as_the_voice_said_it(stage, in_japanese):
    in_japanese(stage.alice)
    await speaks(stage, "ja")
    await stage.train()
    stage.speaker.lines[:] = ["Nobody voted.", "The duel is over: nobody came", "Nobody guessed."]
    said = (await stage.alice.slash(stage.channel, "generate", voice="keeper", count=1)).response
    assert said.content == "**keeper**: Nobody voted."
    assert labels(said) == ["もう一度", "似た文をもっと"]
    await stage.alice.send(stage.channel, "!generate keeper")
    assert "The duel is over: nobody came" in stage.history[-1].content


async def test_public_answers_are_the_servers_and_buttons_under_them_too(stage, in_japanese):
    in_japanese(stage.alice)
    await stage.train()
    assert "**keeper** · version 1" in (await stage.alice.slash(stage.channel, "models")).response.content
    assert labels((await stage.alice.slash(stage.channel, "generate", voice="keeper")).response) == ["Again", "More like this"]
    await speaks(stage, "ja")
    assert "**keeper** · バージョン1 · 投稿150件 · 損失 4.25 → 3.12" in (await stage.bob.slash(stage.channel, "models")).response.content
    assert (await stage.bob.slash(stage.channel, "leaderboard")).response.content == "まだ誰も回答していません。`/quiz` で始められます。"


async def test_a_server_that_set_nothing_has_the_language_that_discord_has_for_it(stage):
    guild = stage.env.create_guild("灯台", preferred_locale="ja")
    channel = guild.create_text_channel("灯室")
    alice = guild.add_member(stage.alice)
    await alice.send(channel, "!show nobody")
    words = [message.content for message in channel.history() if message.author.id == stage.env.bot.user.id]
    assert words[-1].startswith("nobody という学習済みのボイスはありません。")
    refused = await alice.slash(channel, "show", voice="nobody")
    assert refused.followups[-1].content.startswith("No voice named nobody is trained")
    assert len(stage.env.errors) == 2


async def test_typed_commands_wait_and_answer_in_the_servers_language(stage):
    await speaks(stage, "ja")
    await stage.alice.send(stage.channel, "!cancel 9")
    assert stage.sent("POST", "/messages")[-1].json["content"] == "ジョブ 9 を取り消しています…"
    assert stage.history[-1].content == "ジョブ 9 はありません。`/queue` で一覧を確認できます。"
    assert len(stage.env.errors) == 1
    await stage.alice.send(stage.channel, "!help quiz")
    assert "どれが本物の投稿でどれがMynahの文かを当てるクイズを始めます。" in stage.history[-1].content


@pytest.mark.parametrize(
    ("command", "label", "words"),
    [
        ("!train keeper", "Never mind", "Nothing was trained."),
        ("!forget keeper", "Keep it", "**keeper** stays."),
        ("!about", "Erase what is mine", "Erased: your questions"),
        ("!settings", "", "**Who may train**: everybody"),
    ],
)
async def test_what_all_can_see_stays_the_servers_when_a_reader_of_another_language_presses_there(
    stage, in_japanese, command, label, words
):
    await stage.boss.send(stage.channel, "!train keeper")  # so that something is stored of him
    await stage.boss.send(stage.channel, command)
    in_japanese(stage.boss, stage.alice)
    message = stage.history[-1]
    if label:
        refused = await stage.alice.click(message, label=label)
        assert re.search("[ぁ-ん]", refused.response.content)
        await stage.boss.click(message, label=label)
    else:
        await stage.boss.select(message, ["language"], custom_id="mynah:setting")
        assert words in stage.history[-1].content
        await stage.boss.select(message, ["en"], custom_id="mynah:set:language")
    assert words in stage.history[-1].content


async def test_menus_and_forms_are_in_the_readers_language(stage, in_japanese):
    in_japanese(stage.boss)
    page = (await stage.boss.slash(stage.channel, "settings")).response
    assert "**全員に見える表示の言語**: Discordのサーバー設定に合わせる" in page.content.split("\n")
    (menu,) = [part for row in page.components for part in row["components"]]
    assert [option["label"] for option in menu["options"]][:2] == ["チャンネル", "学習できる人"]
    chosen = await stage.boss.select(page, ["numbers"], custom_id="mynah:setting")
    assert chosen.modal["title"] == "利用上限と自動返信の確率"
    refused = await stage.boss.submit_modal(chosen, {"trainings_a_day": "many"})
    assert refused.response.content.startswith("1日の学習回数（メンバーごと）：0から3（運営者の設定）までの整数を入力するか、空欄に")


async def test_a_quiz_and_a_duel_are_shown_in_the_servers_language(stage):
    await speaks(stage, "ja")
    await stage.train()
    await stage.train("gull")
    stage.speaker.lines[:] = [unlike(number, 3) for number in range(40)]
    begun = await stage.alice.slash(stage.channel, "quiz", voice="keeper")
    assert begun.response.content.startswith("The quiz is open: ")  # for a reader of English
    await stage.env.advance_time(1)
    assert "その1つはどれでしょう？" in stage.history[-1].content
    guessed = await stage.bob.click(stage.history[-1], label="A")
    assert guessed.response.content.startswith("You guessed **A**; you can change it until <t:")
    await stage.env.advance_time(61)
    assert "**keeper** · 正解は " in stage.history[0].content
    await stage.alice.slash(stage.channel, "duel", voice_one="keeper", voice_two="gull", topic="Nobody voted.")
    await stage.env.advance_time(2)
    assert stage.history[-1].content.startswith("**keeper** と **gull** の対決：Nobody voted.")


async def looked(cog):
    """Let a loop over messages look once, to its end."""
    await cog._look()
    held = cog._boards if hasattr(cog, "_boards") else cog._views
    await asyncio.gather(*(one.task for one in held.values() if one.task))


async def test_what_ended_while_the_bot_was_down_is_told_in_the_servers_language_although_servers_are_known_late(stage):
    await speaks(stage, "auto")
    stage.env.backend.get_guild(stage.channel.guild.id).preferred_locale = "ja"
    await stage.train("gull")
    stage.speaker.lines[:] = [unlike(number, 4) for number in range(40)]
    await stage.alice.slash(stage.channel, "quiz", voice="gull")
    await stage.asks(stage.alice, "keeper")
    stage.env.bot.get_cog("Refereeing")._look.cancel()
    stage.env.bot.get_cog("Watching")._look.cancel()
    (await stage.run(2)).done()
    await stage.app.training.ended(2)
    await stage.app.store.write(lambda db: db.table("quizzes").update(1, {"ends_at": "2020-01-01T00:00:00.000000+00:00"}))

    class Early(MynahBot):
        async def setup_hook(self):
            await super().setup_hook()
            for name in ("Refereeing", "Watching"):
                await looked(self.get_cog(name))

    await stage.env.restart_bot(Early(stage.app, prefix_commands=True))
    await stage.env.advance_time(1)
    assert "**gull** · 正解は " in stage.history[0].content
    assert stage.history[1].content == "**keeper** の学習が終わりました。`/generate` で話させることができます。"


@pytest.mark.parametrize("gone", [False, True])
async def test_a_message_waits_while_a_server_is_out_and_nothing_waits_for_one_that_is_gone(stage, monkeypatch, gone):
    await speaks(stage, "ja")
    await stage.train()
    stage.speaker.lines[:] = [unlike(number, 4) for number in range(40)]
    await stage.alice.slash(stage.channel, "quiz", voice="keeper")
    await stage.env.advance_time(1)
    (guild,) = stage.env.bot.guilds
    find = stage.env.bot.get_channel
    monkeypatch.setattr(stage.env.bot, "get_channel", lambda _: None)
    guild.unavailable = not gone
    await stage.env.advance_time(61)
    assert ("Nobody guessed." in stage.history[0].content) is gone
    guild.unavailable = False
    monkeypatch.setattr(stage.env.bot, "get_channel", find)
    await stage.env.advance_time(1)
    assert ("正解は" in stage.history[0].content) is not gone


async def test_discord_gets_the_descriptions_in_japanese_and_names_stay_as_they_are_typed(stage):
    (registration,) = stage.sent("PUT", "/commands")
    commands = {command["name"]: command for command in registration.json}
    train = commands["train"]
    assert train["description_localizations"] == {"ja": "アカウントの投稿からボイスを学習します。"}
    assert not train["name_localizations"]
    option = {option["name"]: option for option in train["options"]}["handles"]
    assert option["description_localizations"] == {"ja": "アカウント名（複数指定すると合同のボイスになります）"}
    assert commands["Answer as…"]["name_localizations"] == {"ja": "ボイスで返信…"}


async def test_commands_are_registered_anew_when_a_translation_has_changed(stage, monkeypatch):
    await stage.env.restart_bot(MynahBot(stage.app, prefix_commands=True))
    assert len(stage.sent("PUT", "/commands")) == 1
    monkeypatch.setattr(language, "catalogue", lambda _: language.Catalogue({"Who speaks": "話し手"}))
    await stage.env.restart_bot(MynahBot(stage.app, prefix_commands=True))
    assert len(stage.sent("PUT", "/commands")) == 2
