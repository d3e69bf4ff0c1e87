"""docs/security.md names a test for each threat, and each of them is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [line for line in (ROOT / "docs/security.md").read_text().splitlines() if re.match(r"\| (?!Who |--)", line)]
NAMED = sorted({name for row in ROWS for name in re.findall(r"`(tests/[^`]+::[^`]+)`", row)})


def _tests(path: Path) -> set[str]:
    """Return the tests of a file: `test_it`, or `TestClass::test_it`."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        before = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {before + one.name for one in inner if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
    return found


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_is_named_is_there(name):
    path, _, test = name.partition("::")
    assert test in _tests(ROOT / path)


def test_each_threat_names_one():
    assert len(ROWS) > 30
    assert [row for row in ROWS if "`tests/" not in row] == []
