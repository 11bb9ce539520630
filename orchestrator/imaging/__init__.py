"""Arrays in, arrays out: files, URLs, sizes, layers. Pictures are uint8 (H, W, 3) RGB or (H, W, 4) RGBA, in sRGB."""
