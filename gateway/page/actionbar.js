// The row of actions under a picture.

import { html } from "./vendor/preact.js";
import * as actions from "./actions.js";
import { isActive } from "./follow.js";
import { Icon } from "./icons.js";
import { toLocal } from "./pictures.js";
import { beforeOf, formOf } from "./recall.js";
import { set } from "./store.js";
import { isPlain } from "./tasks.js";

export function Actions({ job, state }) {
  const done = job.state === "succeeded";
  const plain = isPlain(formOf(job)?.task); // no seed changes it
  const act = (id, icon, label, run, more = {}) =>
    html`<button
      type="button"
      id=${`act-${id}`}
      class=${`action${more.bare ? " bare" : ""}`}
      disabled=${more.off ?? !done}
      aria-pressed=${more.pressed}
      title=${more.title ?? (more.bare ? label : undefined)}
      onClick=${run}
    >
      <${Icon} name=${icon} /><span>${label}</span>
    </button>`;
  const anchor = (id, icon, label, more) =>
    html`<a
      id=${id}
      class=${`action bare${done ? "" : " off"}`}
      href=${link}
      role="link"
      aria-disabled=${!done}
      title=${label}
      ...${more}
      ><${Icon} name=${icon} /><span>${label}</span></a
    >`;
  const link = done ? toLocal(job.result_url) : undefined;
  return html`<div class="actions" id="actions" role="group" aria-label="Actions for this picture">
    ${act("seed", "dice", "New seed", actions.anotherSeed, { off: isActive(job) || plain, title: "The same settings with another seed" })}
    ${act("variation", "vary", "Variation", actions.variation, { title: "A picture like this one" })}
    ${act("input", "input", "Use as input", actions.useAsInput)}
    ${act("inpaint", "brush", "Inpaint", actions.inpaintHere)} ${act("upscale", "grow", "Upscale 2×", actions.upscale)}
    ${act("cutout", "cut", "Cut out", actions.cutOut)}
    ${act("compare", "compare", "Compare", () => set({ compare: !state.compare }), { off: !done || !beforeOf(job, state.jobs), pressed: state.compare, title: "Before and after, where the picture it began from is still there" })}
    ${act("recall", "recall", "Reuse", () => actions.reuse(job), { off: false, title: "Put this picture’s prompt, seed and settings back into the form" })}
    <span class="group">
      ${anchor("download", "download", "Download", { download: done ? `${job.job}.${job.output_format}` : undefined })}
      ${act("link", "link", "Copy link", actions.copyLink, { bare: true })}
      ${anchor("open", "open", "Open full size", { target: "_blank", rel: "noreferrer" })}
      ${act("delete", "trash", "Delete", () => actions.remove(job.job), { off: isActive(job) || job.state === "deleted", bare: true })}
    </span>
  </div>`;
}
