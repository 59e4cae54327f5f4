"""`atrous.crf.pydensecrf` is the package `atrous_crf.pydensecrf`, with all of its modules.

A file of its own, so that `python -m atrous.crf.pydensecrf SCRIPT` works.
"""

import sys

from atrous_crf import pydensecrf
from atrous_crf.pydensecrf import densecrf, eigen, utils
from atrous_crf.pydensecrf.__main__ import main

if __name__ == "__main__":
    main()
else:
    sys.modules[__name__] = pydensecrf
    for module in (densecrf, eigen, utils):
        sys.modules[f"{__name__}.{module.__name__.rpartition('.')[2]}"] = module
