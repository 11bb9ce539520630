"""Arrays in, arrays out: codecs and geometry. Pictures are uint8, height x width x 3, RGB, sRGB."""
