"""Does a voice write as its account does? Every model's loss on every voice's report posts, and lines before and after.

    python -m bench.voices DATABASE VOICE VOICE [...] [--cache var/cache] [--lines 20] [--json FILE]

The baseline is the base model itself (first row), and each voice's model on the other's posts. All losses are nats a token, of the
report splits, which chose nothing. It reads the database with the standard library alone, so that it runs where only trainer/ does.
"""

import argparse
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load

from trainer import adapters, bases, decoding, packing, recipe
from trainer.protocol import Recipe, Sampling
from trainer.train import evaluate


@dataclass
class Voice:
    """The newest model of a voice, and the posts it is measured on."""

    name: str
    base: str
    settings: dict[str, Any]
    weights: adapters.Weights
    report: list[str]


def stored(database: Path, name: str) -> Voice:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        number, base, result, content = db.execute(
            "SELECT models.id, base, result, content FROM models JOIN corpora ON corpora.sha256 = corpus"
            " WHERE models.voice = ? ORDER BY version DESC LIMIT 1",
            [name],
        ).fetchone()
        chunks = db.execute("SELECT chunk FROM model_weights WHERE model = ? ORDER BY number", [number]).fetchall()
    weights = {key: tensor.float() for key, tensor in load(b"".join(chunk for (chunk,) in chunks)).items()}
    report = [post["text"] for post in json.loads(content)["report"]]
    return Voice(name, base, json.loads(result)["details"]["adapter"], weights, report)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", type=Path)
    parser.add_argument("voices", nargs="+")
    parser.add_argument("--cache", type=Path, default=Path("var/cache"))
    parser.add_argument("--lines", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    voices = [stored(arguments.database, name) for name in arguments.voices]
    base = bases.load(voices[0].base, arguments.cache, bases.device_of("auto"), lambda _: None, lambda: None)
    plan = recipe.resolve(Recipe(base=base.name), 1, base.context)
    rows = {voice.name: packing.pack(packing.sequences_of(base, voice.report, plan.row), plan.row) for voice in voices}

    def measured(speaker: str) -> dict[str, object]:
        lines = decoding.draw(base, "", arguments.lines, arguments.seed, Sampling(), lambda: None)
        loss = {voice: evaluate(base, report, plan, lambda: None) for voice, report in rows.items()}
        texts = [line.text for line in sorted(lines, key=lambda line: line.index)]
        print(f"\n## {speaker}: " + ", ".join(f"{value:.3f} on {voice}" for voice, value in loss.items()))
        print("\n".join(f"- {text}" for text in texts), flush=True)
        return {"loss": loss, "lines": texts}

    results = {"base": measured("base")}
    wrapped = None
    for voice in voices:
        wrapped = adapters.add(base, wrapped, voice.name, voice.settings, voice.weights)
        wrapped.set_adapter(voice.name, inference_mode=True)
        results[voice.name] = measured(voice.name)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
