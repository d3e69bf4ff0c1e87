"""Cards in the ancestor's template: whose posts a model learned from, and how many."""

import pytest

from data.choosing import Counts
from data.readers.modelcard import ModelCard, read_model_card
from tests.ancestor import card

OLDEST = """\
<div style="font-size: 15px; color: #657786">@ann bot</div>

| Data              | Quantity     |
|-------------------|--------------|
| Tweets downloaded | 342          |
| Retweets          | 167          |
| Short tweets      | 33           |
| Tweets kept       | 142          |
"""


def test_one_account():
    assert read_model_card(card("ann", Ann=(342, 167, 33, 142))) == ModelCard(("ann",), {"ann": Counts(342, 167, 33, 142, 0)})


def test_the_oldest_template():
    assert read_model_card(OLDEST) == ModelCard(("ann",), {"ann": Counts(342, 167, 33, 142, 0)})


def test_columns_stand_as_names_were_typed_and_handles_are_sorted():
    text = card("barackobama-elonmusk", Elon_Musk=(1021, 52, 268, 701), Barack_Obama=(3234, 353, 25, 2856))
    found = read_model_card(text)
    assert found.handles == ("barackobama", "elonmusk")
    assert {handle: counts.downloaded for handle, counts in found.counts.items()} == {"barackobama": 3234, "elonmusk": 1021}


def test_a_name_that_breaks_the_table_does_not_break_the_counts():
    text = card("ann", **{"A|n|n": (342, 167, 33, 142)})
    assert read_model_card(text).counts == {"ann": Counts(342, 167, 33, 142, 0)}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "no card at all",
        card("ann", Ann=(1, 1, 1, 1)),
        card("ann", Ann=(1, 0, 0, 1), Bob=(1, 0, 0, 1)),
        card("ann", Ann=(1, 0, 0, 1)).replace("Tweets kept | 1", "Tweets kept | TWEETS_KEPT"),
        card("ann", Ann=(10**12, 0, 0, 10**12)),
    ],
)
def test_what_does_not_add_up_is_not_counted(text):
    assert read_model_card(text).counts == {}


def test_a_table_made_to_take_long_does_not(tmp_path):
    assert read_model_card("| Tweets downloaded |" + " | " * 100_000 + "x").counts == {}
    assert read_model_card("@" + "a-" * 100_000).counts == {}
    assert read_model_card("\n" * 1_000_000).counts == {}
    assert read_model_card("> " * 500_000 + "@").counts == {}
    assert read_model_card(card("-".join(f"a{n}" for n in range(12)), **{f"N{n}": (1, 0, 0, 1) for n in range(12)})).counts != {}
