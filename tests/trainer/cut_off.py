"""`python -m tests.trainer.cut_off STEP --job …`: a trainer that writes a checkpoint after each step, and is killed after that one."""

import os
import signal
import sys

from trainer import learner
from trainer.__main__ import main


def cut_off(step: int) -> None:
    """Let every trainer of this process end by SIGKILL once a job's checkpoint of `step` is written."""
    learner.CHECKPOINT_SECONDS = learner.CHECKPOINT_SHARE = 0
    honest = learner.Learner.checkpoint

    def checkpoint(self: learner.Learner) -> None:
        honest(self)
        if self.found.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    learner.Learner.checkpoint = checkpoint


if __name__ == "__main__":
    cut_off(int(sys.argv.pop(1)))
    sys.exit(main())
