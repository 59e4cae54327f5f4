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
        ("coco_stuff164k/train", "coco_stuff10k/all", True),
        ("coco_stuff164k/train", "coco_stuff164k/val", False),
        ("camvid/train", "camvid/train", True),
        ("camvid/train", "camvid/val", False),
        ("camvid/trainval", "camvid/val", True),
        ("camvid/trainval", "camvid/test", False),
        ("camvid/val", "camvid/trainval", True),
        ("folder/trainval", "folder/val", True),
        ("folder/trainval", "camvid/val", False),
        ("voc2012/trainval", "voc2012_aug/train", True),
        ("synthia/all", "synthia/val", True),
        ("synthia/mine", "synthia/all", True),
        ("synthia/all", "gta5/all", False),
    ],
)
def test_shared_images_are_known(trained_on, scored, shared):
    assert shared_splits(("ade20k/all", trained_on), scored) == ([trained_on] if shared else [])
