"""Names what a program and the engine that runs it agree on: inputs, outputs, caches, restores."""

# Of ONNX programs, as onnxruntime-genai wants them.
IDS_INPUT, MASK_INPUT, LOGITS_OUTPUT = "input_ids", "attention_mask", "logits"
ROWS_INPUT = "logits_to_keep"  # an input with a default: 1, the last position alone
ONNX_CACHE_PARTS = ("key", "value")
# Of a .pte: a constant method, and buffers of the program.
ROWS_METHOD = "get_max_logit_rows"  # without it, the program tells of the last position alone
PTE_CACHE_PARTS = ("keys", "values")


def past_name(layer: int | str, part: str) -> str:
    """Input that holds one of ONNX_CACHE_PARTS of a layer before a step."""
    return f"past_key_values.{layer}.{part}"


def present_name(layer: int | str, part: str) -> str:
    """Output that holds it after the step."""
    return f"present.{layer}.{part}"


def attention_name(layer: int) -> str:
    """Where a layer's attention is in a .pte; its caches are `attention_name.part`."""
    return f"decoder.blocks.{layer}.attend"


def restore_offset(context: int) -> int:
    """What is added to a step's position in a .pte to start from the preamble.

    No other client sends such a position: it is far beyond the context.
    """
    return 2 * context
