"""`make demo`: the whole main job on the bundled persona, from its archive to its own new posts."""

import argparse
import asyncio
import sys
from time import monotonic

from rich.console import Console
from rich.text import Text

from bot.app import Mynah
from bot.errors import MynahError
from bot.faces.terminal import actions
from bot.faces.terminal.screen import Screen
from bot.log import configure_logging
from bot.settings import Settings, load_secrets, load_settings
from data.bundled import bundled

HANDLE = "keeper_ottoline"


async def demonstrate(settings: Settings, seed: int, out: Console) -> None:
    """Import, train, show, speak; what is done already is not done again."""
    began = monotonic()
    async with Mynah(settings, load_secrets(settings.x.accounts)) as app:
        _head(out, f"1. The posts of @{HANDLE}, a fictional lighthouse keeper, come in as an X archive")
        out.print((await actions.import_posts(app, bundled("sample"), HANDLE, "make demo")).text, soft_wrap=True)
        _head(out, "2. A model learns to write like her, in a process of its own")
        out.print((await actions.train(app, [HANDLE], "make demo", out)).text, soft_wrap=True)
        _head(out, f"3. Five posts that she never wrote (seed {seed})")
        out.print((await actions.generate(app, [HANDLE], "make demo", count=5, seed=seed)).text, soft_wrap=True)
    _head(out, f"That took {monotonic() - began:.0f} s. What to type next")
    out.print(
        Text(
            f"  .venv/bin/mynah generate {HANDLE} --prompt 'Log, dawn. The goat'\n"
            "  .venv/bin/mynah import YOUR-X-ARCHIVE.zip --as YOUR_HANDLE\n"
            "  .venv/bin/mynah train YOUR_HANDLE\n"
            "  .venv/bin/mynah console        # the same, conversing\n"
            "  make run                       # the Discord bot: README.md, 'Discord'"
        ),
        soft_wrap=True,
    )


def _head(out: Console, text: str) -> None:
    out.print(Text(f"\n{text}", style="bold"))


def main() -> None:
    """Run the demonstration, or say in one sentence why it cannot be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    try:
        settings = load_settings(None)
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        configure_logging(settings.data_dir / "mynah.log")
        asyncio.run(demonstrate(settings, arguments.seed, Screen()))
    except (MynahError, KeyboardInterrupt) as error:
        sys.exit(str(error) or "Stopped.")


if __name__ == "__main__":
    main()
