"""Becomes atrous_crf.pydensecrf when imported; see `run_script` in ../__main__.py."""

import sys

from atrous_crf import install_as_pydensecrf

del sys.modules[__name__]
install_as_pydensecrf()
