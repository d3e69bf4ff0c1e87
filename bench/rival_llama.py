"""Rival (l): llama.cpp over the embedded base's own file, Q4_1, one line after another, through llama-cpp-python.

    PYTHON -m bench.rival_llama WORK.json       where PYTHON has llama_cpp

Without a LoRA, which costs it nothing then: what it loses by voices is not held against it.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any

import llama_cpp

from bench.rivals import Work, serve


def begin(work: Work) -> tuple[dict[str, Any], Callable[[], int]]:
    layers = -1 if work.device == "cuda" else 0
    model = llama_cpp.Llama(
        work.gguf, n_ctx=512, n_threads=work.threads, n_threads_batch=work.threads, n_gpu_layers=layers, seed=work.seed, verbose=False
    )

    def say() -> int:
        said = 0
        for _ in work.adapters:
            model.reset()
            # generate() itself heeds no end of text, so that each line has all its tokens.
            drawn = model.generate(work.ids, temp=work.temperature, top_k=work.top_k, top_p=work.top_p, min_p=0.0, repeat_penalty=1.0)
            line = list(islice(drawn, work.tokens))
            model.detokenize(line)
            said += len(line)
        return said

    return {"version": llama_cpp.__version__}, say


if __name__ == "__main__":
    serve(begin)
