"""Which splits share images."""

import pytest

from atrous.data import shared_splits


@pytest.mark.parametrize(
    ("trained_on", "scored", "shared"),
    [
        ("voc2012/trainval", "voc2012/val", True),
        ("voc2012/trainval", "voc2012_aug/val", True),
        ("voc2012_aug/train", "voc2012/train", True),
        ("voc2012_aug/train", "voc2012/val", False),
        ("person_part/trainval", "person_part/val", True),
        ("gta5/all", "gta5/val", True),
        ("coco_stuff10k/all", "coco_stuff10k/test", True),
        ("coco_stuff164k/train", "coco_stuff10k/test", True),
        ("coco_stuff164k/train", "coco_stuff164k/val", False),
        ("camvid/train", "camvid/train", True),
        ("camvid/train", "camvid/val", False),
    ],
)
def test_shared_images_are_known(trained_on, scored, shared):
    assert shared_splits(("synthia/all", trained_on), scored) == ([trained_on] if shared else [])
