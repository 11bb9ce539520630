"""The engines of the embedded default: what runs a network inside Triton's Python backend.

This room is imported by `model_repository/NAME/1/model.py`, in Triton's own environment (`.triton`: numpy below 2 and
OpenVINO), never by the service. With TensorRT or ONNX Runtime in its place, Triton needs nothing of this room.
"""

import os

# oneDNN's AMX kernels choose their blocks by the number of rows, so that in bf16 a row's answer depends on who shares
# its batch: of a small SDXL text encoder 20 of 20 random rows differed with AMX, and none with AVX-512's bf16. Read
# when oneDNN is first used; an operator who would rather have the speed sets the variable.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
