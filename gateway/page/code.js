// The same request in other words: curl, Python, OpenAI's Python, grpcurl. Each text runs as it is printed, in a folder
// that has the pictures it names; the key is in IMAGEGEN_API_KEY.

import { MASK, build } from "./request.js";
import { TASK, isPlain } from "./tasks.js";

const G = "background.generate";

// Inside single quotes a shell changes nothing.
const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
// In a here-document a shell changes these three.
const escapeHere = (text) => text.replace(/[\\$`]/g, "\\$&");
const toBase64 = (name) => `$(base64 < ${quote(name)} | tr -d '\\n')`;
const base64Of = (dataUri) => dataUri.slice(dataUri.indexOf(",") + 1);

// JSON for a here-document. Files, {shell: command}, are put in by the shell, after what it must not change is escaped.
function toHere(document) {
  const commands = [];
  const text = JSON.stringify(
    document,
    (_, value) => {
      if (value?.shell === undefined) return value;
      commands.push(value.shell);
      return `\u0000${commands.length - 1}\u0000`;
    },
    2,
  );
  return escapeHere(text).replace(
    /(base64,)?\\\\u0000(\d+)\\\\u0000/g,
    (_, prefix = "", number) => prefix + commands[number],
  );
}

export function curl(form, origin) {
  const text = (picture) => {
    if (picture.url) return picture.url;
    if (picture.data) return picture.data;
    return { shell: `base64,${toBase64(picture.name)}` };
  };
  const json = toHere(build(form, text));
  const file = TASK[form.task].picture && form.values.url?.file ? form.values.url.name : null;
  const start = `curl --request POST \\\n  --url ${origin}/rest_api/process_result \\\n  --header "x-api-key: $IMAGEGEN_API_KEY" \\\n`;
  if (!file) return `${start}  --header 'content-type: application/json' \\\n  --data-binary @- <<JSON\n${json}\nJSON`;
  const name = file.replace(/["\\]/g, "\\$&");
  return `${start}  --form ${quote(`image=@"${name}"`)} \\\n  --form 'parameters=<-' <<JSON\n${json}\nJSON`;
}

// --- Python

class Raw {
  constructor(text) {
    this.text = text;
  }
}

function python(value, indent = "") {
  const deeper = `${indent}    `;
  if (value instanceof Raw) return value.text;
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return JSON.stringify(value).replaceAll("\u007f", "\\u007f");
  if (Array.isArray(value)) return `[${value.map((each) => python(each, indent)).join(", ")}]`;
  const entries = Object.entries(value).map(
    ([name, each]) => `${deeper}${JSON.stringify(name)}: ${python(each, deeper)},`,
  );
  return entries.length ? `{\n${entries.join("\n")}\n${indent}}` : "{}";
}

const call = (values) =>
  Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${python(value)}`);

// One line where it fits, else one for each argument.
function wrapped(start, parts, end) {
  const line = `${start}${parts.join(", ")}${end}`;
  const short = line.replace(/b64decode\("[^"]*"\)/g, "b64decode(…)"); // a mask is shown short
  return short.length <= 96 && !line.includes("\n")
    ? line
    : `${start}\n    ${parts.map((part) => part.replaceAll("\n", "\n    ")).join(",\n    ")},\n${end}`;
}

const CLASSES = {
  image_to_image: ["ImageToImage", { strength: "strength" }],
  inpaint: ["Inpaint", { strength: "strength" }],
  generate_background: ["GenerateBackground", { item_area: "item_area" }],
  face: ["Face", { face_only: "face_only", likeness: "likeness" }],
  control: ["Control", { edges_only: "edges_only", strength: "strength" }],
  upscale: ["Upscale", { fidelity: "fidelity" }],
  outpaint: ["Outpaint", {}],
  edit: ["Edit", {}],
};
const PLAIN = {
  negative_prompt: "negative_prompt",
  family: "family",
  steps: "steps",
  guidance_scale: "guidance_scale",
};

// Where the form has the picture of a path of the gRPC schema.
function pictureAt(form, path) {
  const { values } = form;
  if (path.endsWith(".references")) return (at) => values[`${G}.context_images`]?.[at];
  const found =
    path === "caption.image"
      ? values["caption.url"]
      : path === "background.replace"
        ? values["background.replace"]
        : path === "safety.replacement"
          ? values["nsfw_parameters.nsfw_image_url"]
          : path.endsWith(".mask")
            ? form.mask
            : path.endsWith(".face")
              ? values[MASK]
              : values.url;
  return () => found;
}

// The gRPC request with a text for each file that it lacks.
function withFiles(form, message, toText, path = "") {
  const found = {};
  for (const [name, value] of Object.entries(message)) {
    const here = path ? `${path}.${name}` : name;
    if (Array.isArray(value)) {
      found[name] = value.map((each, at) =>
        each?.data === ""
          ? { data: toText(pictureAt(form, here)(at)) }
          : each !== null && typeof each === "object"
            ? withFiles(form, each, toText, here)
            : each,
      );
    } else if (value !== null && typeof value === "object") {
      found[name] =
        value.data === "" ? { data: toText(pictureAt(form, here)(0)) } : withFiles(form, value, toText, here);
    } else {
      found[name] = value;
    }
  }
  return found;
}

export function pythonClient(form, grpc) {
  const imports = new Set(["Client"]);
  let decodes = false;
  const toRaw = (picture) => {
    decodes = true;
    return picture?.data
      ? base64Of(picture.data)
      : new Raw(`base64.b64encode(open(${python(picture?.name ?? "picture.png")}, "rb").read()).decode()`);
  };
  const { prompt, seed, size = {}, output = {}, sampler, priority, preview_interval: _, ...rest } = grpc;
  const options = {};
  for (const [name, option] of Object.entries(PLAIN))
    if (rest[name] !== undefined) {
      options[option] = rest[name];
      delete rest[name];
    }
  const { width, height, ...sizes } = size;
  const { format, quality, max_file_size: most, ...outputs } = output;
  const enumWord = (text, prefix) => text?.replace(prefix, "").toLowerCase();
  Object.assign(options, {
    width,
    height,
    seed: seed === undefined ? undefined : new Raw(String(seed)),
    format: enumWord(format, "IMAGE_FORMAT_"),
    quality,
    max_file_size: most && Number(most),
    sampler: enumWord(sampler, "SAMPLER_"),
    priority: enumWord(priority, "PRIORITY_"),
  });
  const task = Object.keys(CLASSES).find((name) => rest[name] !== undefined);
  const known = task && simpleTask(form, task, rest[task]);
  if (known) {
    imports.add(CLASSES[task][0]);
    if (known.edges) imports.add("Edges");
    decodes ||= known.decodes;
    delete rest[task];
  }
  delete rest.text_to_image;
  if (Object.keys(sizes).length) rest.size = sizes;
  if (Object.keys(outputs).length) rest.output = outputs;
  const base = Object.keys(rest).length ? withFiles(form, rest, toRaw) : null;
  const count = Number(form.values["imagegen.n"]) || 1;
  const parts = [
    ...(count > 1 ? [String(count)] : []),
    ...(prompt === undefined ? [] : [python(prompt)]),
    ...(known ? [prompt === undefined ? `task=${known.text}` : known.text] : []),
    ...call(options),
    ...(base ? ["base=base"] : []),
  ];
  const lines = [];
  if (decodes) lines.push("import base64\n");
  if (base) lines.push("from google.protobuf.json_format import ParseDict");
  lines.push(`from imagegen_client import ${[...imports].sort().join(", ")}`);
  if (base) lines.push("from imagegen_client.v1.generation_pb2 import GenerateRequest");
  lines.push("", "client = Client()  # reads IMAGEGEN_ADDRESS and IMAGEGEN_API_KEY");
  if (base) lines.push(`base = ParseDict(${python(base)}, GenerateRequest())`);
  const suffix = options.format ?? "png";
  if (count > 1) {
    lines.push(
      wrapped("jobs = client.submit_many(", parts, ")"),
      "for number, job in enumerate(jobs, 1):",
      `    job.wait().save(f"picture-{number}.${suffix}")`,
    );
  } else {
    lines.push(wrapped("picture = client.generate(", parts, ")"), `picture.save("picture.${suffix}")`);
  }
  return lines.join("\n");
}

// A task as an object of the client, or null where it lacks something that is asked for.
function simpleTask(form, task, message) {
  const [name, options] = CLASSES[task];
  const { image, mask, edges, ...others } = message;
  if (Object.keys(others).some((each) => !(each in options))) return null;
  if (edges && Object.keys(edges).some((each) => each !== "scale")) return null;
  let decodes = false;
  const source = (value, picture) => {
    if (value?.url) return python(value.url);
    if (picture?.data) {
      decodes = true;
      return `base64.b64decode(${python(base64Of(picture.data))})`;
    }
    return python(picture?.name ?? "picture.png");
  };
  const parts = [
    source(image, form.values.url),
    ...(mask ? [source(mask, form.mask)] : []),
    ...call(Object.fromEntries(Object.entries(others).map(([key, value]) => [options[key], value]))),
  ];
  const scaled = edges?.scale !== undefined;
  if (scaled) parts.push(`edges=Edges(scale=${edges.scale})`);
  return { text: `${name}(${parts.join(", ")})`, decodes, edges: scaled };
}

// --- OpenAI's package

export function openai(form, origin) {
  const { task: id } = form;
  if (isPlain(id)) return { none: "OpenAI’s Images API only generates pictures: use one of the other tabs for this." };
  const inline = (picture) => picture.url ?? picture.data ?? { file: picture.name };
  inline.main = true;
  const document = build(form, inline);
  const {
    url,
    width,
    height,
    background = {},
    output_format: format,
    quality,
    imagegen = {},
    generative_upscale: _,
    fit,
    ...rest
  } = document;
  const { generate = {}, ...backdrop } = background;
  const {
    description,
    model_type: model,
    sample_num: seed,
    negative_prompt: negative,
    adapter_type: adapter,
    strength,
    ip_image2: second,
    ...more
  } = generate;
  if (second?.file) return { none: "OpenAI’s Images API sends no second face: use one of the other tabs for this." };
  if (!description) return { none: "OpenAI’s Images API needs a prompt: write one, or use another tab." };
  const { n, steps, sampler, guidance_scale: guidance, priority } = imagegen;
  const extra = {
    seed,
    negative_prompt: negative,
    steps,
    sampler,
    guidance_scale: guidance,
    priority,
    strength,
    adapter:
      id === "outpaint" ? "outpainting" : id === "inpaint" || id === "img2img" || id === "text" ? undefined : adapter,
    background:
      Object.keys(backdrop).length || Object.keys(more).length
        ? { ...backdrop, ...(Object.keys(more).length ? { generate: more } : {}) }
        : undefined,
    fit: id === "outpaint" ? undefined : fit,
    width: width && height ? undefined : width,
    height: width && height ? undefined : height,
    ...rest,
  };
  if (typeof width === "string" || typeof height === "string" || extra.width || extra.height) {
    return { none: "OpenAI’s size needs a width and a height in pixels: set both, or use another tab." };
  }
  const lines = [
    "import base64",
    "import os",
    "",
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url="${origin}/v1", api_key=os.environ["IMAGEGEN_API_KEY"])`,
  ];
  const main =
    url === undefined
      ? undefined
      : typeof url === "string"
        ? new Raw(`("picture.png", __import__("httpx").get(${python(url)}).content)`)
        : new Raw(`open(${python(url.file)}, "rb")`);
  const mask =
    id === "inpaint" ? new Raw(`("mask.png", base64.b64decode(${python(base64Of(form.mask.byOpacity))}))`) : undefined;
  const given = Object.fromEntries(Object.entries(extra).filter(([, value]) => value !== undefined));
  const raw = (value) =>
    value?.file
      ? new Raw(`"base64," + base64.b64encode(open(${python(value.file)}, "rb").read()).decode()`)
      : Array.isArray(value)
        ? value.map(raw)
        : value !== null && typeof value === "object" && !(value instanceof Raw)
          ? Object.fromEntries(Object.entries(value).map(([key, each]) => [key, raw(each)]))
          : value;
  const parts = call({
    image: main,
    mask,
    prompt: description,
    model,
    n,
    size: width && height ? `${width}x${height}` : undefined,
    output_format: format,
    output_compression: format ? quality : undefined,
    extra_body: Object.keys(given).length ? raw(given) : undefined,
  });
  lines.push(wrapped(`answer = client.images.${url === undefined ? "generate" : "edit"}(`, parts, ")"));
  lines.push(
    "for number, picture in enumerate(answer.data, 1):",
    `    with open(f"picture-{number}.${format ?? "png"}", "wb") as file:`,
    "        file.write(base64.b64decode(picture.b64_json))",
  );
  return { text: lines.join("\n") };
}

// --- grpcurl

export function grpcurl(form, grpc, { host, plain }) {
  const toShell = (picture) =>
    picture?.data ? base64Of(picture.data) : { shell: toBase64(picture?.name ?? "picture.png") };
  const request = withFiles(form, { ...grpc, output: { ...grpc.output, delivery: "DELIVERY_URI" } }, toShell);
  const count = Number(form.values["imagegen.n"]) || 1;
  const [method, message] =
    count > 1 ? ["JobService/CreateJob", { request, n: count }] : ["GenerationService/Generate", request];
  return `grpcurl ${plain ? "-plaintext " : ""}-H "x-api-key: $IMAGEGEN_API_KEY" -d @ \\\n  "\${IMAGEGEN_ADDRESS:-${host}:50051}" imagegen.v1.${method} <<JSON\n${toHere(message)}\nJSON`;
}
