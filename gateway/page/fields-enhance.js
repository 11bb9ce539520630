// What can be enhanced in a picture, and bundles of it.

const V = [
  ["", "Standard"],
  ["v2", "Strong"],
];
const LIGHT = [
  ["", "Contrast"],
  ["hdr_light", "HDR"],
  ["hdr_light_advanced", "HDR, fine"],
];

export const ENHANCEMENTS = [
  ["denoise", "Denoise", V],
  ["deblur", "Sharpen", V],
  ["clean", "Remove JPEG artifacts", null],
  ["light", "Light", LIGHT],
  ["color", "Colour", LIGHT],
  ["white_balance", "White balance", null],
  ["exposure_correction", "Exposure", null],
  [
    "face_enhance",
    "Faces",
    [
      ["", "Natural"],
      ["beautify", "Smooth skin"],
    ],
  ],
];

export const PRESETS = [
  "auto_enhance",
  "auto_enhance_pro",
  "auto_enhance_qwen",
  "auto_enhance_klein9b",
  "auto_enhance_generative",
  "ecommerce",
  "ecommerce_upscaled",
  "product_photo",
  "product_photo_unification",
  "product_cutout",
  "real_estate",
  "real_estate_upscaled",
  "print_photo",
  "digital_art",
];
