// The left side: tasks, prompt, picture, settings, and what it will cost.

import { html } from "./vendor/preact.js";
import { Field } from "./field.js";
import { SECTIONS, fieldsOf, isFieldSet } from "./fields.js";
import { Icon } from "./icons.js";
import { generate, setPicture, setTask } from "./jobs.js";
import { MaskEditor } from "./mask.js";
import { fromFile, fromUrl } from "./pictures.js";
import { PROMPT } from "./request.js";
import { setForm, setValue } from "./store.js";
import { TASK, TASKS } from "./tasks.js";

const SHAPES = [
  ["1:1", 512, 512],
  ["4:3", 640, 480],
  ["3:4", 480, 640],
  ["16:9", 768, 432],
  ["9:16", 432, 768],
  ["2:1", 1024, 512],
];

export function Form({ state }) {
  const { form, problem } = state;
  const task = TASK[form.task];
  const [main, ...sections] = SECTIONS;
  const send = (event) => {
    event.preventDefault();
    generate();
  };
  return html`<form id="form" aria-label="Request" onSubmit=${send} novalidate>
    <${Tasks} chosen=${form.task} />
    <p class="task-hint" id="task-hint">${task.hint}</p>
    ${task.picture && html`<${Picture} form=${form} task=${task} problem=${problem} />`}
    ${
      task.prompt !== "none" &&
      html`<div class="field">
        <label for="prompt"><span>Prompt</span>${task.prompt === "optional" && html`<em>optional</em>`}</label>
        <textarea
          id="prompt"
          dir="auto"
          rows="3"
          value=${form.values[PROMPT] ?? ""}
          placeholder=${task.placeholder}
          aria-describedby="task-hint"
          aria-invalid=${problem?.field === "prompt"}
          onInput=${(event) => setValue(PROMPT, event.target.value)}
        ></textarea>
      </div>`
    }
    ${form.task === "text" && html`<${Shapes} values=${form.values} />`}
    <div class="grid">
      ${fieldsOf(main, form).map((field) => html`<${Field} key=${field.path} field=${field} state=${state} />`)}
    </div>
    <div class="sections">
      ${sections.map((section) => html`<${Section} key=${section.id} section=${section} state=${state} title=${section.id === "task" ? task.title : section.title} />`)}
    </div>
    <${Footer} state=${state} />
  </form>`;
}

const Tasks = ({ chosen }) =>
  html`<fieldset class="tasks">
    <legend class="hidden">Task</legend>
    ${TASKS.map(
      ({ id, title }) =>
        html`<label key=${id} class="task" for=${`task-${id}`}>
          <input
            id=${`task-${id}`}
            class="hidden-input"
            type="radio"
            name="task"
            value=${id}
            checked=${id === chosen}
            onChange=${() => setTask(id)}
          />
          <img src=${`/playground/art/task-${id}.webp`} alt="" width="96" height="64" />
          <span>${title}</span>
        </label>`,
    )}
  </fieldset>`;

function Shapes({ values }) {
  const choose = (width, height) => () => {
    setValue("width", String(width));
    setValue("height", String(height));
  };
  return html`<div class="shapes" role="group" aria-label="Shape">
    ${SHAPES.map(
      ([name, width, height]) =>
        html`<button
          key=${name}
          type="button"
          class="chip"
          aria-pressed=${Number(values.width) === width && Number(values.height) === height}
          onClick=${choose(width, height)}
        >
          <svg viewBox="0 0 20 20" aria-hidden="true" class="shape">
            <rect
              x=${10 - (8 * width) / Math.max(width, height)}
              y=${10 - (8 * height) / Math.max(width, height)}
              width=${(16 * width) / Math.max(width, height)}
              height=${(16 * height) / Math.max(width, height)}
              rx="2"
            /></svg
          ><span>${name}</span>
        </button>`,
    )}
  </div>`;
}

function Picture({ form, task, problem }) {
  const picture = form.values.url;
  const choose = async (event) => {
    const [file] = event.target.files;
    if (file) setPicture(await fromFile(file));
  };
  const type = (event) => {
    const url = event.target.value.trim();
    if (url) setPicture(fromUrl(url));
  };
  if (!picture) {
    return html`<div class=${`drop${problem?.field === "file" ? " wrong" : ""}`} id="drop">
      <${Icon} name="upload" />
      <label for="file"><b>Choose a picture</b><span>or drop or paste one anywhere</span></label>
      <input id="file" type="file" accept="image/*" onChange=${choose} aria-invalid=${problem?.field === "file"} />
      <input
        id="picture-url"
        type="text"
        aria-label="Address of a picture"
        placeholder="https://… or storage://…"
        onChange=${type}
        autocomplete="off"
      />
    </div>`;
  }
  const masked = task.mask && picture.src;
  return html`<div class="picture">
    <div class="picture-head">
      <span id="picture-name">${picture.name}${picture.width ? `, ${picture.width} × ${picture.height}` : ""}</span>
      <button id="picture-remove" type="button" class="mini" onClick=${() => setPicture(null)}>Remove</button>
    </div>
    ${masked && html`<${MaskEditor} picture=${picture} onChange=${(mask) => setForm({ mask })} />`}
    ${!masked && picture.src && html`<img id="picture" src=${picture.src} alt="The picture to start from" />`}
    ${!picture.src && html`<p class="quiet">No preview of this file here. The server reads it.</p>`}
  </div>`;
}

function Section({ section, state, title }) {
  const fields = fieldsOf(section, state.form);
  if (!fields.length) return null;
  const count = fields.filter((field) => isFieldSet(field, state.form.values)).length;
  return html`<details
    class="section"
    id=${`section-${section.id}`}
    open=${section.id === "task" || (section.id === "enhance" && state.form.task === "enhance") || (section.id === "background" && state.form.task === "cutout")}
  >
    <summary><span>${title}</span>${count > 0 && html`<span class="count">${count} set</span>`}</summary>
    <div class="fields">
      ${fields.map(
        (field) =>
          html`<div key=${field.name ?? field.path + field.label} class=${field.half ? "half" : ""}>
            <${Field} field=${field} state=${state} />
          </div>`,
      )}
    </div>
  </details>`;
}

const seconds = (value) => (value < 90 ? `${Math.max(1, Math.round(value))} s` : `${Math.round(value / 60)} min`);

export function costOf(estimate, account) {
  if (!estimate || estimate.message) return null;
  const parts = [];
  parts.push(
    account?.credits === null
      ? "Credits not counted"
      : `${estimate.credits} ${estimate.credits === 1 ? "credit" : "credits"}`,
  );
  parts.push(`about ${seconds(estimate.run_seconds * estimate.pictures)}`);
  if (estimate.wait_seconds >= 1) parts.push(`after a wait of ${seconds(estimate.wait_seconds)}`);
  return parts.join(" · ");
}

function Footer({ state }) {
  const { estimate, account, problem, sending, form } = state;
  const n = Number(form.values["imagegen.n"]) || 1;
  const cost = costOf(estimate, account);
  const warning = estimate?.warnings?.[0];
  const wrong = problem?.message ?? estimate?.message ?? "";
  // One line for either: what is below it keeps its place.
  return html`<div class="footer">
    <div class="answer">
      <p id="problem" class="problem" role="alert">${wrong}</p>
      <p id="cost" class="cost" hidden=${Boolean(wrong)} title="Asked from the server before anything is sent">
        <${Icon} name="clock" />${cost ?? "Cost and time appear here before you generate."}
      </p>
    </div>
    ${warning && html`<p class="cost warning"><${Icon} name="info" />${warning}</p>`}
    <button id="go" class="primary" type="submit" disabled=${sending}>
      <${Icon} name="spark" />${sending ? "Sending …" : n > 1 ? `Generate ${n} pictures` : "Generate"}<kbd>Ctrl ⏎</kbd>
    </button>
  </div>`;
}
