// Python text.

export class Raw {
  constructor(text) {
    this.text = text;
  }
}

export function python(value, indent = "") {
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

export const call = (values) =>
  Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${python(value)}`);

// One line where it fits, else one for each argument.
export function wrapped(start, parts, end) {
  const line = `${start}${parts.join(", ")}${end}`;
  const short = line.replace(/b64decode\("[^"]*"\)/g, "b64decode(…)"); // a mask is shown short
  return short.length <= 96 && !line.includes("\n")
    ? line
    : `${start}\n    ${parts.map((part) => part.replaceAll("\n", "\n    ")).join(",\n    ")},\n${end}`;
}
