"""The child that tells Weights & Biases: `python -m bot.trackers.to_wandb` reads messages on stdin, a line each, and answers each.

The first line is a greeting: mode, project, entity, url, key, and a folder for what the library keeps besides runs. What it would add of
its own accord is turned off: nothing of the machine, its user, its packages, its console or any code is kept or sent.
"""

import json
import os
import re
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL
from typing import Any

INIT_SECONDS = 30.0
FINISH_SECONDS = 60.0
#: After stdin has ended: whoever started this child is gone, or about to end it.
LAST_SECONDS = 10.0
NAME_LENGTH = 128  # W&B's own bound for names
STEP = "training_step"


class Wandb:
    """Runs of Weights & Biases under way, by our keys."""

    def __init__(self, mode: str, project: str, entity: str, url: str, key: str, folder: str) -> None:
        os.environ |= {f"WANDB_{kind}_DIR": str(Path(folder, kind.lower())) for kind in ("CACHE", "CONFIG", "DATA", "ARTIFACT")}
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        import wandb

        self._wandb = wandb
        self._mode = mode
        self._project, self._entity = project, entity or None
        self._url, self._key = url, key or None
        self._runs: dict[str, Any] = {}
        self._folders: dict[str, Path] = {}

    def begin(self, run: str, name: str, kind: str, group: str, config: dict[str, Any], folder: str) -> str | None:
        """Begin a run; where the server cannot be reached it is kept in its folder, and that is returned as a sentence.

        Raises:
            FileNotFoundError: its folder is gone.
        """
        why = None
        self._folders[run] = self._there(Path(folder))

        def begun(mode: str) -> Any:
            there = self._wandb.init(
                project=self._project,
                entity=self._entity,
                name=name[:NAME_LENGTH],
                job_type=kind,
                group=group[:NAME_LENGTH],
                config=config,
                settings=self._settings(mode, folder),
            )
            # W&B's own steps only grow; ours begin again where a training does, at half its learning rate.
            there.define_metric("*", step_metric=STEP)
            return there

        try:
            self._runs[run] = begun(self._mode)
        except Exception as error:
            if self._mode == "offline":
                raise
            why = f"{_first_line(error)}: the run is kept in {folder}, for `wandb sync`"
            self._mode = "offline"  # as long as this child lives: every run would wait anew
            self._runs[run] = begun("offline")
        return why

    def metrics(self, run: str, step: int, values: dict[str, float]) -> None:
        """Log what was measured after a step."""
        self._runs[run].log({**values, STEP: step})

    def artifact(
        self, run: str, name: str, kind: str, facts: dict[str, Any], used: bool, texts: dict[str, str], files: dict[str, str]
    ) -> None:
        """Log an artifact, or that it was used; offline, where W&B knows no inputs, the configuration alone tells of what was used.

        Raises:
            FileNotFoundError: the run's folder is gone.
        """
        there, of_run = self._runs[run], self._there(self._folders[run])
        if used:
            there.config.update({"inputs": {**there.config.get("inputs", {}), name: {"type": kind, **facts}}}, allow_val_change=True)
            if there.offline:
                return
        artifact = self._wandb.Artifact(_name(name), kind, metadata=facts)
        folder = of_run / "artifacts" / f"{run}-{_name(name)}"
        for made in (folder.parent, folder):  # not what is above them: what was forgotten in this instant must not come back
            made.mkdir(exist_ok=True)
        # Facts are a file as well, because W&B tells versions apart by their files alone.
        for part, text in {"facts.json": json.dumps(facts, indent=1, sort_keys=True), **texts}.items():
            (folder / part).write_text(text, encoding="utf-8")
        own = {part: str(folder / part) for part in ("facts.json", *texts)}
        for part, path in {**own, **files}.items():
            artifact.add_file(path, name=part, policy="immutable", skip_cache=True)  # a copy would be one more place to forget
        (there.use_artifact if used else there.log_artifact)(artifact)

    def end(self, run: str, ok: bool, facts: dict[str, Any]) -> None:
        """End a run."""
        there = self._runs.pop(run)
        there.summary.update(facts)
        there.finish(exit_code=0 if ok else 1)

    def close(self) -> None:
        """End what is left, as cut off."""
        for run in list(self._runs):
            with suppress(Exception):
                self.end(run, ok=False, facts={"ended": "cut off"})

    @staticmethod
    def _there(folder: Path) -> Path:
        """Return the folder of a job; it goes when the job is forgotten, and what waited to be told of it is then told no more."""
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is gone, so nothing more is told of its job")
        return folder

    def _settings(self, mode: str, folder: str) -> Any:
        return self._wandb.Settings(
            mode=mode,
            base_url=self._url,
            api_key=self._key if mode == "online" else None,
            root_dir=folder,
            reinit="create_new",
            init_timeout=INIT_SECONDS,
            finish_timeout=FINISH_SECONDS,
            finish_timeout_raises=True,
            silent=True,
            console="off",
            program="mynah",
            host="",
            username="",
            email="",
            disable_git=True,
            disable_code=True,
            save_code=False,
            x_save_requirements=False,
            x_disable_meta=True,
            x_disable_stats=True,
            x_disable_machine_info=True,
            x_transaction_log_flush_interval=1.0,  # of 15 seconds otherwise a kill would leave nothing
        )


def _name(text: str) -> str:
    """Return a text as the name of an artifact, of which W&B takes letters, digits, dashes, underscores and dots."""
    return re.sub(r"[^\w.-]", "-", text, flags=re.ASCII)[:NAME_LENGTH]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".:; ")


def serve(make: Callable[..., Wandb]) -> None:
    """Answer each line of stdin with a line: `{"error": null}`, or why not."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not be taken for an answer

    def answer(error: str | None) -> None:
        print(json.dumps({"error": error}), file=answers, flush=True)

    tracker: Wandb | None = None
    for line in sys.stdin:
        message = json.loads(line)
        try:
            if tracker is None:
                tracker = make(**message)
                answer(None)
                continue
            answer(getattr(tracker, message.pop("type"))(**message))
        except Exception as error:
            answer(f"{type(error).__name__}: {_first_line(error)}")
            if tracker is None:
                return
    threading.Timer(LAST_SECONDS, os.killpg, (0, SIGKILL)).start()
    if tracker is not None:
        tracker.close()


def main() -> None:
    """Tell Weights & Biases until stdin ends."""
    os.nice(10)  # the training goes first
    serve(Wandb)
    os._exit(0)  # the library's hooks would wait for what it has given up already


if __name__ == "__main__":
    main()
