"""What operators install: everything pinned with hashes, its licences listed, and containers and services that can do little else."""

import re
import shutil
import subprocess
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bot.settings import Settings
from tests.conftest import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
#: Each requirement of the lock, and its hashes.
LOCKED = {
    Requirement(one.group(1)): re.findall(r"--hash=sha256:[0-9a-f]{64}", one.group(2))
    for one in re.finditer(r"^([a-z0-9].*?) *\\?\n((?: .*\n)*)", LOCK, re.MULTILINE)
}
NEEDED = [Requirement(one) for one in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]]
TORCH = next(one for one in NEEDED if one.name == "torch")
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
UNIT = (ROOT / "docs/mynah.service").read_text()
OLDEST = {"python_version": "3.11", "python_full_version": "3.11.0"}  # whose licences are listed; a newer Python brings its own


def test_all_that_running_needs_is_locked_in_its_version_and_with_hashes_but_torch():
    locked = {canonicalize_name(one.name): one for one in LOCKED if one.marker is None}
    for needed in NEEDED:
        if needed is not TORCH:
            assert locked[canonicalize_name(needed.name)].specifier == needed.specifier, f"{needed}: run `make lock`"
    assert all(hashes for hashes in LOCKED.values())
    assert all(str(one.specifier).startswith("==") for one in LOCKED)
    assert not [one.name for one in LOCKED if re.match("torch|triton|nvidia|cuda", one.name)]


def test_torch_is_of_one_version_wherever_it_is_named():
    (version,) = (one.version for one in TORCH.specifier)
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["dependency-metadata"]
    assert [(one["name"], one["version"]) for one in stated] == [("torch", version)]
    for name in ("Makefile", "docs/systemd.md"):
        assert set(re.findall(r"torch==([\d.]*\d)", (ROOT / name).read_text())) == {version}, name


@pytest.mark.parametrize("name", ["requirements.lock", "Dockerfile", "compose.yaml", "docs/mynah.service"])
def test_no_package_index_is_named(name):
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links", (ROOT / name).read_text())


def test_the_licence_of_every_package_is_listed():
    rows = [row.split("|")[1:3] for row in (ROOT / "docs/licences.md").read_text().splitlines() if row.startswith("| ")][1:]
    listed = {canonicalize_name(name.strip()): licence.strip() for name, licence in rows}
    installed = {canonicalize_name(one.name) for one in [*LOCKED, TORCH] if one.marker is None or one.marker.evaluate(OLDEST)}
    assert installed <= listed.keys(), f"{sorted(installed - listed.keys())}: run `make licences`"
    assert listed.keys() <= {canonicalize_name(one.name) for one in [*LOCKED, TORCH]}, "run `make licences`"
    assert not [name for name, licence in listed.items() if not licence or licence == "UNKNOWN"]
    # Whoever meets one here has read what it asks for, and has written it above the table.
    assert not [name for name, licence in listed.items() if re.search(r"\b[AL]?GPL", licence)]


def test_the_image_runs_as_nobody_in_particular_with_a_health_check_and_no_token():
    words = [line.split(maxsplit=1) for line in DOCKERFILE.splitlines() if re.match("[A-Z]+ ", line)]
    last = dict(words)
    assert len([word for word, _ in words if word == "FROM"]) == 2
    assert last["USER"] == "${UID}:${UID}"
    assert "ARG UID=10001" in DOCKERFILE
    assert last["VOLUME"] == "/data"
    assert "mynah.lock" in last["HEALTHCHECK"]
    assert not [rest for word, rest in words if word in ("ARG", "ENV") and re.search("TOKEN|SECRET|KEY|PASSWORD", rest)]
    assert "ARG DEVICE=gpu" in DOCKERFILE


def test_all_of_the_image_but_torch_comes_with_hashes():
    fetched = re.findall(r"pip (?:install|wheel)(.*?)(?:&&|$)", DOCKERFILE, re.MULTILINE)
    assert len(fetched) == 6
    without = [line for line in fetched if "--require-hashes" not in line and "--no-index" not in line]
    assert ["torch.txt" in line or "cuda.txt" in line for line in without] == [True, True]


def test_every_variable_of_the_image_and_the_unit_is_a_setting():
    names = set(re.findall(r"MYNAH_([A-Z_]+)=", DOCKERFILE + UNIT)) - {"CONFIG"}
    assert names == {"DATA_DIR"}
    assert {name.lower() for name in names} <= Settings.model_fields.keys()


@pytest.mark.parametrize("name", SERVICES)
def test_a_composed_service_can_write_to_its_volume_alone_and_reads_tokens_from_files(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [volume for volume in service["volumes"] if not volume.endswith(":ro")] == ["data:/data"]
    assert service["environment"] == {"DISCORD_TOKEN_FILE": "/run/secrets/discord_token"}
    assert service["secrets"] == ["discord_token"]
    assert service["restart"] == "unless-stopped"
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


def test_the_composed_service_that_is_meant_by_default_reserves_a_gpu():
    (device,) = SERVICES["mynah"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert "profiles" not in SERVICES["mynah"]
    assert SERVICES["mynah-cpu"]["profiles"] == ["cpu"]
    assert {name: service["build"]["args"]["DEVICE"] for name, service in SERVICES.items()} == {"mynah": "gpu", "mynah-cpu": "cpu"}


def test_the_unit_has_its_tokens_as_credentials_and_can_write_to_its_data_alone():
    lines = UNIT.splitlines()
    for line in (
        "User=mynah",
        "ProtectSystem=strict",
        "StateDirectory=mynah",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "KillMode=mixed",
    ):
        assert line in lines
    assert "Environment=DISCORD_TOKEN_FILE=%d/discord_token" in lines
    assert not re.search(r"(TOKEN|KEY|SECRET)=", UNIT)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_accepts_the_unit(tmp_path):
    (tmp_path / "mynah.service").write_text(re.sub("ExecStart=\\S+", "ExecStart=/bin/true", UNIT))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "mynah.service")], capture_output=True, text=True, check=False
    )
    of_ours = [
        line for line in (done.stdout + done.stderr).splitlines() if "mynah.service" in line
    ]  # it reads the units that ours names, too
    assert (done.returncode, of_ours) == (0, [])
