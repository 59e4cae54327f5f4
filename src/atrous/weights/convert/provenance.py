"""What is known about published files beside what stands in them."""

# What the files that the paper's authors and kazuto1011 published were trained on.
KNOWN_TRAINING = {
    "train_iter_20000": ("voc2012_aug/train",),
    "train2_iter_20000": ("voc2012_aug/train", "voc2012/trainval"),
    "deeplabv2_resnet101_msc-vocaug-20000": ("voc2012_aug/train",),
    "deeplabv2_resnet101_msc-cocostuff10k-20000": ("coco_stuff10k/train",),
    "deeplabv2_resnet101_msc-cocostuff164k-100000": ("coco_stuff164k/train",),
}
