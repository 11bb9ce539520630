// Fields of the file, of the safety filter, and of who is informed.

import { select } from "./fields-common.js";

export const OUTPUT = [
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
    title: "Queue, webhook and more",
    fields: [
      select("imagegen.priority", "Priority", [
        ["", "Normal"],
        ["high", "High"],
        ["low", "Low"],
      ]),
      {
        path: "imagegen.deadline_seconds",
        label: "Deadline, seconds",
        kind: "number",
        min: 0.1,
        max: 86400,
        step: 0.1,
        placeholder: "None",
        hint: "What would be later is refused at once.",
      },
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
