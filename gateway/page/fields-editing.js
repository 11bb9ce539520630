// Fields of what is done to a picture, given or generated.

import { PICTURES, select } from "./fields-common.js";
import { ENHANCEMENTS } from "./fields-enhance.js";

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

export const EDITING = [
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
      select(
        "upscale_parameters.type",
        "Enlarge by",
        [
          ["", "Photo"],
          ["text_x4", "Text and labels"],
        ],
        { tasks: ["enhance", "cutout"] },
      ),
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
      { path: "preset", label: "Preset", kind: "preset", placeholder: "None" },
      ...ENHANCEMENTS.map(([name, label, types]) => ({
        path: "enhancements",
        name,
        label,
        kind: "enhancement",
        half: true,
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
];
