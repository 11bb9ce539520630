// Calls of the gateway, with the key. Errors carry the API's own message.

export class ApiError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

let tellKeyRefused = () => {};
// Calls `work` with the message of an answer that says that the key is nobody's.
export const onKeyRefused = (work) => {
  tellKeyRefused = work;
};

async function call(path, key, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { ...options.headers, "X-API-KEY": key } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server cannot be reached. Check that it runs, then try again.");
  }
  if (!answer.ok) {
    const message = await readMessage(answer);
    if (answer.status === 404 && message.startsWith("No user found")) tellKeyRefused(message);
    throw new ApiError(message, answer.status);
  }
  return answer;
}

const json = async (...arguments_) => parseJson(await (await call(...arguments_)).text());

// Seeds go up to 2^63 - 1, which a number of JavaScript cannot hold: long ones become text.
const parseJson = (text) => JSON.parse(text.replace(/("(?:seed|sample_num)":\s*)(\d{16,})/g, '$1"$2"'));

async function readMessage(answer) {
  try {
    return (await answer.json()).message || `HTTP ${answer.status}`;
  } catch {
    return `HTTP ${answer.status}`;
  }
}

function toBody(document, file) {
  if (!file) return { headers: { "Content-Type": "application/json" }, body: JSON.stringify(document) };
  const body = new FormData();
  body.append("image", file, file.name);
  body.append("parameters", JSON.stringify(document));
  return { headers: {}, body };
}

// crypto.randomUUID exists over https and on localhost only.
const randomName = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

export function submit(key, document, file) {
  const { headers, body } = toBody(document, file);
  return json("/rest_api/process", key, {
    method: "POST",
    headers: { "Idempotency-Key": randomName(), ...headers },
    body,
  });
}

export function estimate(key, document, signal) {
  return json("/v1/jobs:estimate", key, { method: "POST", signal, ...toBody(document, null) });
}

const jobPath = (job) => `/v1/jobs/${encodeURIComponent(job)}`;
export const getJob = (key, job) => json(jobPath(job), key);
export const cancel = (key, job) => json(`${jobPath(job)}:cancel`, key, { method: "POST" });
export const remove = (key, job) => json(`/rest_api/result/${encodeURIComponent(job)}`, key, { method: "DELETE" });
export const thumbnail = async (key, job) => (await call(`${jobPath(job)}/thumbnail`, key)).blob();
export const account = (key) => json("/rest_api/me", key);
export const families = async (key) => (await json("/v1/families", key)).families;

export function listJobs(key, query) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return json(`/v1/jobs?${new URLSearchParams(given)}`, key);
}

// The job's events until the last one; reconnects with the number of the last event seen.
// Server-sent events by fetch, since EventSource cannot send a key.
export async function* follow(key, job, signal) {
  let last = "0";
  for (let failures = 0; ;) {
    try {
      const answer = await call(`${jobPath(job)}/events`, key, { headers: { "Last-Event-ID": last }, signal });
      for await (const event of read(answer.body)) {
        failures = 0;
        last = event.id;
        yield event;
        if (last === "end") return;
      }
    } catch (error) {
      if (signal.aborted || ++failures > 5) throw error;
    }
    await new Promise((resume) => setTimeout(resume, 1000));
  }
}

async function* read(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let text = ""; ;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const event = parse(text.slice(0, end));
        text = text.slice(end + 2);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parse(block) {
  const fields = {};
  for (const line of block.split("\n")) {
    const colon = line.indexOf(": ");
    if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 2);
  }
  return fields.event ? { id: fields.id, name: fields.event, data: parseJson(fields.data) } : null;
}
