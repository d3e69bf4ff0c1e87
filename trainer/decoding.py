"""Decoding: one forward pass a token for all rows of a base, whoever asked for them; rows join and leave between two tokens.

Own loop instead of `generate`, which keeps a batch until its longest row is done, with one voice and one setting for all.

No row has a say in another's line. On a CPU in fp32 not even in its last bits: what sums differently for another number of rows
or positions is kept from doing so (LEAST_ROWS, kv.STEP, fast.Product). Elsewhere the last bits of the logits may change with the
company, which flips a draw where two tokens are as good as equally near.
"""

import bisect
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch

from trainer import bases
from trainer.bases import Base
from trainer.errors import BadWeights
from trainer.frames import Sequence_
from trainer.kv import KeyValues, Read, read_of, up_to_step
from trainer.lines import Drawn, Row, Speech, Voice
from trainer.loss import losses
from trainer.mixing import Mixed, mixing
from trainer.packing import collate
from trainer.process import Check
from trainer.protocol import Sampling
from trainer.sampling import check_request, penalise, pick

MOST_ROWS = 64
"""Rows that are decoded together; others wait for a place. Beyond, a CPU gains nothing more from a larger batch."""
MOST_POSITIONS = 64 * 192
"""Of all rows together, each counted as long as the longest may become: keys and values of so many take 0.6 GB in the embedded base."""
MOST_READ_AT_ONCE = 256
"""Positions of finished lines that are read once more together; the logits of so many take 0.1 GB in the embedded base, 0.5 in Gemma."""
LEAST_ROWS = 2
"""Of a batch: a product with one row is another than that with several, to a CPU's libraries."""


NO_NUMBER = "This voice's weights answer with what is no number: train the voice again."


class Batch:
    """The rows of one base that are speaking, and the speeches of which rows wait for a place."""

    def __init__(self, base: Base, *, worn: bool = False, most_rows: int = MOST_ROWS) -> None:
        """`worn`: the base wears already what all rows shall wear."""
        self._base = base
        self._worn = worn
        self._most_rows = most_rows
        self._waiting: list[Speech] = []
        self._rows: list[Row] = []
        self._ended: list[Row] = []
        """Rows that have ended, of speeches that answer a message and have others that have not."""
        self._without = {"": base.forbidden}
        """What may not be drawn, (V,), by `Sampling.without`."""
        self._rest()

    def _rest(self) -> None:
        """Begin with nothing, and give back what memory the last rows took."""
        self._kv = KeyValues(self._base.model.config.get_text_config().num_hidden_layers)
        self._voices: list[Voice] = []
        self._mixed = self._stack()

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._rows or self._waiting)

    @property
    def speeches(self) -> list[Speech]:
        """Those that are not finished; one may be there several times."""
        return [*self._waiting, *(row.speech for row in self._rows)]

    @property
    def bytes(self) -> int:
        """Memory that it takes beside the base and the voices."""
        return self._kv.bytes + self._mixed.bytes

    def tidy(self, kept: set[str]) -> None:
        """Let go of voices that are neither speaking nor among these."""
        kept = kept | {speech.voice.key for speech in self.speeches if speech.voice}
        voices = [voice for voice in self._voices if voice.key in kept]
        if len(voices) < len(self._voices):
            self._voices = voices
            self._mixed = self._stack()

    def add(self, speech: Speech) -> None:
        """Let a speech wait for its places."""
        bisect.insort(self._waiting, speech, key=lambda other: other.turn)

    def drop(self, id_: str) -> None:
        """Forget a speech and its rows."""
        self._waiting = [speech for speech in self._waiting if speech.id != id_]
        self._ended = [row for row in self._ended if row.speech.id != id_]
        self._leave([place for place, row in enumerate(self._rows) if row.speech.id == id_])

    @torch.no_grad()
    def step(self) -> list[tuple[str, Drawn | BadWeights]]:
        """Draw one token for each row, and return what ended by it, with the id of its speech.

        That is a finished line, or, for the whole speech, the sentence that its weights are broken.
        """
        self._join()
        if not self._rows:
            return []
        logits = self._forward()  # (B, V)
        uniform = torch.tensor([row.chance.random() for row in self._rows], dtype=torch.double, device=logits.device)  # (B,)
        allowed = logits.masked_fill(self._forbidden(), -torch.inf)  # (B, V)
        allowed[[place for place, row in enumerate(self._rows) if not row.spoke], self._base.separator] = -torch.inf
        for place, row in enumerate(self._rows):
            if row.speech.sampling.penalises:
                penalise(allowed[place], row.before + row.drawn, row.speech.sampling)
        tokens = pick(allowed, uniform, [row.speech.sampling for row in self._rows])  # (B,)
        scores = logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]  # (B,)
        ended: list[tuple[str, Drawn | BadWeights]] = []
        left: list[int] = []
        broken: dict[str, BadWeights] = {}
        for place, (row, token, score) in enumerate(zip(self._rows, tokens.tolist(), scores.tolist(), strict=True)):
            if not math.isfinite(score):
                broken[row.speech.id] = BadWeights(NO_NUMBER)
            elif row.take(self._base, token, score):
                left.append(place)
                for drawn in self._finished(row):
                    if math.isfinite(drawn.relevance):
                        ended.append((row.speech.id, drawn))
                    else:
                        broken[row.speech.id] = BadWeights(NO_NUMBER)
        self._leave(left)
        for id_ in broken:
            self.drop(id_)
        return [*(one for one in ended if one[0] not in broken), *broken.items()]

    def _forbidden(self) -> torch.Tensor:
        """Return what each row may not draw, (B, V) or (V,)."""
        wishes = [row.speech.sampling.without for row in self._rows]
        for wish in set(wishes) - self._without.keys():
            self._without[wish] = self._base.forbidden | bases.holding(self._base, wish)
        return self._without[wishes[0]] if len(set(wishes)) == 1 else torch.stack([self._without[wish] for wish in wishes])

    # ------------------------------------------------------------- join, leave

    def _join(self) -> None:
        """Give free places to the rows that wait; at most one speech a step has its prompt read, so that the others hardly wait."""
        while self._waiting and len(self._rows) < self._most_rows:
            speech = self._waiting[0]
            prompt, read = speech.tokens(self._base)
            longest = max([len(read) + speech.budget(self._base), *(row.most_positions for row in self._rows)])
            most_rows = max(1, min(self._most_rows, MOST_POSITIONS // up_to_step(longest)))
            if len(self._rows) >= most_rows:
                return
            reads = speech.begun == 0 and len(read) > 1
            if reads:
                speech.read = self._read(speech, read[:-1])
            while speech.begun < speech.count and len(self._rows) < most_rows:
                if speech.read is None:
                    self._kv.clear(len(self._rows))
                else:
                    self._kv.put(len(self._rows), speech.read)
                self._rows.append(Row.begin(speech, prompt, read, self._base))
            if speech.begun == speech.count:
                self._waiting.pop(0)
                speech.read = None
            if reads:
                return

    def _read(self, speech: Speech, ids: list[int]) -> Read:
        """Return what one row's keys and values are after these tokens."""
        with self._wearing([speech.voice] * len(ids)):
            output = self._base.body(input_ids=torch.tensor([ids], device=self._base.device), use_cache=True)
        return read_of(output.past_key_values)

    def _leave(self, places: list[int]) -> None:
        """Take rows out; the last ones move up into their places."""
        for place in sorted(places, reverse=True):
            last = self._rows.pop()
            if place < len(self._rows):
                self._kv.move(len(self._rows), place)
                self._rows[place] = last
        if not self._rows:
            self._rest()

    # ---------------------------------------------------------------- the model

    def _forward(self) -> torch.Tensor:
        """Return the logits (B, V), fp32, after each row's next token."""
        rows, device = self._rows, self._base.device
        # Rows that only fill the batch up stand at position 0 of places that are free.
        empty = max(0, LEAST_ROWS - len(rows))
        tokens = torch.tensor([row.next for row in rows] + [self._base.separator] * empty, device=device)  # (N,)
        positions = torch.tensor([row.position for row in rows] + [0] * empty, device=device)  # (N,)
        mask = self._kv.begin(positions)
        with self._wearing([row.speech.voice for row in rows] + [None] * empty):
            output = self._base.model(
                input_ids=tokens[:, None], position_ids=positions[:, None], attention_mask=mask, past_key_values=self._kv, use_cache=True
            )
        logits: torch.Tensor = output.logits[: len(rows), -1].float()
        return logits

    def _wearing(self, rows: Sequence[Voice | None]) -> AbstractContextManager[None]:
        """Let the rows of the coming forward pass wear these voices; for one row of the batch, its positions are the rows."""
        if self._worn:
            return nullcontext()
        next_ones = [speech.voice for speech in self._waiting[: self._most_rows - len(self._rows)]]
        voices = {voice.key: voice for voice in [*rows, *next_ones, *(row.speech.voice for row in self._rows)] if voice}
        # Stacking takes some 5 ms a voice. Those that are needed no longer may stay for a while: they cost less than to stack anew.
        if voices.keys() - {voice.key for voice in self._voices} or len(self._voices) > 2 * len(voices):
            self._voices = list(voices.values())
            self._mixed = self._stack()
        places = {voice.key: place for place, voice in enumerate(self._voices)}
        self._mixed.put_on([places[voice.key] if voice else None for voice in rows])
        return mixing(self._base.layers, self._mixed)

    def _stack(self) -> Mixed:
        voices = [(voice.lora, voice.scale) for voice in self._voices]
        return Mixed(self._base.readers, voices, self._base.device, self._base.model.dtype)

    def _finished(self, row: Row) -> list[Drawn]:
        """Return the line of a row that has ended; where a message is answered, all lines of the speech together, with its last row.

        What a line has to do with the message is found for all of them at once, in a part of the time that one after another takes.
        """
        speech = row.speech
        if not speech.message:
            return [row.line(self._base, 0.0)]
        self._ended.append(row)
        whole = sorted((other for other in self._ended if other.speech is speech), key=lambda other: other.index)
        if len(whole) < speech.count:
            return []
        self._ended = [other for other in self._ended if other.speech is not speech]
        without = self._without_message(speech, whole)
        return [one.line(self._base, one.mean - alone) for one, alone in zip(whole, without, strict=True)]

    def _without_message(self, speech: Speech, rows: Sequence[Row]) -> list[float]:
        """Return how likely each line of a speech is where nothing is answered, in the mean over its drawn tokens, nats.

        What a message adds to that is its answer's relevance (Li et al. 2016, arXiv:1510.03055, MMI with λ = 1). What others say
        and wear is not read beside it.
        """
        read = speech.reading(self._base, "", rows[0].before)  # the same of each
        parts: list[list[Sequence_]] = [[]]
        for line in [Sequence_([*read, *row.drawn], len(read)) for row in rows]:
            if parts[-1] and sum(one.positions for one in [*parts[-1], line]) > MOST_READ_AT_ONCE:
                parts.append([])
            parts[-1].append(line)
        voices = [(speech.voice.lora, speech.voice.scale)] if speech.voice else []
        alone = None if self._worn else Mixed(self._base.readers, voices, self._base.device, self._base.model.dtype)
        found: list[float] = []
        for part in parts:
            batch = collate([part], self._base.separator, self._base.device)
            if alone:
                alone.put_on([0 if voices else None] * batch.tokens.numel())
            with mixing(self._base.layers, alone) if alone else nullcontext():
                each = torch.split(losses(self._base, batch), [line.targets for line in part])
            found += [-float(one.mean()) for one in each]
        return found


def draw(
    base: Base, prompt: str, count: int, seed: int, sampling: Sampling, check: Check, *, message: str = "", author: str = ""
) -> Iterator[Drawn]:
    """Yield `count` lines of the base with what it wears, each as soon as it is finished; with a message, all with the last.

    They continue `prompt` (may be empty), answer `message` and are by `author`, where those are not empty; neither is part of the
    text. Line i's chance comes from `seed` and i alone.

    A prompt too long loses its beginning, in what the model reads and not in the text. A trailing space is dropped: posts' tokens
    begin with their space, and a lone one is followed by nothing that the model ever saw.

    Raises:
        BadRequest: a number is out of its bounds.
        BadWeights: the base answers with what is no number.
        Cancelled: `check` said so, between two tokens.
    """
    check_request(count, sampling)
    batch = Batch(base, worn=True)
    batch.add(Speech("", None, prompt, count, seed, sampling, message, author))
    while batch.busy:
        check()
        for _, ended in batch.step():
            if isinstance(ended, BadWeights):
                raise ended
            yield ended
