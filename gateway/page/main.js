// The page: reads the form, sends it, shows what happens.

import * as api from "./api.js";
import * as history from "./history.js";
import { Mask } from "./mask.js";
import { build, curl } from "./request.js";

const $ = (id) => document.getElementById(id);
const mask = new Mask($("mask"), $("brush"));
const SHARES = { prepare: [0, 0.06], encode: [0.06, 0.04], denoise: [0.1, 0.8], decode: [0.9, 0.05], finish: [0.95, 0.05] };
let file = null;
let keyFault = "";
let running = null; // {job, abort} of the job that is shown

// --- the key

$("key").value = sessionStorage.getItem("imagegen-key") ?? localStorage.getItem("imagegen-key") ?? "";
$("remember").checked = localStorage.getItem("imagegen-key") !== null;
for (const id of ["key", "remember"]) $(id).addEventListener("change", keepKey);

function keepKey() {
  sessionStorage.setItem("imagegen-key", $("key").value);
  if ($("remember").checked) localStorage.setItem("imagegen-key", $("key").value);
  else localStorage.removeItem("imagegen-key");
  listFamilies();
}

async function listFamilies() {
  if (!$("key").value) return;
  try {
    const found = await api.families($("key").value);
    const options = found.map(({ name, ready }) => new Option(ready ? name : `${name} (not ready)`, name));
    const chosen = $("family").value;
    $("family").replaceChildren(new Option("default", ""), ...options);
    $("family").value = found.some(({ name }) => name === chosen) ? chosen : "";
    if ($("error").textContent === keyFault) fail("");
  } catch (error) {
    fail(keyFault = error.message);
  }
}

// --- the form

$("adapter").addEventListener("change", arrange);
$("file").addEventListener("change", () => choose($("file").files[0]));
$("undo").addEventListener("click", () => mask.undo());
$("clear").addEventListener("click", () => mask.clear());
for (const id of ["scale", "strength"]) {
  $(id).addEventListener("input", () => { $(`${id}-value`).value = $(id).value; });
}
for (const name of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") choose(event.dataTransfer.files[0]);
  });
}
document.addEventListener("paste", (event) => choose(event.clipboardData.files[0]));

function choose(chosen) {
  if (!chosen) return;
  if ($("adapter").value === "text") $("adapter").value = "img2img";
  file = chosen;
  $("picture-name").textContent = `${chosen.name}, ${Math.ceil(chosen.size / 1024)} KB`;
  URL.revokeObjectURL($("picture").src);
  $("picture").onload = () => { mask.show($("picture")); arrange(); };
  $("picture").onerror = () => { file = null; $("picture-name").textContent = "This browser cannot read that file."; arrange(); };
  $("picture").src = URL.createObjectURL(chosen);
}

function arrange() {
  const adapter = $("adapter").value;
  const painted = adapter === "inpainting" && file !== null;
  $("picture-part").hidden = adapter === "text";
  $("mask-part").hidden = !painted;
  $("picture").hidden = file === null || painted;
  for (const part of document.querySelectorAll("[data-for]")) part.hidden = !part.dataset.for.split(" ").includes(adapter);
}

const slid = (id) => $(id).closest("[hidden]") || !Number.isFinite(parseFloat($(`${id}-value`).value)) ? null : Number($(id).value);

function read() {
  const checked = [...document.querySelectorAll("#enhancements input:checked")];
  return {
    adapter: $("adapter").value,
    prompt: $("prompt").value.trim(),
    negative: $("negative").value.trim(),
    family: $("family").value,
    width: $("width").value,
    height: $("height").value,
    seed: $("seed").value,
    format: $("format").value,
    scale: slid("scale"),
    strength: slid("strength"),
    enhancements: checked.map((box) => box.value),
    mask: $("adapter").value === "inpainting" && !mask.isEmpty ? mask.read() : null,
  };
}

function missing(form) {
  if (form.adapter !== "text" && !file) return ["file", "Choose a picture first."];
  if (form.adapter === "inpainting" && !form.mask) return ["mask", "Paint the part that shall change."];
  if (!form.prompt && !["edit", "upscale", "outpainting"].includes(form.adapter)) return ["prompt", "Write a prompt first."];
  return null;
}

$("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = read();
  const lacks = missing(form);
  fail(lacks ? lacks[1] : "");
  if (lacks) return $(lacks[0]).focus();
  const picture = form.adapter === "text" ? null : file;
  const request = build(form);
  $("curl").textContent = curl(location.origin, request, picture);
  $("go").disabled = true;
  say("Sending …");
  try {
    const { job } = await api.submit($("key").value, request, picture);
    history.keep({ job, prompt: form.prompt || form.adapter, time: Date.now() });
    showHistory();
    await follow(job, form.prompt || form.adapter);
  } catch (error) {
    fail(error.message);
    say("");
  } finally {
    $("go").disabled = false;
  }
});

// --- a job

$("cancel").addEventListener("click", async () => {
  try {
    if (running) await api.cancel($("key").value, running.job);
  } catch (error) {
    fail(error.message);
  }
});

async function follow(job, prompt) {
  running?.abort.abort();
  const mine = running = { job, abort: new AbortController() };
  $("figure").hidden = $("actions").hidden = true;
  $("cancel").hidden = $("progress").hidden = false;
  $("progress").removeAttribute("value");
  try {
    for await (const event of api.follow($("key").value, job, mine.abort.signal)) show(event, job, prompt);
  } catch (error) {
    if (!mine.abort.signal.aborted) throw error;
  } finally {
    if (running === mine) {
      running = null;
      $("cancel").hidden = $("progress").hidden = true;
    }
  }
}

function show({ name, data }, job, prompt) {
  if (name === "queued") {
    const wait = data.estimated_wait_seconds ? `, about ${Math.ceil(data.estimated_wait_seconds)} s` : "";
    say(data.queue ? `Waiting: ${data.queue} before this one${wait}` : "Waiting for its turn");
  } else if (name === "started") {
    say(`Begun, seed ${data.seed}`);
  } else if (name === "progress") {
    const [start, share] = SHARES[data.stage] ?? [0, 0];
    $("progress").value = start + share * data.step / data.total;
    say(data.total > 1 ? `${data.stage}: step ${data.step} of ${data.total}` : data.stage);
  } else if (name === "preview") {
    picture(data.image, `Preview after step ${data.step}`, "preview");
  } else if (name === "complete") {
    finish(data, job, prompt);
  } else {
    $("figure").hidden = true;
    say(name === "cancelled" ? "Cancelled." : "");
    if (name !== "cancelled") fail(data.message);
  }
}

function finish(data, job, prompt) {
  const seconds = Object.values(data.timings ?? {}).reduce((sum, each) => sum + each, 0);
  const url = local(data.result_url);
  say(`Done in ${seconds.toFixed(1)} s of work.`);
  picture(url, prompt, "");
  $("caption").textContent = `${data.width} × ${data.height}, seed ${data.seed}, ${data.model_type}`;
  $("download").href = url;
  $("download").setAttribute("download", `${job}.${data.output_format}`);
  $("actions").hidden = false;
  history.keep({ job, prompt, time: Date.now(), url });
  showHistory();
}

// The server's public name for itself may be another than the one that this page came by.
function local(url) {
  const found = new URL(url, location.href);
  return found.pathname.startsWith("/results/") ? found.pathname + found.search : url;
}

function picture(source, words, kind) {
  $("result").src = source;
  $("result").alt = words;
  $("result").className = kind;
  $("caption").textContent = words;
  $("figure").hidden = false;
}

const say = (words) => { $("status").textContent = words; };
const fail = (words) => { $("error").textContent = words; };

// --- history and the curl line

function showHistory() {
  const entries = history.list();
  $("no-history").hidden = entries.length > 0;
  $("forget").hidden = entries.length === 0;
  $("history").replaceChildren(...entries.map(row));
}

function row({ job, prompt, time, url }) {
  const button = Object.assign(document.createElement("button"), { type: "button" });
  if (url) button.append(Object.assign(document.createElement("img"), { src: url, alt: "", loading: "lazy" }));
  const words = Object.assign(document.createElement("span"), { textContent: prompt });
  const when = Object.assign(document.createElement("time"), { textContent: new Date(time).toLocaleTimeString() });
  button.append(words, when);
  button.addEventListener("click", () => { fail(""); follow(job, prompt).catch((error) => { fail(error.message); say(""); }); });
  const item = document.createElement("li");
  item.append(button);
  return item;
}

$("forget").addEventListener("click", () => { history.forget(); showHistory(); });
$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText($("curl").textContent);
    $("copy").textContent = "Copied";
  } catch {
    getSelection().selectAllChildren($("curl"));
  }
  setTimeout(() => { $("copy").textContent = "Copy"; }, 2000);
});

arrange();
showHistory();
listFamilies();
