"""Personal data: found however it is written, and not seen where there are years, prices, scores and dates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.services.personal import found_in

FOUND = {
    "holds a phone number": [
        "call +44 20 7946 0018 now",
        "+81 90-1234-5678",
        "tel 090-1234-5678",
        "\uff10\uff19\uff10\uff0d\uff11\uff12\uff13\uff14\uff0d\uff15\uff16\uff17\uff18",
        "\u0660\u0669\u0660-\u0661\u0662\u0663\u0664-\u0665\u0666\u0667\u0668",
        "(11) 98765-4321",
        "+55 (21) 98765 4321",
        "020 7946 0018",
        "(212) 736-5000",
        "2127365000",
        "06 12 34 56 78",
        "0151 12345678",
        "0 9 0 1 2 3 4 5 6 7 8",
        "+1\u200b212\u200b7365000",
        "\u202e+1 212 736 5000\u202c",
        "call 1\u2010212\u2010736\u20105000",
    ],
    "holds the number of a payment card": ["4111 1111 1111 1111", "4111-1111-1111-1111", "my card: 5500005555555559.", "378282246310005"],
    "holds the number of a bank account": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432"],
    "holds an e-mail address": ["me@example.com", "write to me (at) example (dot) com", "bob[at]mail.org", "me at example dot com"],
    "holds a number that a person is registered with": ["my number is 123-45-6789", "CPF 123.456.789-09"],
    "holds the address of a machine": ["it is 192.168.0.1, go"],
    "holds a street address": [
        "12 Elm Street",
        "221B Baker Street",
        "1600 Pennsylvania Ave",
        "he lives at 12 elm street",
        "\u3012150-0041",
        "神南1丁目2番3号",
        "東京都渋谷区神南1-2-3",
        "Rua das Flores, 123",
        "12 rue de la Paix",
        "Hauptstraße 12",
        "Beverly Hills, CA 90210",
        "SW1A 2AA",
        "CEP 01310-100",
    ],
}
PLAIN = [
    "",
    "in 2016 2017 2018, or 2012-2016, 2016-2020",
    "1,000,000,000 dollars, 10 000 000 euros, R$ 12.345.678,90, $400K Wall Street",
    "it is 2024-01-15 12:30:45, on 01/02/2003 04/05/2006",
    "9:00-10:00, 11:00-12:00",
    "we won 21-14 28-7 35-3",
    "1 2 3 4 5 6 7 8 9 10",
    "5 way street, 100 street dogs, 30 Rock, 7 Dr Pepper cans, in 12 St. Louis games",
    "3.1415926535 or 3.14159265358979",
    "version 1.2.3.4.5, 999.999.999.999",
    "4111111111111112",
    "0000 0000 0000 0000",
    "1234567 and 123456789012",
    "５０００兆円欲しい、2月6日17時半",
    "rua 25 de março, at home dot",
    "look at me dot dot dot",
]


@pytest.mark.parametrize(("what", "text"), [(what, text) for what, texts in FOUND.items() for text in texts])
def test_it_is_found(what, text):
    assert found_in(text) == what
    assert found_in(f"so: {text} !") == what


@pytest.mark.parametrize("text", PLAIN)
def test_numbers_that_are_nobodys(text):
    assert found_in(text) is None


@given(st.text() | st.text(alphabet="0123456789+-. ()@,\u0661\uff11", max_size=60))
def test_no_text_is_too_odd(text):
    found_in(text)


@given(
    st.integers(1900, 2100), st.integers(1, 12), st.integers(1, 28), st.sampled_from(["{}-{:02}-{:02}", "{}/{}/{}", "{} {} {}", "{}.{}.{}"])
)
def test_a_date_is_not_personal(year, month, day, form):
    assert found_in(f"since {form.format(year, month, day)} or so") is None


@given(st.integers(0, 10**9))
def test_a_count_is_not_personal(number):
    assert found_in(f"we have {number:,} of them") is None


def test_real_posts_are_hardly_ever_personal(shared):
    """Real accounts' posts, of which most of the few that are found do hold an address to write to or a number to call."""
    import json

    from data.cleaning import training_text

    for name in ("dril", "BarackObama"):
        lines = (shared / "corpora" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[-1500:]
        posts = [training_text(json.loads(line)["text"]) for line in lines]
        assert sum(map(bool, map(found_in, posts))) < 0.005 * len(posts)
