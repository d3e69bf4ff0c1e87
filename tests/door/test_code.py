"""What the code must never do, whatever comes in: looked for in the source itself, so that nobody brings it back unseen."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for room in ("bot", "trainer", "data") for path in (ROOT / room).rglob("*.py"))
#: Calls that run what a text or a file says, or unpack it to where it says.
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads", "marshal.loads", "shelve.open",
    "yaml.load", "yaml.unsafe_load", "yaml.full_load", "joblib.load", "numpy.load", "tempfile.mktemp", "subprocess.getoutput",
    "asyncio.create_subprocess_shell", "importlib.import_module",
}  # fmt: skip
#: Likewise, of whatever object.
UNPACKS = {"extract", "extractall", "unpack_archive"}
#: One member, by its name, of a wheel whose hash was checked.
KNOWN = {"trainer/embedded.py": ["archive.extract"]}
#: What transformers might run code of a model for; each call says that it must not.
LOADS = {"from_pretrained", "from_config"}


@cache
def _calls(source: str) -> list[tuple[str, ast.Call]]:
    return [(ast.unparse(node.func), node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]


def breaches(source: str) -> list[str]:
    """Return what a source does and must not."""
    found = []
    for name, call in _calls(source):
        last = name.rpartition(".")[2]
        said = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name in FORBIDDEN or last in UNPACKS:
            found.append(name)
        if last in LOADS and said.get("trust_remote_code") != "False":
            found.append(f"{name} without trust_remote_code=False")
        if name == "torch.load" and said.get("weights_only") != "True":
            found.append("torch.load without weights_only=True")
        if said.get("shell", "False") != "False" or said.get("verify", "True") == "False":
            found.append(f"{name} with a shell, or without a certificate")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_runs_what_it_reads(path):
    assert breaches(path.read_text()) == KNOWN.get(path.relative_to(ROOT).as_posix(), [])


@pytest.mark.parametrize(
    "source",
    [
        "eval(text)",
        "pickle.loads(data)",
        "zipped.extractall(folder)",
        "AutoModel.from_pretrained(name)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "AutoModel.from_config(config, trust_remote_code=wish)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "subprocess.run(line, shell=True)",
        "requests.get(url, verify=False)",
    ],
)
def test_it_would_be_seen(source):
    assert len(breaches(source)) == 1


def test_no_file_of_settings_can_turn_code_of_models_on():
    shipped = [path for path in (ROOT / "config.toml", ROOT / "compose.yaml", ROOT / "Dockerfile") if path.exists()]
    assert not [path for path in shipped if "remote_code" in path.read_text().lower()]


def test_no_text_from_outside_is_a_format():
    """A format that somebody else wrote could look into what it is given."""
    found = {
        name
        for path in SOURCES
        for name, call in _calls(path.read_text())
        if name.endswith((".format", ".format_map", ".from_string", "Template"))
        and not (isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Constant))
        and name != "super().format"  # of a record of the log
    }
    assert found == {"tr(WHAT).format"}


def test_each_child_is_given_its_environment():
    """Whatever the bot starts, it starts with what children may know."""
    starts = {"asyncio.create_subprocess_exec", "subprocess.run", "subprocess.Popen", "subprocess.check_output", "os.execv", "os.execve"}
    found = [
        (path.name, {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}.get("env"))
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] == "bot"
        for name, call in _calls(path.read_text())
        if name in starts
    ]
    more = [("doctor.py", "child_environment() | rays_own()"), ("processes.py", "child_environment() | dict(more)")]
    assert sorted(found) == [("doctor.py", "child_environment()"), *more, ("sources.py", "child_environment()")]
