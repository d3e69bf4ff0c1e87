"""What a mention asks for: to be left alone, in many languages; and whether a machine wrote it, as far as anybody can tell."""

import re

from bot.services.folding import plain, words
from bot.x.port import Author
from bot.x.text import LEADING_NAMES

#: Wherever one of these stands as a word of its own.
_STOP = {
    *("stop", "stopp", "unsubscribe", "optout", "abbestellen", "desuscribir", "desuscribirme", "desabonner", "cancelar", "disiscrivimi"),
    *("arrete", "arretez", "aufhoren", "detente", "detengase", "parem", "smettila", "smettetela", "przestan", "ophouden", "sluta"),
    *("стоп", "отпишись", "отстань", "прекрати", "хватит", "توقف", "berhenti"),
}
#: As above, of several words.
_PHRASES = (
    "opt out",
    "leave me alone",
    "do not reply",
    "don t reply",
    "dont reply",
    "hor auf",
    "horen sie auf",
    "dejame en paz",
    "laisse moi",
)
#: Where all that is said is this: elsewhere they are everyday words.
_ALONE = {
    *("para", "pare", "parar", "paren", "basta", "alto", "halt", "quit", "cancel", "baja", "enough", "schluss", "genug"),
}
_BESIDES = {"please", "pls", "now", "it", "por", "favor", "ya", "bitte", "jetzt", "s", "il", "te", "vous", "plait", "me", "bot", "ok"}
#: Languages that put no space between words.
_WITHIN = (
    "止めて",
    "やめて",
    "やめろ",
    "止めろ",
    "配信停止",
    "返信不要",
    "停止",
    "退订",
    "退訂",
    "别烦",
    "別煩",
    "不要回复",
    "不要回覆",
    "그만",
    "멈춰",
    "หยุด",
)

_BOT_WORDS = {
    "bot",
    "bots",
    "robot",
    "automated",
    "autobot",
    "chatbot",
    "automatisch",
    "automatique",
    "automatizado",
    "automatizada",
    "бот",
}
_BOT_SIGNS = ("ボット", "自動", "自动", "机器人", "機器人", "봇", "\U0001f916")
_BOT_NAME = re.compile(r"(?:^|_)bots?(?:_|\d*$)|Bot\d*$|BOT\d*$")


def asks_to_stop(text: str) -> bool:
    """Say whether somebody asks not to be answered any more; rather once too often than once too seldom."""
    folded = plain(re.sub(LEADING_NAMES, "", text))
    said = words(re.sub(r"@\w+", " ", folded))
    if _STOP & set(said) or any(f" {phrase} " in f" {' '.join(said)} " for phrase in _PHRASES):
        return True
    if any(sign in folded for sign in _WITHIN):
        return True
    return bool(_ALONE & set(said)) and set(said) <= _ALONE | _BESIDES


def seems_a_bot(author: Author) -> bool:
    """Say whether an account calls itself a bot: in its name, its bio or its label. X's API has no mark for those that do not."""
    told = plain(f"{author.bio} . {author.label}")
    return bool(_BOT_NAME.search(author.handle) or _BOT_WORDS & set(words(told)) or any(sign in told for sign in _BOT_SIGNS))
