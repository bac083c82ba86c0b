"""A quantized model to an ONNX program that onnxruntime and onnxruntime-genai run."""
