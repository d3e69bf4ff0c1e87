"""How quickly do many voices speak from one base? Mynah's speaker beside what others would do. (`make bench-speak`)

    python -m bench.speak [--contenders m,s,p,h,l] [--llama-python PATH] [--voices 64] [--json FILE] [--small]

Eight lines of exactly 40 tokens, one for each of eight voices, as often as there are rounds, the contenders by turns:

(m) Mynah's speaker, the eight requests sent at once        (s) the same process, one request after another
(p) peft, set_adapter() and generate() for each line        (h) a pipeline for each voice, its LoRA merged into a base of its own
(l) llama.cpp with the embedded base in Q4_1, no LoRA       through the interpreter of --llama-python; left out without one

(p), (h) and (l) are told to draw 40 tokens whatever would end a line. A speaker's request cannot say that, so Mynah's lines are drawn
with seeds that are known, from before the clock starts, to give lines which do not end by themselves: that is the same work. Seconds
are those of 320 tokens; where a line ended after all, its tokens are counted and the time is stretched accordingly.
Then the speaker alone: bench/timing.py says what each figure means. It needs trainer/ and bench/, peft, and nothing else of Mynah.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, median

import torch
from transformers.utils.logging import disable_progress_bar

from bench import command, invented, timing, verdict
from bench.command import Report
from bench.common import quantile
from bench.contest import Contest
from bench.speaker import Speaker
from bench.timing import Asking
from trainer import bases

EIGHT = 8
COUNTS = (1, 8)
"""Lines a request when first lines are timed: one, and what the bot asks for when a person wants five."""
FULL = {
    "base": "smollm2-135m-instruct",
    "voices": 64,
    "tokens": 40,
    "rounds": 3,
    "starts": 3,
    "seconds": 30.0,
    "samples": 32,
    "clients": (1, 8, 32),
    "fresh": 16,
    "many": 64,
    "turns": 5,
}
SMALL = {
    "base": "tiny-random",
    "voices": 9,
    "tokens": 8,
    "rounds": 1,
    "starts": 1,
    "seconds": 0.2,
    "samples": 4,
    "clients": (1, 2),
    "fresh": 2,
    "many": 8,
    "turns": 1,
}


class Bench:
    """What is measured, part after part; the figures are told as they come."""

    def __init__(self, arguments: argparse.Namespace, base: bases.Base, work: Path, tell: Callable[..., None]) -> None:
        self._arguments = arguments
        self._work = work
        self._tell = tell
        self._encode = base.encode
        self._device = bases.device_of(arguments.device).type
        numbers = range(arguments.voices + arguments.fresh)
        made = invented.voices(base, numbers, work, invented.lora_in(arguments.pattern) if arguments.pattern else None)
        self._voices, self._fresh = made[: arguments.voices], made[arguments.voices :]
        self._eight = self._voices[:EIGHT]
        cache = str(arguments.cache.resolve())
        self._asking = Asking(arguments.base, cache, self._device, arguments.prompt, arguments.tokens)
        self._contest = Contest(arguments, base, self._asking, self._eight, work)

    def run(self) -> None:
        starts = []
        for _ in range(self._arguments.starts - 1):
            with Speaker(self._work / "speaker.log") as speaker:
                starts.append(self._started(speaker))
        with Speaker(self._work / "speaker.log") as speaker:
            starts.append(self._started(speaker))
            self._tell(start_s=median(starts))
            seeds = timing.long_seeds(speaker, self._asking, self._eight)
            self._contest.run(speaker, seeds, self._arguments.rounds, self._tell)
            self._alone(speaker, seeds)

    def _started(self, speaker: Speaker) -> float:
        """Return the seconds from exec to the first line."""
        return speaker.say([self._asking.lines(self._voices[0], 1, 0)])[0].times[0] - speaker.began

    def _alone(self, speaker: Speaker, seeds: Sequence[int]) -> None:
        arguments, asking, voices = self._arguments, self._asking, self._voices
        asked = timing.questions(speaker, asking, self._eight, COUNTS[-1], arguments.samples)
        whole = [heard.whole for heard in asked]
        self._tell(question_s_p50=quantile(whole, 0.5), question_s_p95=quantile(whole, 0.95))
        alone, beside = timing.evenness(speaker, asking, voices, arguments.many, arguments.turns, seeds[0])
        self._tell(even_alone_s=alone, even_beside_s=beside)
        pairs = timing.coldness(speaker, asking, self._fresh)
        self._tell(
            cold_ms=1e3 * median(cold - warm for cold, warm in pairs),
            cold_first_ms=1e3 * median(cold for cold, _ in pairs),
            warm_first_ms=1e3 * median(warm for _, warm in pairs),
        )
        rate, texts = timing.lines_a_minute(speaker, asking, voices, arguments.seconds, 0)
        self._tell(lines_per_minute=rate, line_tokens=mean(min(len(ids) + 1, arguments.tokens) for ids in self._encode(texts)))
        for clients in arguments.clients:
            for count in COUNTS:
                samples = max(arguments.samples, 2 * clients)
                waits = timing.first_lines(speaker, asking, voices, clients, count, samples, 1000 * clients)
                name = f"first_s_{clients}x{count}"
                self._tell(**{f"{name}_p50": quantile(waits, 0.5), f"{name}_p95": quantile(waits, 0.95)})
        self._tell(memory_gb=speaker.memory / 1e9, memory_gpu_gb=command.gpu_memory() / 1e9 if self._device == "cuda" else None)


def main(words: list[str] | None = None) -> None:
    parser = _parser()
    arguments = command.parse(parser, words, SMALL, FULL)
    if unknown := set(arguments.contenders) - set(verdict.NAMES):
        parser.error(f"there is no contender {', '.join(sorted(unknown))}: choose of m,s,p,h,l")
    if arguments.voices < EIGHT:
        parser.error(f"--voices is {arguments.voices}: {EIGHT} or more are needed")
    if "l" in arguments.contenders and (why := _no_llama(arguments)):
        command.say(why)
        arguments.contenders.remove("l")
    # Not process.quiet_libraries: it says how threads wait, and the rivals would inherit that.
    disable_progress_bar()  # type: ignore[no-untyped-call]
    device = bases.device_of(arguments.device).type
    told = {"command": command.line(parser, words), "base": arguments.base, "voices": arguments.voices, **command.machine(device)}
    report = Report(arguments.json, told, lambda found: verdict.table(found, device, arguments.tokens))
    base = bases.load(arguments.base, arguments.cache, torch.device("cpu"), lambda _: None, lambda: None)
    with tempfile.TemporaryDirectory(prefix="mynah-bench-", dir=arguments.work) as name:
        Bench(arguments, base, Path(name), report.tell).run()
    report.end()


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("speak", __doc__, "the tiny random base, a few tokens", "base", "cache", "device", "work")
    parser.add_argument("--contenders", type=lambda text: text.split(","), default=["m", "s", "p", "h", "l"], help="which of m,s,p,h,l")
    parser.add_argument("--llama-python", dest="llama", help="an interpreter that has llama_cpp")
    parser.add_argument("--voices", type=int, help="how many are mixed")
    parser.add_argument("--pattern", type=Path, help="adapter.safetensors of a trained voice: lines are as long as a voice's then")
    parser.add_argument("--tokens", type=int, help="most tokens of a line")
    parser.add_argument("--prompt", default="The fog", help="with which the lines of the contenders begin")
    parser.add_argument("--rounds", type=int, help="of the contenders, by turns")
    parser.add_argument("--starts", type=int, help="of a speaker")
    parser.add_argument("--seconds", type=float, help="for which lines a minute are counted")
    parser.add_argument("--samples", type=int, help="requests timed, at least, for each number of clients")
    parser.add_argument("--clients", type=lambda text: tuple(map(int, text.split(","))), help="who ask at the same time")
    parser.add_argument("--fresh", type=int, help="voices that are read cold")
    parser.add_argument("--many", type=int, help="lines beside which one line is asked for")
    parser.add_argument("--turns", type=int, help="of that")
    return parser


def _no_llama(arguments: argparse.Namespace) -> str:
    """Return why (l) is left out; nothing, if it is not."""
    if arguments.base != "smollm2-135m-instruct":
        return "(l) is left out: of other bases than the embedded one there is no Q4_1 file."
    if not arguments.llama:
        return "(l) is left out: name an interpreter that has llama_cpp with --llama-python."
    return ""


if __name__ == "__main__":
    main()
