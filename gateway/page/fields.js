// The settings: sections of fields, each by its path in the documented request. docs/rest.md explains them.

const G = "background.generate";
const GENERATING = [
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
const PICTURES = [
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
const select = (path, label, options, more = {}) => ({ path, label, kind: "select", options, ...more });
const share = (path, label, initial, more = {}) => ({
  path,
  label,
  kind: "range",
  min: 0,
  max: 1,
  step: 0.05,
  initial,
  ...more,
});
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

const PAPERS = [
  "a0",
  "a1",
  "a2",
  "a3",
  "a4",
  "a5",
  "a6",
  "a7",
  "a8",
  "letter",
  "legal",
  "tabloid",
  "executive",
  "11x17",
  "arch1",
  "arch2",
  "arch3",
];

// The first section has no title: its fields are always in sight.
export const SECTIONS = [
  {
    id: "main",
    fields: [
      { path: `${G}.model_type`, label: "Model", kind: "family", tasks: GENERATING },
      { path: "imagegen.n", label: "Pictures", kind: "count", min: 1, max: 10, tasks: GENERATING },
      { path: "width", label: "Width", kind: "side" },
      { path: "height", label: "Height", kind: "side" },
      { path: `${G}.sample_num`, label: "Seed", kind: "seed", tasks: GENERATING },
    ],
  },
  {
    id: "task",
    title: "Task",
    fields: [
      share(`${G}.strength`, "Strength", 0.6, { min: 0.05, tasks: ["img2img"], hint: "How much is changed." }),
      share(`${G}.strength`, "Strength", 0.1, { tasks: ["swap"], hint: "How much of the new face is generated over." }),
      share(`${G}.controlnet_conditioning_scale`, "Edge guidance", 0.5, {
        tasks: ["img2img", "inpaint", "outpaint", "background", "sketch", "restyle", "face"],
        hint: "How closely edges are kept.",
      }),
      { path: `${G}.ip_image2`, label: "New face", kind: "picture", tasks: ["swap"] },
      {
        path: `${G}.context_images`,
        label: "Reference pictures",
        kind: "pictures",
        most: 3,
        tasks: ["img2img"],
        hint: "Up to three pictures whose look steers the result.",
      },
      { path: `${G}.face_id`, label: "Face only, without hair and surroundings", kind: "check", tasks: ["face"] },
      {
        path: `${G}.avatar_generation_type`,
        label: "Avatar type",
        kind: "text",
        placeholder: "regular",
        tasks: ["face", "swap"],
      },
      share(`${G}.item_area_percentage`, "Object size", 1, {
        min: 0.05,
        tasks: ["background"],
        hint: "Share of the picture that the object may take.",
      }),
      { path: `${G}.color`, label: "Start colour of the background", kind: "color", tasks: ["background"] },
      {
        path: "upscale_strength",
        label: "Faithfulness",
        kind: "range",
        min: 1,
        max: 9,
        step: 1,
        initial: 5,
        tasks: ["upscale"],
        hint: "1 generates most detail, 9 changes least.",
      },
      select(
        "upscale_parameters.type",
        "Enlarge by",
        [
          ["", "Photo"],
          ["text_x4", "Text and labels"],
        ],
        { tasks: ["enhance", "cutout"] },
      ),
    ],
  },
  {
    id: "sampling",
    title: "Sampling",
    fields: [
      {
        path: `${G}.negative_prompt`,
        label: "Negative prompt",
        kind: "textarea",
        placeholder: "What the picture must not show",
        tasks: GENERATING,
      },
      {
        path: `${G}.additional_prompt`,
        label: "Additional prompt",
        kind: "text",
        placeholder: "Added after the prompt",
        tasks: GENERATING,
      },
      { path: "imagegen.steps", label: "Steps", kind: "number", min: 1, max: 150, family: "steps", tasks: GENERATING },
      {
        path: "imagegen.guidance_scale",
        label: "Guidance",
        kind: "number",
        min: 0,
        max: 50,
        step: 0.5,
        family: "guidance_scale",
        tasks: GENERATING,
      },
      { path: "imagegen.sampler", label: "Sampler", kind: "sampler", tasks: GENERATING },
      select("imagegen.priority", "Priority", [
        ["", "Normal"],
        ["high", "High"],
        ["low", "Low"],
      ]),
    ],
  },
  {
    id: "layout",
    title: "Size and fit",
    fields: [
      select(
        "fit",
        "Fit",
        [
          ["", "Canvas: whole, padded"],
          ["crop", "Crop to content"],
          ['{"crop":"item"}', "Crop to object"],
          ['{"crop":"center"}', "Crop to centre"],
          ["bounds", "Inside the size"],
          ["cover", "Cover the size"],
        ],
        { tasks: PICTURES.filter((id) => id !== "outpaint") },
      ),
      { path: "padding", label: "Padding", kind: "side", placeholder: "0 or 5%", tasks: PICTURES },
      {
        path: "min_length",
        label: "Shorter side at least",
        kind: "number",
        min: 64,
        max: 16704,
        placeholder: "px",
        tasks: PICTURES,
      },
    ],
  },
  {
    id: "background",
    title: "Background",
    fields: [
      select(
        "background.remove",
        "Remove background",
        [
          ["", "Keep it"],
          ["auto", "Keep the main object"],
          ["human", "Keep people"],
          ["item", "Keep things"],
          ["generative", "Keep what I name"],
        ],
        { not: ["background"] },
      ),
      {
        path: "background.prompt",
        label: "What to keep",
        kind: "text",
        placeholder: "the shoes",
        when: ["background.remove", "generative"],
        not: ["background"],
      },
      { path: "background.color", label: "Colour behind", kind: "color" },
      { path: "background.replace", label: "Picture behind", kind: "picture", not: ["background"] },
    ],
  },
  {
    id: "enhance",
    title: "Enhance",
    fields: [
      { path: "preset", label: "Preset", kind: "suggest", options: "presets", placeholder: "None" },
      ...ENHANCEMENTS.map(([name, label, types]) => ({
        path: "enhancements",
        name,
        label,
        kind: "enhancement",
        types,
        tasks: name === "face_enhance" ? undefined : PICTURES,
      })),
    ],
  },
  {
    id: "caption",
    title: "Caption",
    fields: [
      { path: "caption.url", label: "Picture on top (a logo)", kind: "picture" },
      select(
        "caption.position",
        "Position",
        [
          ["", "Bottom right"],
          ["MB", "Bottom"],
          ["LB", "Bottom left"],
          ["RM", "Right"],
          ["MM", "Centre"],
          ["LM", "Left"],
          ["RT", "Top right"],
          ["MT", "Top"],
          ["LT", "Top left"],
        ],
        { when: ["caption.url"] },
      ),
      {
        path: "caption.target_width_percentage",
        label: "Width, %",
        kind: "range",
        min: 1,
        max: 100,
        step: 1,
        initial: 25,
        when: ["caption.url"],
      },
      {
        path: "caption.opacity",
        label: "Opacity, %",
        kind: "range",
        min: 0,
        max: 100,
        step: 5,
        initial: 100,
        when: ["caption.url"],
      },
      { path: "caption.padding", label: "Margin", kind: "side", placeholder: "5%", when: ["caption.url"] },
    ],
  },
  {
    id: "print",
    title: "Print",
    fields: [
      { path: "print_size", label: "Paper", kind: "suggest", options: PAPERS, placeholder: "None" },
      {
        path: "dpi",
        label: "Dots per inch",
        kind: "number",
        min: 1,
        max: 2400,
        placeholder: "300",
        when: ["print_size"],
      },
      select(
        "print_reorientation",
        "Turn the paper with the picture",
        [
          ["", "Yes"],
          ["false", "No"],
        ],
        { json: true, when: ["print_size"], tasks: PICTURES },
      ),
    ],
  },
  {
    id: "file",
    title: "File",
    fields: [
      select("output_format", "Format", [
        ["", "PNG"],
        ["jpeg", "JPEG"],
        ["webp", "WebP"],
      ]),
      {
        path: "quality",
        label: "Quality",
        kind: "range",
        min: 0,
        max: 100,
        step: 1,
        initial: 85,
        when: ["output_format"],
      },
      { path: "max_file_size", label: "Largest file", kind: "text", placeholder: "500kb" },
      select("metadata", "Prompt in the file", [
        ["", "No"],
        ["prompt", "Prompt, seed, settings"],
      ]),
      { path: "target", label: "Copy to a storage", kind: "text", placeholder: "storage://NAME/PATH" },
    ],
  },
  {
    id: "safety",
    title: "Safety filter",
    fields: [
      select(
        "safe",
        "Filter explicit pictures",
        [
          ["", "As the account says"],
          ["true", "On"],
          ["false", "Off"],
        ],
        { json: true },
      ),
      {
        path: "nsfw_parameters.threshold",
        label: "Threshold",
        kind: "range",
        min: 0,
        max: 1,
        step: 0.05,
        initial: 0.8,
        when: ["safe", "true"],
      },
      {
        path: "nsfw_parameters.nsfw_image_url",
        label: "Picture in its place",
        kind: "picture",
        when: ["safe", "true"],
      },
    ],
  },
  {
    id: "advanced",
    title: "Webhook and more",
    fields: [
      { path: "webhooks.complete", label: "Webhook", kind: "text", placeholder: "https://…" },
      select(
        "webhooks.events",
        "It is sent when the job",
        [
          ["", "completes"],
          ["failed", "fails"],
          ["complete, failed", "completes or fails"],
        ],
        { when: ["webhooks.complete"] },
      ),
      { path: "", label: "More fields, as JSON", kind: "json", placeholder: "{}" },
    ],
  },
];

const shownFor = (field, task) => (!field.tasks || field.tasks.includes(task)) && !field.not?.includes(task);

export function fieldsOf(section, form) {
  return section.fields.filter((field) => shownFor(field, form.task) && applies(field, form.values));
}

function applies({ when }, values) {
  if (!when) return true;
  const [path, wanted] = when;
  return wanted === undefined ? isSet(values[path]) : values[path] === wanted;
}

export const isSet = (value) =>
  value !== undefined &&
  value !== null &&
  value !== "" &&
  value !== false &&
  !(Array.isArray(value) && value.length === 0);

export const isFieldSet = (field, values) =>
  field.kind === "enhancement" ? (values.enhancements ?? []).includes(field.name) : isSet(values[field.path]);
