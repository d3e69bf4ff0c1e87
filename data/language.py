"""What language a corpus is in: each post of a sample votes, those without enough language in them abstain."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from data.cleaning import without_references

UNDETERMINED = "und"
#: Posts that are looked at; they tell a share to within 3 points, in a sixth of a second.
SAMPLE = 1_000
#: Characters looked at of each: what a post was for most of its history.
LENGTH = 280
#: Probability from which on a post votes. Emoji, numbers and names stay below it; of six accounts' posts 82 to 100% reach it, of those of
#: 20 characters or less a third to a half.
CONFIDENCE = 0.5
#: Share of the posts that must vote, lest some words between emoji speak for them.
MIN_VOTES = 0.2
#: Every language that a post may be voted to be in, by its code.
_NAMES = """
    af Afrikaans, am Amharic, an Aragonese, ar Arabic, as Assamese, az Azerbaijani, ba Bashkir, be Belarusian, bg Bulgarian,
    bn Bengali, br Breton, bs Bosnian, ca Catalan, cs Czech, cy Welsh, da Danish, de German, dz Dzongkha, el Greek, en English,
    eo Esperanto, es Spanish, et Estonian, eu Basque, fa Persian, fi Finnish, fo Faroese, fr French, fy Frisian, ga Irish,
    gd Gaelic, gl Galician, gu Gujarati, ha Hausa, he Hebrew, hi Hindi, hr Croatian, ht Haitian, hu Hungarian, hy Armenian,
    id Indonesian, ig Igbo, is Icelandic, it Italian, ja Japanese, jv Javanese, ka Georgian, kk Kazakh, km Khmer, kn Kannada,
    ko Korean, ku Kurdish, ky Kyrgyz, la Latin, lb Luxembourgish, lg Ganda, ln Lingala, lo Lao, lt Lithuanian, lv Latvian,
    mg Malagasy, mk Macedonian, ml Malayalam, mn Mongolian, mr Marathi, ms Malay, mt Maltese, my Burmese, ne Nepali, nl Dutch,
    nn Nynorsk, no Norwegian, oc Occitan, om Oromo, or Odia, pa Punjabi, pl Polish, ps Pashto, pt Portuguese, qu Quechua,
    ro Romanian, ru Russian, rw Kinyarwanda, sa Sanskrit, se Sami, si Sinhala, sk Slovak, sl Slovenian, sn Shona, so Somali,
    sq Albanian, sr Serbian, st Sotho, sv Swedish, sw Swahili, ta Tamil, te Telugu, tg Tajik, th Thai, tk Turkmen, tl Tagalog,
    tr Turkish, tt Tatar, ug Uyghur, uk Ukrainian, ur Urdu, uz Uzbek, vi Vietnamese, vo Volapük, wa Walloon, xh Xhosa, yo Yoruba,
    zh Chinese, zu Zulu
"""
NAMES = dict(pair.split() for pair in _NAMES.split(","))


@dataclass(frozen=True, slots=True)
class Language:
    """The language that most posts are in.

    Attributes:
        code: ISO 639-1, such as `ja`; `und` where too few posts vote, or no language has half of the votes.
        share: of the posts that vote, those in it, 0 to 1; of `und`, 0.
    """

    code: str
    share: float


def main_language(texts: Sequence[str]) -> Language:
    """Return the main language of cleaned posts; of more than `SAMPLE`, a sample spread over them is looked at."""
    sample = texts[:: -(-len(texts) // SAMPLE) or 1]
    votes: Counter[str] = Counter()
    for text in sample:
        code, confidence = _identifier().classify(without_references(text[:LENGTH]))
        if confidence >= CONFIDENCE:
            votes[code] += 1
    if not votes or votes.total() < MIN_VOTES * len(sample):
        return Language(UNDETERMINED, 0.0)
    code, most = votes.most_common(1)[0]
    return Language(code, most / votes.total()) if 2 * most >= votes.total() else Language(UNDETERMINED, 0.0)


@cache
def _identifier() -> Any:
    # Imported and kept from the first corpus on: 0.6 s and 76 MiB, which a process that trains nothing need not spend.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    # Without the codes of three letters: dialects and creoles, which take short posts from the languages that they resemble.
    identifier.set_languages([label for label in identifier.labels if len(label) == 2])
    return identifier
