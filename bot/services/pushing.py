"""Exported voices on the hub: into a private repository, with the operator's own token."""

import asyncio
import re
from pathlib import Path

from pydantic import SecretStr

from bot.errors import BadRequestError, TravelError

#: Of a repository on the hub.
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)


async def push(folder: Path, name: str, token: SecretStr | None) -> str:
    """Upload an exported folder into a private repository of the hub, which is made if it is not there; return its address.

    Raises:
        BadRequestError: no name of a repository, or no token.
        TravelError: the hub refused, or cannot be reached.
    """
    check_push(name, token)
    from huggingface_hub import HfApi  # half a second, which only those who push wait for

    api = HfApi(token=token.get_secret_value() if token else None)

    def upload() -> str:
        address = str(api.create_repo(name, private=True, exist_ok=True))
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="A voice of Mynah's")
        return address

    try:
        return await asyncio.to_thread(upload)
    except Exception as error:  # the hub's, the network's: each has exceptions of its own
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".:; ")
        raise TravelError(f"{name} could not be uploaded ({why}): {folder} is complete, try again.") from error


def check_push(name: str, token: SecretStr | None) -> None:
    """Refuse a push that cannot be, before anything is written.

    Raises:
        BadRequestError: no name of a repository, or no token.
    """
    if not HUB_NAME.fullmatch(name):
        raise BadRequestError(f"{name[:80]!r} is no name of a repository: say it as OWNER/NAME.")
    if token is None:
        raise BadRequestError("Pushing needs a token of the hub's that may write: set HF_TOKEN.")
