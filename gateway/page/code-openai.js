// The request by OpenAI's Python package. It runs as it is printed, as code-shell.js.

import { base64Of } from "./code-files.js";
import { Raw, call, python, wrapped } from "./code-literals.js";
import { build } from "./request.js";
import { isPlain } from "./tasks.js";

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
  const { n, ...options } = imagegen; // by the same names
  const extra = {
    seed,
    negative_prompt: negative,
    ...options,
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
