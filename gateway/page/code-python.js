// The request by the Python client. It runs as it is printed, as code-shell.js.

import { base64Of, withFiles } from "./code-files.js";
import { Raw, call, python, wrapped } from "./code-literals.js";

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
