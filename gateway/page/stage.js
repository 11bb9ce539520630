// The middle: the picture, large; what happens to it; what can be done with it.

import { html, useEffect, useRef } from "./vendor/preact.js";
import { CodePanel } from "./codepanel.js";
import { Icon } from "./icons.js";
import * as actions from "./jobs.js";
import { toLocal } from "./pictures.js";
import { set, setForm } from "./store.js";
import { TASK, isPlain } from "./tasks.js";

const PROMPT = "background.generate.description";

// Prompt, picture and model: with seed 7 each gives its picture again.
const SAMPLES = [
  ["house in the mountains", "house", "fantasy"],
  ["cat on the beach", "cat", "fantasy"],
  ["a strawberry", "strawberry", "fantasy"],
  ["sunset over the sea", "sunset", "realistic"],
  ["penguin in the snow", "penguin", "fantasy"],
  ["rocket above the moon at night", "rocket", "realistic"],
  ["snowman in a snowy forest", "snowman", "fantasy"],
  ["a frog", "frog", "realistic"],
];

export function Stage({ state }) {
  const ids = state.shown?.jobs ?? [];
  const job = state.jobs[ids[state.shown?.at]];
  return html`<section class="middle" id="stage" data-job=${job?.job} aria-labelledby="result-heading">
    <div class="stage">
      <h2 id="result-heading" class="hidden" tabindex="-1">Result</h2>
      ${state.error && html`<${Failure} message=${state.error.message} />`}
      ${!state.error && !job && html`<${Empty} families=${state.families} />`}
      ${!state.error && job && html`<${Result} key=${ids[0]} job=${job} state=${state} />`}
      ${ids.length > 1 && html`<${Strip} ids=${ids} state=${state} />`}
      ${job && !state.error && html`<${Actions} job=${job} state=${state} />`}
      <${Panels} job=${state.error ? null : job} state=${state} />
      <p id="status" role="status" class="hidden">${statusOf(job)}</p>
    </div>
  </section>`;
}

export function statusOf(job) {
  if (!job) return "";
  if (job.state === "queued") return waitingOf(job);
  if (job.state === "running")
    return job.stage === "denoise"
      ? `Generating: step ${job.step} of ${job.total}`
      : (STAGE_WORDS[job.stage] ?? "Starting");
  if (job.state === "succeeded") return `Done${job.timings ? ` in ${secondsOf(job)} s` : ""}.`;
  return { failed: "Failed.", cancelled: "Cancelled.", deleted: "This picture is no longer stored." }[job.state];
}

const STAGE_WORDS = {
  prepare: "Preparing the picture",
  encode: "Reading the prompt",
  decode: "Decoding",
  finish: "Finishing",
};
const secondsOf = (job) =>
  Object.values(job.timings)
    .reduce((sum, each) => sum + each, 0)
    .toFixed(1);

export function waitingOf({ queue, wait, expectedSeconds }) {
  const seconds = wait || (queue && expectedSeconds ? queue * expectedSeconds : 0);
  const time = seconds >= 1 ? `, about ${Math.ceil(seconds)} s` : "";
  if (!queue) return "Starts next";
  return `${queue} ${queue === 1 ? "job" : "jobs"} before it${time}`;
}

function Empty({ families }) {
  const use = (prompt, model) => () => {
    const known = families.slice(1).some(({ name }) => name === model);
    setForm({
      task: "text",
      values: {
        [PROMPT]: prompt,
        "background.generate.sample_num": "7",
        ...(known ? { "background.generate.model_type": model } : {}),
      },
    });
    document.getElementById("prompt").focus();
  };
  return html`<div class="empty" id="empty">
    <p class="title">What would you like to see?</p>
    <p class="quiet">Pick an idea, or write your own prompt and press Generate.</p>
    <ul class="samples">
      ${SAMPLES.map(
        ([prompt, name, model]) =>
          html`<li key=${name}>
            <button type="button" class="sample" onClick=${use(prompt, model)}>
              <img src=${`/playground/art/${name}.webp`} alt="" width="256" height="256" /><span
                >${prompt[0].toUpperCase() + prompt.slice(1)}</span
              >
            </button>
          </li>`,
      )}
    </ul>
  </div>`;
}

// On a narrow screen, where the form is above: brings what is shown now into sight.
function useInSight() {
  const shown = useRef(null);
  useEffect(() => {
    if (!shown.current || !matchMedia("(max-width: 55.99rem)").matches) return;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    shown.current.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
  }, []);
  return shown;
}

function Failure({ message }) {
  const shown = useInSight();
  return html`<div class="failure" id="failure" ref=${shown}>
    <${Icon} name="alert" />
    <p class="title">That did not work</p>
    <p id="error" role="alert">${message}</p>
    <div class="row">
      <button type="button" id="retry" class="primary small" onClick=${() => actions.generate()}>Try again</button>
      <button type="button" class="button" onClick=${() => set({ error: null })}>Dismiss</button>
    </div>
  </div>`;
}

function Result({ job, state }) {
  const [width, height] = job.width ? [job.width, job.height] : (job.size ?? [1, 1]);
  const frame = useInSight();
  const shape = { "--ratio": width / height, "--width": `${width}px` };
  const busy = actions.isActive(job);
  if (job.state === "failed" || job.state === "cancelled" || job.state === "deleted")
    return html`<${Ended} job=${job} shape=${shape} frame=${frame} />`;
  const link = job.result_url && toLocal(job.result_url);
  return html`<figure class="frame" ref=${frame} style=${shape} id="figure" aria-busy=${busy}>
    ${job.preview && busy && html`<img class="preview" id="preview" src=${job.preview} alt="" />`}
    ${busy && !job.preview && html`<div class="skeleton"></div>`}
    ${!busy && state.compare && job.before?.src && html`<${Compare} job=${job} link=${link} />`}
    ${!busy && !(state.compare && job.before?.src) && html`<img id="result" src=${link} alt=${titleOf(job)} width=${width} height=${height} draggable="true" />`}
    ${
      busy &&
      html`<figcaption class="progress">
        <div class="bar">
          <progress
            id="progress"
            max="1"
            value=${job.progress ?? (job.state === "queued" ? 0 : 0.02)}
            aria-label="Progress"
          ></progress>
        </div>
        <span aria-hidden="true">${statusOf(job)}</span
        ><button type="button" id="cancel" class="button small" onClick=${() => actions.cancel(job.job)}>
          <${Icon} name="cancel" />Cancel
        </button>
      </figcaption>`
    }
  </figure>`;
}

function Ended({ job, shape, frame }) {
  const words = {
    failed: ["alert", "This job failed", job.error?.message ?? ""],
    cancelled: ["cancel", "Cancelled", "It was stopped before its picture was ready."],
    deleted: ["image", "Not stored any more", "Pictures are removed after a while. Its settings can be used again."],
  }[job.state];
  return html`<div class="frame ended" style=${shape} id="ended" ref=${frame}>
    <${Icon} name=${words[0]} />
    <p class="title">${words[1]}</p>
    <p id=${job.state === "failed" ? "error" : "ended-hint"} role=${job.state === "failed" ? "alert" : "note"}>
      ${words[2]}
    </p>
  </div>`;
}

// What a job is called where it is listed.
export const titleOf = (job) =>
  actions.promptOf(job) || TASK[actions.formOf(job)?.task]?.title || job.task?.replaceAll("_", " ") || "Picture";

// Before on the left of the divider, after on its right.
function Compare({ job, link }) {
  const box = useRef(null);
  const slide = (event) => box.current.style.setProperty("--cut", `${event.target.value}%`);
  return html`<div class="compare" ref=${box}>
    <img id="result" src=${link} alt=${`After: ${titleOf(job)}`} />
    <img class="before" src=${job.before.src} alt="Before" />
    <span class="tag left" aria-hidden="true">Before</span><span class="tag right" aria-hidden="true">After</span
    ><span class="divider" aria-hidden="true"></span>
    <input id="divider" type="range" min="0" max="100" value="50" aria-label="Before and after" onInput=${slide} />
  </div>`;
}

const Strip = ({ ids, state }) =>
  html`<ol class="strip" id="strip" aria-label="Pictures of this request">
    ${ids.map((id, at) => {
      const job = state.jobs[id];
      const done = job?.state === "succeeded";
      return html`<li key=${id}>
        <button
          type="button"
          class="thumb"
          aria-current=${at === state.shown.at ? "true" : "false"}
          aria-label=${`Picture ${at + 1} of ${ids.length}`}
          onClick=${() => set({ shown: { jobs: ids, at }, compare: false })}
        >
          ${done ? html`<img src=${toLocal(job.result_url)} alt="" />` : job?.preview ? html`<img src=${job.preview} alt="" class="soft" />` : html`<${Icon} name=${job?.state === "failed" ? "alert" : "clock"} />`}
        </button>
      </li>`;
    })}
  </ol>`;

function Actions({ job, state }) {
  const done = job.state === "succeeded";
  const plain = isPlain(actions.formOf(job)?.task); // no seed changes it
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
    ${act("seed", "dice", "New seed", actions.anotherSeed, { off: actions.isActive(job) || plain, title: "The same settings with another seed" })}
    ${act("variation", "vary", "Variation", actions.variation, { title: "A picture like this one" })}
    ${act("input", "input", "Use as input", actions.useAsInput)}
    ${act("inpaint", "brush", "Inpaint", actions.inpaintHere)} ${act("upscale", "grow", "Upscale 2×", actions.upscale)}
    ${act("cutout", "cut", "Cut out", actions.cutOut)}
    ${act("compare", "compare", "Compare", () => set({ compare: !state.compare }), { off: !done || !job.before?.src, pressed: state.compare, title: "Before and after, for pictures of this visit" })}
    ${act("recall", "recall", "Reuse", () => actions.reuse(job), { off: false, title: "Put this picture’s prompt, seed and settings back into the form" })}
    <span class="group">
      ${anchor("download", "download", "Download", { download: done ? `${job.job}.${job.output_format}` : undefined })}
      ${act("link", "link", "Copy link", actions.copyLink, { bare: true })}
      ${anchor("open", "open", "Open full size", { target: "_blank", rel: "noreferrer" })}
      ${act("delete", "trash", "Delete", () => actions.remove(job.job), { off: actions.isActive(job) || job.state === "deleted", bare: true })}
    </span>
  </div>`;
}

function Panels({ job, state }) {
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
  const form = actions.formOf(job);
  const rows = [
    ["Prompt", actions.promptOf(job)],
    ["Negative prompt", form?.values["background.generate.negative_prompt"]],
    ["Task", TASK[form?.task]?.title ?? job.task],
    ["Seed", job.seed],
    ["Model", job.model_type],
    ["Size", job.width && `${job.width} × ${job.height}`],
    ["Steps", job.steps || form?.values["imagegen.steps"]],
    ["Guidance", form?.values["imagegen.guidance_scale"]],
    ["Sampler", job.sampler],
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
              <dd>${String(value)}</dd>
            </div>`,
        )}
    </dl>
    ${job.cut > 0 && html`<p class="note"><${Icon} name="info" />The prompt is longer than this model reads: ${job.cut} tokens at its end were not used.</p>`}
    ${(warnings ?? []).map((each) => html`<p class="note" key=${each}><${Icon} name="info" />${each}</p>`)}`;
}
