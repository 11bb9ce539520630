// A mask, painted over a picture: brush, eraser, undo, invert; by pointer or by keys. White is what changes.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { Icon } from "./icons.js";

const LONGEST = 2048; // pixels of the mask; the server resizes it to the picture

class Painting {
  constructor(canvas, image) {
    const scale = Math.min(1, LONGEST / Math.max(image.naturalWidth, image.naturalHeight));
    this.canvas = canvas;
    this.image = image;
    canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
    canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
    this.layer = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
    this.layer.getContext("2d", { willReadFrequently: true });
    this.operations = []; // {size, erase, points}, {invert} or {picture}, in order
    this.cursor = null;
    this.draw();
  }

  get isEmpty() {
    if (!this.operations.length) return true;
    const { data } = this.layer.getContext("2d").getImageData(0, 0, this.layer.width, this.layer.height);
    for (let at = 3; at < data.length; at += 4) if (data[at] > 127) return false;
    return true;
  }

  add(operation) {
    this.operations.push(operation);
    this.apply(operation);
    this.draw();
  }

  extend(point) {
    const stroke = this.operations.at(-1);
    this.apply({ ...stroke, points: [stroke.points.at(-1), point] });
    stroke.points.push(point);
    this.draw();
  }

  undo() {
    this.operations.pop();
    this.layer.getContext("2d").clearRect(0, 0, this.layer.width, this.layer.height);
    for (const operation of this.operations) this.apply(operation);
    this.draw();
  }

  clear() {
    this.operations = [];
    this.undo();
  }

  apply({ size, erase, points, invert, picture }) {
    const context = this.layer.getContext("2d");
    const { width, height } = this.layer;
    context.save();
    if (picture) {
      context.drawImage(picture, 0, 0, width, height);
    } else if (invert) {
      context.globalCompositeOperation = "xor";
      context.fillStyle = "#fff";
      context.fillRect(0, 0, width, height);
    } else {
      context.globalCompositeOperation = erase ? "destination-out" : "source-over";
      Object.assign(context, { strokeStyle: "#fff", lineCap: "round", lineJoin: "round", lineWidth: size });
      context.beginPath();
      context.moveTo(...points[0]);
      for (const point of points) context.lineTo(...point);
      context.lineTo(points.at(-1)[0] + 0.01, points.at(-1)[1]); // a line without length is not drawn
      context.stroke();
    }
    context.restore();
  }

  draw() {
    const { width, height } = this.canvas;
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    context.drawImage(this.image, 0, 0, width, height);
    const tint = Object.assign(document.createElement("canvas"), { width, height });
    const colored = tint.getContext("2d");
    colored.drawImage(this.layer, 0, 0);
    colored.globalCompositeOperation = "source-in";
    colored.fillStyle = "#6d5efc";
    colored.fillRect(0, 0, width, height);
    context.globalAlpha = 0.62;
    context.drawImage(tint, 0, 0);
    context.globalAlpha = 1;
    if (!this.cursor) return;
    const [x, y, radius] = this.cursor;
    for (const [color, line] of [
      ["#000", 4],
      ["#fff", 2],
    ]) {
      Object.assign(context, { strokeStyle: color, lineWidth: (line * width) / (this.canvas.clientWidth || width) });
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  // A PNG as a data URI: white where it changes and black elsewhere; or, by opacity, transparent where it changes.
  read(byOpacity = false) {
    const { width, height } = this.layer;
    const copy = Object.assign(document.createElement("canvas"), { width, height });
    const context = copy.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    if (byOpacity) context.globalCompositeOperation = "destination-out";
    context.drawImage(this.layer, 0, 0);
    return copy.toDataURL("image/png");
  }
}

// A picture of a mask as opacity: white counts, black does not.
async function fromFile(file) {
  const image = new Image();
  image.src = URL.createObjectURL(file);
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), {
    width: image.naturalWidth,
    height: image.naturalHeight,
  });
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 0; at < pixels.data.length; at += 4) {
    const light = pixels.data[at] + pixels.data[at + 1] + pixels.data[at + 2] > 382;
    pixels.data.set([255, 255, 255, light ? 255 : 0], at);
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

const clamp = (value, most) => Math.min(Math.max(0, value), most);

export function MaskEditor({ picture, onChange }) {
  const canvas = useRef(null);
  const painting = useRef(null);
  const [erase, setErase] = useState(false);
  const [size, setSize] = useState(40);
  const [count, setCount] = useState(0);

  useEffect(() => {
    const image = new Image();
    image.src = picture.src;
    let gone = false;
    image.decode().then(
      () => {
        if (!gone) painting.current = new Painting(canvas.current, image);
        setCount(0);
      },
      () => {},
    );
    return () => {
      gone = true;
    };
  }, [picture]);

  const changed = () => {
    const { current } = painting;
    setCount(current.operations.length);
    onChange(current.isEmpty ? null : { data: current.read(), byOpacity: current.read(true), name: "mask.png" });
  };
  const act = (work) => () => {
    if (painting.current) {
      work(painting.current);
      changed();
    }
  };
  const toPixels = () => (size * canvas.current.width) / (canvas.current.clientWidth || canvas.current.width);
  const place = (event) => {
    const box = canvas.current.getBoundingClientRect();
    return [
      ((event.clientX - box.left) * canvas.current.width) / box.width,
      ((event.clientY - box.top) * canvas.current.height) / box.height,
    ];
  };
  const down = (event) => {
    if (!painting.current || event.button) return;
    event.preventDefault();
    canvas.current.focus({ preventScroll: true });
    canvas.current.setPointerCapture(event.pointerId);
    painting.current.add({ size: toPixels(), erase, points: [place(event)] });
  };
  const move = (event) => {
    const { current } = painting;
    if (!current) return;
    current.cursor = [...place(event), toPixels() / 2];
    if (canvas.current.hasPointerCapture(event.pointerId)) current.extend(place(event));
    else current.draw();
  };
  const leave = () => {
    if (!painting.current) return;
    painting.current.cursor = null;
    painting.current.draw();
  };
  const keys = (event) => {
    const { current } = painting;
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!current || event.ctrlKey || event.metaKey) {
      if (current && event.key === "z") {
        event.preventDefault();
        act((each) => each.undo())();
      }
      return;
    }
    const { width, height } = canvas.current;
    const [x, y] = current.cursor ?? [width / 2, height / 2];
    if (step)
      current.cursor = [
        clamp(x + (step[0] * toPixels()) / 3, width),
        clamp(y + (step[1] * toPixels()) / 3, height),
        toPixels() / 2,
      ];
    else if (event.key === " ") {
      current.cursor = [x, y, toPixels() / 2];
      act((each) => each.add({ size: toPixels(), erase, points: [[x, y]] }))();
    } else if (event.key === "e") setErase(!erase);
    else if (event.key === "[") setSize(Math.max(4, size - 8));
    else if (event.key === "]") setSize(Math.min(160, size + 8));
    else return;
    event.preventDefault();
    current.draw();
  };
  const load = async (event) => {
    const [file] = event.target.files;
    if (file && painting.current) {
      painting.current.add({ picture: await fromFile(file) });
      changed();
    }
  };
  const tool = (name, label, pressed, set) =>
    html`<button type="button" id=${`mask-${name}`} class="tool" aria-pressed=${pressed} onClick=${set}>
      <${Icon} name=${name} />${label}
    </button>`;
  return html`<div class="mask-editor">
    <div class="tools" role="group" aria-label="Mask tools">
      ${tool("brush", "Brush", !erase, () => setErase(false))} ${tool("eraser", "Erase", erase, () => setErase(true))}
      <button type="button" id="mask-undo" class="tool" disabled=${!count} onClick=${act((each) => each.undo())}>
        <${Icon} name="undo" />Undo
      </button>
      <button type="button" id="mask-invert" class="tool" onClick=${act((each) => each.add({ invert: true }))}>
        <${Icon} name="invert" />Invert
      </button>
      <button type="button" id="mask-clear" class="tool" disabled=${!count} onClick=${act((each) => each.clear())}>
        <${Icon} name="trash" />Clear
      </button>
      <label class="tool" for="mask-file"
        ><${Icon} name="upload" />File<input
          id="mask-file"
          class="hidden-input"
          type="file"
          accept="image/*"
          onChange=${load}
      /></label>
    </div>
    <label class="field slim" for="brush-size"
      ><span>Brush size</span
      ><input
        id="brush-size"
        type="range"
        min="4"
        max="160"
        value=${size}
        onInput=${(event) => setSize(Number(event.target.value))}
    /></label>
    <canvas
      id="mask"
      ref=${canvas}
      tabindex="0"
      role="img"
      aria-label="Mask over the picture: painted parts change"
      aria-describedby="mask-help"
      onPointerDown=${down}
      onPointerMove=${move}
      onPointerUp=${changed}
      onPointerLeave=${leave}
      onBlur=${leave}
      onKeyDown=${keys}
    ></canvas>
    <p id="mask-help" class="quiet">
      Paint over what should change. Keys: arrows move, Space paints, E erases, [ and ] size the brush.
    </p>
  </div>`;
}
