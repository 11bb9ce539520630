// The right side: jobs that wait or run, and the account's pictures, as the server keeps them.

import { html } from "./vendor/preact.js";
import { cancel } from "./actions.js";
import { Icon } from "./icons.js";
import { isActive } from "./follow.js";
import { show } from "./history.js";
import { filterGallery, loadGallery } from "./listing.js";
import { toLocal } from "./pictures.js";
import { set } from "./store.js";
import { Thumbnail } from "./thumbnails.js";
import { statusOf, titleOf } from "./words.js";

export function Gallery({ state }) {
  return html`<aside class="side" aria-label="Queue and gallery">
    <${Queue} state=${state} />
    <section class="gallery" aria-labelledby="gallery-heading">
      <div class="side-head">
        <h2 id="gallery-heading">Gallery</h2>
        <label class="hidden" for="filter">Show</label>
        <select
          id="filter"
          class="small"
          value=${state.gallery.filter}
          onChange=${(event) => filterGallery(event.target.value)}
        >
          ${[
            ["succeeded", "Pictures"],
            ["all", "All jobs"],
            ["failed", "Failed"],
          ].map(
            ([name, label]) => html`<option value=${name} selected=${name === state.gallery.filter}>${label}</option>`,
          )}
        </select>
      </div>
      <${Pictures} state=${state} />
    </section>
  </aside>`;
}

const byTurn = (a, b) => (b.state === "running") - (a.state === "running") || (a.queue ?? 1e6) - (b.queue ?? 1e6);

function Queue({ state }) {
  const active = Object.values(state.jobs).filter(isActive).sort(byTurn);
  if (!active.length) return null;
  const open = (id) => () => {
    const { shown } = state;
    show(shown?.jobs.includes(id) ? { ...shown, at: shown.jobs.indexOf(id) } : { jobs: [id], at: 0 });
  };
  return html`<section class="queue" aria-labelledby="queue-heading">
    <div class="side-head">
      <h2 id="queue-heading">Queue</h2>
      <span class="count">${active.length}</span>
    </div>
    ${state.offline && html`<p class="problem" role="alert">${state.offline} Trying again …</p>`}
    <ol id="queue">
      ${active.map(
        (job) =>
          html`<li key=${job.job} class="queued">
            <button type="button" class="queued-main" onClick=${open(job.job)}>
              ${job.preview ? html`<img src=${job.preview} alt="" />` : html`<span class="placeholder"><${Icon} name="clock" /></span>`}
              <span class="queued-text"
                ><b>${titleOf(job)}</b
                ><small>${statusOf(job).replace("Generating: s", "S")}</small
                >${job.state === "running" && html`<progress max="1" value=${job.progress ?? 0} aria-label="Progress"></progress>`}</span
              >
            </button>
            <button
              type="button"
              class="icon-button"
              onClick=${() => cancel(job.job)}
              aria-label=${`Cancel ${titleOf(job)}`}
            >
              <${Icon} name="cancel" />
            </button>
          </li>`,
      )}
    </ol>
  </section>`;
}

const Blank = ({ children }) =>
  html`<div class="blank">
    <${Icon} name="image" />
    <p id="gallery-empty">${children}</p>
  </div>`;

function Pictures({ state }) {
  const { gallery, jobs } = state;
  if (gallery.state === "signed-out" || !state.account)
    return html`<${Blank}>Your pictures appear here once you have entered a key.<//>`;
  if (gallery.state === "loading")
    return html`<ul class="thumbs" aria-busy="true" aria-label="Loading">
      ${[1, 2, 3, 4, 5, 6].map((each) => html`<li key=${each}><div class="thumb skeleton"></div></li>`)}
    </ul>`;
  if (gallery.state === "failed")
    return html`<div class="quiet" role="alert">
      <p>${gallery.message}</p>
      <button type="button" class="button" onClick=${() => loadGallery()}>Try again</button>
    </div>`;
  if (!gallery.order.length)
    return html`<${Blank}>
      ${gallery.filter === "failed" ? "No failed jobs." : "No pictures yet. The first one will appear here."}
    <//>`;
  return html`<ul class="thumbs" id="gallery">
      ${gallery.order
        .map((id) => jobs[id])
        .filter((job) => job && !isActive(job))
        .map((job) => html`<li key=${job.job}><${Thumb} job=${job} shown=${state.shown} /></li>`)}
    </ul>
    ${gallery.next && html`<button type="button" id="more" class="button wide" onClick=${() => loadGallery(true)}>Show more</button>`}`;
}

function Thumb({ job, shown }) {
  const current = shown?.jobs[shown.at] === job.job;
  const open = () => {
    set({ warnings: [] });
    show({ jobs: [job.job], at: 0 });
    document.getElementById("result-heading").focus();
  };
  const drag = (event) =>
    job.result_url && event.dataTransfer.setData("text/uri-list", new URL(toLocal(job.result_url), location.href).href);
  return html`<button
    type="button"
    class="thumb"
    aria-current=${current ? "true" : "false"}
    onClick=${open}
    draggable=${Boolean(job.result_url)}
    onDragStart=${drag}
    title=${titleOf(job)}
  >
    ${job.state === "succeeded" ? html`<${Thumbnail} id=${job.job} />` : html`<span class="placeholder"><${Icon} name=${job.state === "failed" ? "alert" : job.state === "cancelled" ? "cancel" : "image"} /></span>`}
    <span class="thumb-text">${titleOf(job)}</span>
  </button>`;
}
