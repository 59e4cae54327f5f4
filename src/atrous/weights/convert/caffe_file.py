"""Reads .caffemodel files without Caffe, by a schema of the fields that hold weights.

The field numbers are those of BVLC Caffe's caffe.proto.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from ...errors import WeightsError

_FIELD = descriptor_pb2.FieldDescriptorProto

# Message -> (field, number, type, is repeated). V1Layer is the layer of the older format.
SCHEMA: dict[str, tuple[tuple[str, int, Any, bool], ...]] = {
    "BlobShape": (("dim", 1, _FIELD.TYPE_INT64, True),),
    "Blob": (
        ("num", 1, _FIELD.TYPE_INT32, False),
        ("channels", 2, _FIELD.TYPE_INT32, False),
        ("height", 3, _FIELD.TYPE_INT32, False),
        ("width", 4, _FIELD.TYPE_INT32, False),
        ("data", 5, _FIELD.TYPE_FLOAT, True),
        ("shape", 7, "BlobShape", False),
        ("double_data", 8, _FIELD.TYPE_DOUBLE, True),
    ),
    "Layer": (
        ("name", 1, _FIELD.TYPE_STRING, False),
        ("type", 2, _FIELD.TYPE_STRING, False),
        ("blobs", 7, "Blob", True),
    ),
    "V1Layer": (
        ("name", 4, _FIELD.TYPE_STRING, False),
        ("type", 5, _FIELD.TYPE_INT32, False),
        ("blobs", 6, "Blob", True),
    ),
    "Net": (
        ("name", 1, _FIELD.TYPE_STRING, False),
        ("layers", 2, "V1Layer", True),
        ("layer", 100, "Layer", True),
    ),
}
PACKAGE = "atrous_caffe"


@functools.cache
def net_message() -> Any:
    """Return the protobuf class of a network."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{PACKAGE}.proto", package=PACKAGE, syntax="proto2"
    )
    for message_name, fields in SCHEMA.items():
        message = file.message_type.add(name=message_name)
        for name, number, kind, is_repeated in fields:
            label = _FIELD.LABEL_REPEATED if is_repeated else _FIELD.LABEL_OPTIONAL
            field = message.field.add(name=name, number=number, label=label)
            if isinstance(kind, str):
                field.type = _FIELD.TYPE_MESSAGE
                field.type_name = f".{PACKAGE}.{kind}"
            else:
                field.type = kind
                field.options.packed = is_repeated
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.Net"))


def read_caffemodel(
    path: Path, *, skip: tuple[str, ...] = ()
) -> dict[str, list[NDArray[np.float32]]]:
    """Read the blobs of every layer that has weights.

    Args:
        path: A binary .caffemodel file, in the current or the older format (`layers`).
        skip: Layers whose name ends in one of these are left out.

    Returns:
        Layer name -> its blobs, float32, in the file's order and shape.

    Raises:
        WeightsError: If the file is damaged or not a .caffemodel file.
    """
    try:
        net = net_message().FromString(path.read_bytes())
    except DecodeError as error:
        raise WeightsError(
            f"{path} is not a readable .caffemodel file ({error}); a .prototxt file describes a "
            "network but has no weights"
        ) from error
    layers: dict[str, list[NDArray[np.float32]]] = {}
    for layer in [*net.layers, *net.layer]:
        if layer.blobs and not layer.name.endswith(skip):
            layers[layer.name] = [
                _array(blob, where=f"{path}, layer {layer.name!r}, blob {index}")
                for index, blob in enumerate(layer.blobs)
            ]
    if not layers:
        raise WeightsError(f"{path} has no layer with weights; give a .caffemodel file")
    return layers


def _array(blob: Any, *, where: str) -> NDArray[np.float32]:
    shape = tuple(blob.shape.dim)
    if not blob.HasField("shape"):
        shape = (blob.num, blob.channels, blob.height, blob.width)
    values = np.array(blob.data or blob.double_data, dtype=np.float32)
    if min(shape, default=1) < 0 or math.prod(shape) != values.size:
        raise WeightsError(
            f"{where} has {values.size} numbers for the shape {shape}; the file is damaged"
        )
    return values.reshape(shape)
