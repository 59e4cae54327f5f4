"""Trimap bands and boundary IoU, pixel by pixel."""

import numpy as np


def distances(labels):
    """Euclidean distance of each pixel to the nearest one with a different 4-neighbour."""
    height, width = labels.shape
    edges = [
        (y, x)
        for y in range(height)
        for x in range(width)
        if any(
            0 <= y + dy < height and 0 <= x + dx < width and labels[y, x] != labels[y + dy, x + dx]
            for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))
        )
    ]
    result = np.full(labels.shape, np.inf)
    for y in range(height):
        for x in range(width):
            for v, u in edges:
                result[y, x] = min(result[y, x], np.hypot(y - v, x - u))
    return result


def boundary(mask, depth):
    """What of a mask has a pixel outside it, or the image's edge, within a square of `depth`."""
    padded = np.pad(mask, depth)
    size = 2 * depth + 1
    height, width = mask.shape
    return np.array(
        [
            [mask[y, x] and not padded[y : y + size, x : x + size].all() for x in range(width)]
            for y in range(height)
        ]
    )


def boundary_iou(truth, predicted, label, depth, ignore):
    known = truth != ignore
    ours = boundary((truth == label) & known, depth)
    theirs = boundary((predicted == label) & known, depth)
    return (ours & theirs).sum(), (ours | theirs).sum()
