"""Other users of the machine: the doctor says where they could look in. What Mynah makes itself is tested in tests/data/test_store.py."""

import pytest

from bot.services.doctor import examine, healthy
from bot.settings import Secrets


@pytest.mark.parametrize(("mode", "open_to_others"), [(0o755, True), (0o701, True), (0o770, False), (0o700, False)])
def test_the_doctor_says_that_others_can_look_into_the_folder(settings, mode, open_to_others):
    settings.data_dir.mkdir()
    settings.data_dir.chmod(mode)
    findings = examine(settings, Secrets())
    found = [finding for finding in findings if finding.name == "privacy"]
    assert [finding.advice for finding in found] == [f"Say `chmod o= {settings.data_dir}`."] * open_to_others
    assert healthy(found)


def test_a_folder_that_is_not_there_is_nobodys(settings):
    assert not [finding for finding in examine(settings, Secrets()) if finding.name == "privacy"]
