// The middle: the picture, large; what happens to it; what can be done with it.

import { html } from "./vendor/preact.js";
import { Actions } from "./actionbar.js";
import { Icon } from "./icons.js";
import { generate } from "./jobs.js";
import { MODEL } from "./models.js";
import { Panels } from "./panels.js";
import { PROMPT } from "./request.js";
import { Result, Strip } from "./result.js";
import { SEED } from "./seeds.js";
import { useInSight } from "./sight.js";
import { set, setForm } from "./store.js";
import { statusOf } from "./words.js";

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

function Empty({ families }) {
  const use = (prompt, model) => () => {
    const known = families.slice(1).some(({ name }) => name === model);
    setForm({
      task: "text",
      values: {
        [PROMPT]: prompt,
        [SEED]: "7",
        ...(known ? { [MODEL]: model } : {}),
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

function Failure({ message }) {
  const shown = useInSight();
  return html`<div class="failure" id="failure" ref=${shown}>
    <${Icon} name="alert" />
    <p class="title">That did not work</p>
    <p id="error" role="alert">${message}</p>
    <div class="row">
      <button type="button" id="retry" class="primary small" onClick=${() => generate()}>Try again</button>
      <button type="button" class="button" onClick=${() => set({ error: null })}>Dismiss</button>
    </div>
  </div>`;
}
