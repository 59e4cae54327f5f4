"""The Python examples of the README run, and its links lead to files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SET_UP = """
import numpy as np
image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
probabilities = np.full((3, 6, 8), 1 / 3)
"""


def test_python_examples_run(project: Path) -> None:
    text = (project / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        code = SET_UP + block
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_links_lead_to_files(project: Path) -> None:
    for page in (project / "README.md", project / "native/README.md"):
        links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        local = [link for link in links if "://" not in link]
        assert local
        assert not [link for link in local if not (page.parent / link).exists()]
