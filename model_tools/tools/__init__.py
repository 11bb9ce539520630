"""Makes the networks that belong to no family: matting, upscaler, face detector, face landmarks."""
