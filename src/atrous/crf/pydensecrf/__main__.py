"""`python -m atrous.crf.pydensecrf SCRIPT ARGS...`: run an unchanged script on this package."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

from . import install_as_pydensecrf

USAGE = "usage: python -m atrous.crf.pydensecrf SCRIPT [ARGUMENTS...]"


def run_script(script: str, arguments: list[str]) -> None:
    """Run a script as `python SCRIPT ARGUMENTS...` would, with this package as `pydensecrf`."""
    # Worker processes that are spawned, not forked, know nothing of sys.modules, but they get this
    # path: what lies there installs this package once more.
    sys.path[:1] = [str(Path(script).resolve().parent), str(Path(__file__).with_name("stand_in"))]
    sys.argv = [script, *arguments]
    install_as_pydensecrf()
    path = Path.cwd() / script  # `..` stays in it, as python leaves it
    code = compile(path.read_bytes(), str(path), "exec")
    main = ModuleType("__main__")
    main.__file__ = str(path)
    sys.modules["__main__"] = main
    exec(code, main.__dict__)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(USAGE)
        raise SystemExit(0 if len(sys.argv) > 1 else 2)
    if not Path(sys.argv[1]).is_file():
        print(f"{sys.argv[1]} does not exist; {USAGE}", file=sys.stderr)
        raise SystemExit(2)
    run_script(sys.argv[1], sys.argv[2:])
