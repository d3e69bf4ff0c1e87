"""The corpora and archives under ../shared: exact counts, against the ancestor's rules restated here."""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from data.corpus import Counts, build_corpus
from data.readers import read_posts

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
CORPORA = SHARED / "corpora"
ARCHIVES = SHARED / "archives"

pytestmark = pytest.mark.skipif(not CORPORA.is_dir(), reason="../shared is not there")

# downloaded, retweets, short, kept, duplicates
HUGGINGTWEETS = {
    "BarackObama": (3207, 351, 30, 2826, 14),
    "dayukoume": (4406, 0, 1094, 3312, 8),
    "dril": (10515, 0, 945, 9570, 2),
    "elonmusk": (11615, 0, 2183, 9432, 60),
    "jairbolsonaro": (6527, 1096, 970, 4461, 26),
    "realDonaldTrump": (3232, 354, 75, 2803, 11),
}
DEFAULT = HUGGINGTWEETS | {"dayukoume": (4406, 0, 92, 4314, 94), "jairbolsonaro": (6527, 1096, 969, 4462, 26)}


def _ancestor(path):
    """The four counts by facts/huggingtweets.md 1.2 to 1.4, straight from the file, sharing no code with Mynah."""
    downloaded = retweets = short = kept = 0
    for line in path.read_text(encoding="utf-8").split("\n"):
        if not line:
            continue
        row = json.loads(line)
        downloaded += 1
        if row["is_retweet"]:
            retweets += 1
            continue
        text = row["text"].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")
        for start in ("http:", "https:"):
            text = re.sub(f" {start}\\S+", "", text)
            text = re.sub(f"{start}\\S+ ", "", text)
            text = re.sub(f"\n{start}\\S+ ", "", text)
            text = re.sub(f"\n{start}\\S+", "", text)
            text = re.sub(f"{start}\\S+", "", text)
        text = " ".join(re.sub(" +", " ", text).split()).strip()
        words = [word for word in text.split() if not any(mark in word.lower() for mark in ("http", "@", "#"))]
        if len(words) < 3:
            short += 1
        else:
            kept += 1
    return downloaded, retweets, short, kept


def _counts(path, rule):
    return build_corpus({"account": list(read_posts(path))}, short_rule=rule, max_posts=10**6, seed=1).counts["account"]


@pytest.mark.parametrize("name", HUGGINGTWEETS)
def test_ancestor_counts(name):
    """All four counts are the ancestor's on every corpus, and every line is a post."""
    path = CORPORA / f"{name}.jsonl"
    counts = _counts(path, "huggingtweets")
    assert (counts.downloaded, counts.retweets, counts.short, counts.kept) == _ancestor(path)
    assert counts == Counts(*HUGGINGTWEETS[name])
    assert counts.downloaded == path.read_bytes().count(b"\n")


@pytest.mark.parametrize("name", DEFAULT)
def test_default_counts(name):
    """By the default rule only Japanese gains, and one Brazilian post with Japanese in it."""
    assert _counts(CORPORA / f"{name}.jsonl", "default") == Counts(*DEFAULT[name])


def test_japanese_keeps_most():
    """At least 80% of a Japanese account's own posts are kept."""
    counts = _counts(CORPORA / "dayukoume.jsonl", "default")
    assert counts.kept >= 0.8 * (counts.downloaded - counts.retweets)


@pytest.mark.parametrize(("archive", "name"), [("dril-two-parts", "dril"), ("dayukoume", "dayukoume")])
def test_archives(archive, name):
    """An archive gives the posts of the corpus it was made of, and one long note in full."""
    tweets = list(read_posts(ARCHIVES / f"{archive}.zip"))
    assert len(tweets) == DEFAULT[name][0] + 1 == {"dril": 10_516, "dayukoume": 4_407}[name]
    (note,) = [tweet for tweet in tweets if tweet.text.startswith("NOTE TWEET FIXTURE.")]
    assert len(note.text) == 427
    assert note.text.endswith("eighty characters.")
    for rule, expected in (("huggingtweets", HUGGINGTWEETS), ("default", DEFAULT)):
        downloaded, retweets, short, kept, duplicates = expected[name]
        assert _counts(ARCHIVES / f"{archive}.zip", rule) == Counts(downloaded + 1, retweets, short, kept + 1, duplicates)


def test_import_is_light():
    """The larger archive is imported in under 10 s of processor time and 400 MB."""
    code = f"""
from pathlib import Path
from data.readers import read_posts
assert len(list(read_posts(Path({str(ARCHIVES / "dril-two-parts.zip")!r})))) == 10516
import resource
usage = resource.getrusage(resource.RUSAGE_SELF)
# Not ru_maxrss: a child inherits that of the process which forked it, and pytest has torch in it.
(peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(peak) * 1024, usage.ru_utime + usage.ru_stime)
"""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60)
    peak, seconds = map(float, done.stdout.split())
    assert peak < 400e6
    assert seconds < 10
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime >= before.ru_utime
