// Fields of what is generated, each by its path in the documented request.

import { G, GENERATING, select, share } from "./fields-common.js";

export const MAIN = {
  id: "main",
  fields: [
    { path: `${G}.model_type`, label: "Model", kind: "family", tasks: GENERATING },
    { path: "imagegen.n", label: "Pictures", kind: "count", min: 1, max: 10, tasks: GENERATING },
    { path: "width", label: "Width", kind: "side" },
    { path: "height", label: "Height", kind: "side" },
    { path: `${G}.sample_num`, label: "Seed", kind: "seed", tasks: GENERATING },
  ],
};

export const TASK_FIELDS = {
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
      kind: "suggest",
      options: ["regular", "creative_img2img"],
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
  ],
};

export const SAMPLING = {
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
    {
      path: "imagegen.steps",
      label: "Steps",
      kind: "number",
      half: true,
      min: 1,
      max: 150,
      family: "steps",
      tasks: GENERATING,
    },
    {
      path: "imagegen.guidance_scale",
      label: "Guidance",
      kind: "number",
      half: true,
      min: 0,
      max: 50,
      step: 0.5,
      family: "guidance_scale",
      tasks: GENERATING,
    },
    { path: "imagegen.sampler", label: "Sampler", kind: "sampler", tasks: GENERATING },
    {
      path: "imagegen.skip_tolerance",
      label: "Step skipping",
      kind: "number",
      min: 0,
      max: 1,
      step: 0.01,
      placeholder: "As the model",
      hint: "Largest error of a step that is extrapolated: faster, less exact. 0: none.",
      tasks: GENERATING,
    },
  ],
};

export const PROMPTING = {
  id: "model",
  title: "Prompt and LoRAs",
  fields: [
    { path: "imagegen.loras", label: "LoRAs", kind: "loras", most: 3, tasks: GENERATING },
    { path: "imagegen.prompt_weights", label: "Brackets in prompts", kind: "weights", json: true, tasks: GENERATING },
    { path: "imagegen.clip_skip", label: "Clip skip", kind: "skip", tasks: GENERATING },
  ],
};

const apg = ["imagegen.guidance.method", "apg"];

export const GUIDANCE = {
  id: "guidance",
  title: "Guidance in detail",
  fields: [
    share("imagegen.guidance.start", "Starts after", 0, { tasks: GENERATING, hint: "Share of the steps before it." }),
    share("imagegen.guidance.end", "Ends after", 1, { tasks: GENERATING, hint: "Later steps take half the time." }),
    share("imagegen.guidance.rescale", "Rescale", 0, {
      tasks: GENERATING,
      hint: "Weakens colours that a high guidance makes too strong.",
    }),
    select(
      "imagegen.guidance.method",
      "Method",
      [
        ["", "As the model"],
        ["cfg", "Classifier-free (CFG)"],
        ["apg", "Adaptive projected (APG)"],
        ["cfg_zero_star", "CFG-Zero*"],
      ],
      { tasks: GENERATING },
    ),
    share("imagegen.guidance.eta", "Eta", 0, { when: apg, tasks: GENERATING, hint: "Share of the parallel part." }),
    {
      path: "imagegen.guidance.norm_threshold",
      label: "Norm threshold",
      kind: "number",
      min: 0,
      max: 10000,
      step: 0.5,
      placeholder: "15",
      hint: "0: no bound.",
      when: apg,
      tasks: GENERATING,
    },
    share("imagegen.guidance.momentum", "Momentum", -0.5, { min: -1, max: 1, when: apg, tasks: GENERATING }),
  ],
};
