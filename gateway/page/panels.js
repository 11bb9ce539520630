// Below the picture: what it came from, and the code that asks for it.

import { html } from "./vendor/preact.js";
import { CodePanel } from "./codepanel.js";
import { Icon } from "./icons.js";
import { SAMPLERS } from "./models.js";
import { formOf, promptOf } from "./recall.js";
import { set } from "./store.js";
import { TASK } from "./tasks.js";
import { secondsOf } from "./words.js";

export function Panels({ job, state }) {
  const tab = (name, icon, label) =>
    html`<button
      type="button"
      role="tab"
      id=${`tab-${name}`}
      aria-selected=${state.panel === name}
      aria-controls=${`panel-${name}`}
      tabindex=${state.panel === name ? 0 : -1}
      onClick=${() => set({ panel: name })}
    >
      <${Icon} name=${icon} />${label}
    </button>`;
  const keys = (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const other = state.panel === "details" ? "code" : "details";
    set({ panel: other });
    document.getElementById(`tab-${other}`).focus();
  };
  return html`<div class="panels">
    <div class="tabs" role="tablist" aria-label="About this request" onKeyDown=${keys}>
      ${tab("details", "info", "Details")}${tab("code", "code", "Code")}
    </div>
    <div role="tabpanel" id="panel-details" aria-labelledby="tab-details" hidden=${state.panel !== "details"}>
      <${Details} job=${job} warnings=${state.warnings} />
    </div>
    <div role="tabpanel" id="panel-code" aria-labelledby="tab-code" hidden=${state.panel !== "code"}>
      ${state.panel === "code" && html`<${CodePanel} state=${state} job=${job} />`}
    </div>
  </div>`;
}

function Details({ job, warnings }) {
  if (!job) return html`<p class="quiet">Prompt, seed and settings of a picture are shown here.</p>`;
  const form = formOf(job);
  const rows = [
    ["Prompt", promptOf(job)],
    ["Negative prompt", form?.values["background.generate.negative_prompt"]],
    ["Task", TASK[form?.task]?.title ?? job.task],
    ["Seed", job.seed],
    ["Model", job.model_type],
    ["Size", job.width && `${job.width} × ${job.height}`],
    ["Steps", job.steps || form?.values["imagegen.steps"]],
    ["Guidance", form?.values["imagegen.guidance_scale"]],
    ["Sampler", SAMPLERS[job.sampler] ?? job.sampler],
    ["File", job.file_size && `${job.output_format?.toUpperCase()}, ${Math.ceil(job.file_size / 1024)} KB`],
    ["Created", job.created && new Date(job.created).toLocaleString()],
    ["Kept until", job.expires && new Date(job.expires).toLocaleString()],
    ["Work", job.timings && `${secondsOf(job)} s`],
    ["Job", job.job],
  ];
  return html`<dl class="details" id="details">
      ${rows
        .filter(([, value]) => value || value === 0)
        .map(
          ([name, value]) =>
            html`<div key=${name}>
              <dt>${name}</dt>
              <dd dir="auto">${String(value)}</dd>
            </div>`,
        )}
    </dl>
    ${job.cut > 0 && html`<p class="note"><${Icon} name="info" />The prompt is longer than this model reads: ${job.cut} tokens at its end were not used.</p>`}
    ${(warnings ?? []).map((each) => html`<p class="note" key=${each}><${Icon} name="info" />${each}</p>`)}`;
}
