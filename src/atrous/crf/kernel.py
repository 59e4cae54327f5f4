"""`atrous.crf.kernel` is the module `atrous_crf.kernel`."""

import sys

from atrous_crf import kernel

sys.modules[__name__] = kernel
