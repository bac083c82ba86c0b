"""Makes an ONNX program that onnxruntime and onnxruntime-genai run."""
