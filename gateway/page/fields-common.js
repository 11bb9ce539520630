// What the lists of fields share: tasks that fields belong to, and short ways to write a field.

export const G = "background.generate";
export const GENERATING = [
  "text",
  "img2img",
  "inpaint",
  "outpaint",
  "background",
  "upscale",
  "sketch",
  "restyle",
  "face",
  "swap",
];
export const PICTURES = [
  "img2img",
  "inpaint",
  "outpaint",
  "background",
  "cutout",
  "upscale",
  "enhance",
  "sketch",
  "restyle",
  "face",
  "swap",
];

export const select = (path, label, options, more = {}) => ({ path, label, kind: "select", options, ...more });
export const share = (path, label, initial, more = {}) => ({
  path,
  label,
  kind: "range",
  min: 0,
  max: 1,
  step: 0.05,
  initial,
  ...more,
});
