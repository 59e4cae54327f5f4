"""Label sets of the data sets that other projects' weights were trained on."""

from __future__ import annotations

from ...data.ade20k import ADE20K
from ...data.camvid import CAMVID
from ...data.coco_stuff import COCO_STUFF
from ...data.pascal_context import PASCAL_CONTEXT
from ...data.person_part import PERSON_PART
from ...data.street import CITYSCAPES
from ...data.voc import VOC

LABEL_SETS = {
    "voc": VOC,
    "pascal_context": PASCAL_CONTEXT,
    "person_part": PERSON_PART,
    "cityscapes": CITYSCAPES,
    "coco_stuff": COCO_STUFF,
    "ade20k": ADE20K,
    "camvid": CAMVID,
}
