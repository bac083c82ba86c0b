"""Adds an input to an ONNX graph that says of how many positions it tells.

The input has a default, one, so clients that do not know of it see no change. Steps that judge
guessed tokens need the logits after each of them.
"""

import numpy as np
import onnx_ir

from tinyaya.runtime.engines.interface import ROWS_INPUT


def let_rows_be_chosen(model: onnx_ir.Model) -> None:
    """Make the slice before the head take the last `logits_to_keep` positions."""
    graph = model.graph
    slices = [node for node in graph if node.op_type == "Slice" and _starts_at_last(node)]
    assert len(slices) == 1, "the head's slice is the only one that begins at the last position"
    count = onnx_ir.Value(
        name=ROWS_INPUT,
        type=onnx_ir.TensorType(onnx_ir.DataType.INT64),
        shape=onnx_ir.Shape([1]),
        const_value=onnx_ir.tensor(np.array([1], np.int64), name=ROWS_INPUT),
    )
    graph.inputs.append(count)
    graph.register_initializer(count)
    negative = onnx_ir.Node("", "Neg", [count], name="first_row_of_logits")
    graph.insert_before(slices[0], negative)
    slices[0].replace_input_with(1, negative.outputs[0])
    _forget_lengths(graph, slices[0])


def _forget_lengths(graph: onnx_ir.Graph, start: onnx_ir.Node) -> None:
    """Nothing after `start` is said to have one row; but the logits, by which clients go."""
    reached = set(start.outputs)
    for node in list(graph):
        if node is start or reached & set(node.inputs):
            reached |= set(node.outputs)
            if node.op_type == "Reshape":
                _copy_rows(graph, node)
    for value in reached - set(graph.outputs):
        value.shape = None


def _copy_rows(graph: onnx_ir.Graph, reshape: onnx_ir.Node) -> None:
    """A Reshape to [1, 1, ...] infers the number of rows: -1 stands for that."""
    target = reshape.inputs[1]
    assert target is not None and target.const_value is not None
    sizes = target.const_value.numpy().copy()
    assert sizes.tolist()[:2] == [1, 1] and min(sizes) > 0, f"a Reshape of the head to {sizes}"
    sizes[1] = -1
    name = f"{reshape.outputs[0].name}_sizes"
    value = onnx_ir.Value(name=name, const_value=onnx_ir.tensor(sizes, name=name))
    value.type, value.shape = target.type, target.shape
    graph.register_initializer(value)
    reshape.replace_input_with(1, value)


def _starts_at_last(node: onnx_ir.Node) -> bool:
    start = node.inputs[1]
    assert start is not None
    return start.const_value is not None and start.const_value.numpy().tolist() == [-1]
