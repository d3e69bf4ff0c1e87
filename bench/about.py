"""What a figure was measured on: the machine and the versions."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch


def hardware(device: torch.device) -> str:
    """Return the name of the GPU, or of the processor with the number of its cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").is_file() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} x {name}"


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python and of these packages."""
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def gpu_memory() -> int:
    """Return the bytes that all processes together have on the first GPU now; 0 where there is none to be asked."""
    if not shutil.which("nvidia-smi"):
        return 0
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"]
    asked = subprocess.run(query, capture_output=True, text=True, check=False)
    words = asked.stdout.split()
    return int(words[0]) << 20 if words and words[0].isdecimal() else 0
