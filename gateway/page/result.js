// The picture of a job, large: while it is generated, when it is there, and when it is not.

import { html, useRef } from "./vendor/preact.js";
import { cancel } from "./actions.js";
import { isActive } from "./follow.js";
import { show } from "./history.js";
import { Icon } from "./icons.js";
import { toLocal } from "./pictures.js";
import { beforeOf } from "./recall.js";
import { useInSight } from "./sight.js";
import { notify, set } from "./store.js";
import { Thumbnail } from "./thumbnails.js";
import { statusOf, titleOf } from "./words.js";

export function Result({ job, state }) {
  const [width, height] = job.width ? [job.width, job.height] : (job.size ?? [1, 1]);
  const frame = useInSight();
  const shape = { "--ratio": width / height, "--width": `${width}px` };
  const busy = isActive(job);
  const before = state.compare && !busy ? beforeOf(job, state.jobs) : null;
  if (job.state === "failed" || job.state === "cancelled" || job.state === "deleted")
    return html`<${Ended} job=${job} shape=${shape} frame=${frame} />`;
  const link = job.result_url && toLocal(job.result_url);
  return html`<figure class="frame" ref=${frame} style=${shape} id="figure" aria-busy=${busy}>
    ${job.preview && busy && html`<img class="preview" id="preview" src=${job.preview} alt="" />`}
    ${busy && !job.preview && html`<div class="skeleton"></div>`}
    ${before && html`<${Compare} job=${job} link=${link} before=${before} />`}
    ${!busy && !before && html`<img id="result" src=${link} alt=${titleOf(job)} width=${width} height=${height} draggable="true" />`}
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
        ><button type="button" id="cancel" class="button small" onClick=${() => cancel(job.job)}>
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

// Before on the left of the divider, after on its right.
function Compare({ job, link, before }) {
  const box = useRef(null);
  const slide = (event) => box.current.style.setProperty("--cut", `${event.target.value}%`);
  const lost = () => {
    set({ compare: false });
    notify("The picture that this one began from cannot be loaded any more.");
  };
  return html`<div class="compare" ref=${box}>
    <img id="result" src=${link} alt=${`After: ${titleOf(job)}`} />
    <img class="before" src=${before} alt="Before" onError=${lost} />
    <span class="tag left" aria-hidden="true">Before</span><span class="tag right" aria-hidden="true">After</span
    ><span class="divider" aria-hidden="true"></span>
    <input id="divider" type="range" min="0" max="100" value="50" aria-label="Before and after" onInput=${slide} />
  </div>`;
}

export const Strip = ({ ids, state }) =>
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
          onClick=${() => show({ jobs: ids, at })}
        >
          ${done ? html`<${Thumbnail} id=${id} />` : job?.preview ? html`<img src=${job.preview} alt="" class="soft" />` : html`<${Icon} name=${job?.state === "failed" ? "alert" : "clock"} />`}
        </button>
      </li>`;
    })}
  </ol>`;
