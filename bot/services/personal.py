"""Personal data in a text: how to reach somebody, where somebody lives, what somebody pays or is registered with.

A model may have learned a number by heart, or made one up that is somebody's. Years, counts, prices and dates must pass.
"""

import re
import unicodedata
from collections.abc import Iterator

from phonenumbers import Leniency, PhoneNumberMatcher

from bot.services.folding import visible

#: Where a number without a + may be from, by Google's plans of numbers. With each further one more plain numbers look like a phone.
REGIONS = ("US", "GB", "JP", "BR", "DE", "FR", "ES", "IN")
#: Digits that the shortest number of these has; shorter texts are not searched.
_LEAST_DIGITS = 7

_E_MAIL = re.compile(
    r"[\w.+-]+(?:@| ?[(\[{] ?at ?[)\]}] ?)[\w-]+(?:\.| ?[(\[{] ?dot ?[)\]}] ?)[a-z]{2,}|\b[\w.+-]+ at [\w-]+ dot (?!dot\b)[a-z]{2,}\b",
    re.IGNORECASE,
)
_CARD = re.compile(r"(?<![\d.,])[2-6](?:[ -]?\d){12,18}(?![\d.,]?\d)")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b")
_ADDRESS_ON_THE_NET = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)")
_REGISTERED = re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])|(?<![\d.])\d{3}\.\d{3}\.\d{3}-\d{2}(?!\d)")  # USA, Brazil
#: Digits one by one, as in `0 9 0 1 2 3 4 …`.
_SPELT = re.compile(r"(?<!\d)(?:\d[ .-]){7,}\d(?!\d)")

#: A fraction, such as pi, is no phone, however many digits it has.
_FRACTION = re.compile(r"(?<![\d.+(-])\d{1,2}\.\d{4,}(?![\d.-])")

_STREET = r"(?:Street|Avenue|Boulevard|Road|Lane|Drive|Court|Terrace|Crescent|Highway|Parkway|St|Ave|Blvd|Rd|Ln|Dr)"
_STREETS = tuple(
    re.compile(pattern)
    for pattern in (
        # 12 Elm Street, 1600 W 5th Ave.; in lower case the full words alone, after one word that is no measure of a way
        rf"(?<![\w$€£.,])\d{{1,5}}[A-Da-d]? (?:[NSEW]\.? )?(?:(?:[A-Z][\w'\u2019.-]*|\d{{1,3}}(?:st|nd|rd|th)) ){{1,3}}{_STREET}\b",
        r"\b\d{2,5} (?!way |block|mile|foot|lane|side|main |dirt |city |more |different |the |of )[a-z]{3,} (?:street|avenue|boulevard)\b",
        # Rua das Flores, 123; Calle de Alcalá 45; 12 rue de la Paix; Hauptstraße 12
        r"\b(?:[Rr]ua|[Aa]venida|[Aa]v\.|[Tt]ravessa|[Aa]lameda|[Cc]alle|Via|[Rr]ue) [\w'\u2019 .]{3,40}?,? (?:[Nn][º°.]? ?)?\d{1,5}\b",
        r"(?i:\b\d{1,4}(?: (?:bis|ter))?,? rue (?:d[eu]s? (?:la |l['\u2019])?|d['\u2019])?[\w'\u2019-]{3,})",
        r"\b[A-ZÄÖÜ][\w-]{2,}(?:stra(?:ß|ss)e|str\.|weg|platz|gasse) ?\d{1,4}[a-z]?\b",
        # 〒150-0041; 神南1丁目2番3号, 神南1-2-3 after 区, 市, 町 or 村
        r"〒 ?\d{3}-?\d{4}",
        r"\d{1,3}丁目\d{1,3}(?:番|-)",
        r"[都道府県][^\s\d]{1,10}[区市町村][^\s\d]{0,10}\d{1,4}(?:-\d{1,4}){1,2}",
        # Beverly Hills, CA 90210; SW1A 2AA; CEP 01310-100
        r",? [A-Z]{2},? \d{5}(?:-\d{4})?\b(?= |$|[.,)])",
        r"\b[A-Z]{1,2}\d[A-Z\d]? \d[ABD-HJLNP-UW-Z]{2}\b",
        r"(?i:\bcep:? ?\d{5}-?\d{3}\b)",
    )
)


def found_in(text: str) -> str | None:
    """Return what a text holds of personal data, as the end of a sentence that does not repeat it, or None."""
    shown = _with_ascii_digits(visible(text))
    if _E_MAIL.search(shown):
        return "holds an e-mail address"
    if any(map(_is_card, _CARD.findall(shown))):
        return "holds the number of a payment card"
    if any(map(_is_iban, _IBAN.findall(shown))):
        return "holds the number of a bank account"
    if _REGISTERED.search(shown):
        return "holds a number that a person is registered with"
    if any(all(int(part) < 256 for part in address.split(".")) for address in _ADDRESS_ON_THE_NET.findall(shown)):
        return "holds the address of a machine"
    if any(map(_has_phone, (_FRACTION.sub(" ", shown), *_unspelt(shown)))):
        return "holds a phone number"
    if any(street.search(shown) for street in _STREETS):
        return "holds a street address"
    return None


def _with_ascii_digits(text: str) -> str:
    """Return the text with the digits of every script and the dashes of every length as a keyboard has them."""
    if text.isascii():
        return text
    return "".join(
        str(unicodedata.decimal(c)) if c.isdecimal() else "-" if c == "\u2212" or unicodedata.category(c) == "Pd" else c for c in text
    )


def _is_card(number: str) -> bool:
    """Say whether digits have the sum that payment cards have (Luhn, ISO/IEC 7812-1), and are not one digit over and over."""
    digits = [int(character) for character in number if character.isdecimal()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_iban(number: str) -> bool:
    """Say whether the check digits fit (ISO 13616: remainder 1 on division by 97)."""
    compact = number.replace(" ", "")
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 == 1


def _has_phone(text: str) -> bool:
    if sum(map(str.isdecimal, text)) < _LEAST_DIGITS:
        return False
    if PhoneNumberMatcher(text, None, leniency=Leniency.VALID).has_next():
        return True
    # Of a region the groups must be those of its plan too, or dates and scores would be phones.
    return any(PhoneNumberMatcher(text, region, leniency=Leniency.STRICT_GROUPING).has_next() for region in REGIONS)


def _unspelt(text: str) -> Iterator[str]:
    for match in _SPELT.finditer(text):
        yield re.sub(r"\D", "", match[0])
