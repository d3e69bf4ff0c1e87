"""A tiny Llama of random weights that reads bytes: made on the spot, always the same, for tests that are not about quality."""

import json
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from trainer.files import build_folder_once
from trainer.process import Check, Tell

END = "<|endoftext|>"


def folder(cache: Path, _tell: Tell, check: Check) -> Path:
    """Return the folder of the base, 0.4 MB, made if it is not there."""
    made = cache / "bases" / "tiny-random-1"
    build_folder_once(made, build, check)
    return made


def build(part: Path) -> None:
    """Write a two-layer Llama and its tokenizer into a folder."""
    write_byte_tokenizer(part)
    config = LlamaConfig(
        vocab_size=257,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(part)


def write_byte_tokenizer(part: Path) -> None:
    """Write a tokenizer of 257 tokens: the end of text, 0, and the 256 bytes, 1 to 256, with no merges."""
    vocabulary = {END: 0} | {letter: 1 + byte for byte, letter in enumerate(_byte_letters())}
    special = {"id": 0, "content": END, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [special],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }
    (part / "tokenizer.json").write_text(json.dumps(tokenizer))
    names = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "bos_token": END, "clean_up_tokenization_spaces": False}
    (part / "tokenizer_config.json").write_text(json.dumps(names))


def _byte_letters() -> list[str]:
    """Return the printable letter by which byte-level BPE writes each byte: itself, or the next free one from U+0100 on."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    letters, free = [], 0x100
    for byte in range(256):
        letters.append(chr(byte if byte in plain else free))
        free += byte not in plain
    return letters
