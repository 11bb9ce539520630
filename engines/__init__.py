"""The engines of the embedded default: what runs a network inside Triton's Python backend.

This room is imported by `model_repository/NAME/1/model.py`, in Triton's own environment (`.triton`: numpy below 2 and
OpenVINO), never by the service. With TensorRT or ONNX Runtime in its place, Triton needs nothing of this room.
"""
