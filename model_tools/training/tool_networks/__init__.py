"""Networks that belong to no family: matting, faces, upscaling, screening."""
