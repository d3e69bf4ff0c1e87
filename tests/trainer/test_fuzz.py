"""A stranger's folder, of any files, is a sentence or a model; what the library makes of its tokenizer and configuration is no concern."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile import PIECES, soon
from trainer import foreign, importing
from trainer.errors import TrainerError

TEXT = st.text(max_size=40) | st.sampled_from(PIECES)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        "auto_map",
        "model_type",
        "task_specific_params",
        "text-generation",
        "temperature",
        "top_k",
        "max_length",
        "vocab",
        "model",
        "added_tokens",
        "id",
        "added_tokens_decoder",
        "r",
        "lora_alpha",
        "peft_type",
        "base_model_name_or_path",
        "base",
        "authors",
        "handles",
        "quantization_config",
    ]
)
DOCUMENT = st.dictionaries(NAMES, JSON | st.dictionaries(NAMES, JSON, max_size=3), max_size=6)
CONTENT = st.one_of(
    DOCUMENT.map(lambda one: json.dumps(one).encode()), st.binary(max_size=60), st.just(b"[" * 50_000), st.just(b'{"a":' * 50_000)
)
HEADER = CONTENT.map(lambda content: len(content).to_bytes(8, "little") + content)
FILES = st.dictionaries(st.sampled_from(sorted({*foreign.LIMITS} - {foreign.PICKLED})), CONTENT | HEADER, max_size=5)


def _all_read(folder, most, *, same):
    @settings(max_examples=most, database=None, derandomize=same, suppress_health_check=list(HealthCheck))
    @given(FILES)
    def read(files):
        for old in folder.iterdir():
            old.unlink()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        with soon():
            for look in (
                lambda: importing._values(foreign.Folder(folder), foreign.Folder(folder).document(foreign.CONFIG)),
                lambda: foreign.Folder(folder).document(foreign.NOTE),
                lambda: foreign.Folder(folder).text(foreign.CARD),
                lambda: foreign.Folder(folder).tensors((foreign.WEIGHTS,)),
                lambda: foreign.Folder(folder).copy_tokenizer(folder),
            ):
                try:
                    look()
                except TrainerError as error:
                    assert str(error).endswith(".")  # noqa: PT017

    read()


def test_a_few_folders(tmp_path):
    _all_read(tmp_path, 25, same=True)


@pytest.mark.long
def test_fifteen_hundred_folders(tmp_path):
    _all_read(tmp_path, 1_500, same=False)
