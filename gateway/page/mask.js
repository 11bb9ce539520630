// A mask that is painted over a picture: by mouse, finger, pen or keys. White changes.

const SHOWN = "rgba(21, 88, 184, 0.6)";
const LONGEST = 1024; // of the mask, pixels; it is stretched to the picture

export class Mask {
  constructor(canvas, brush) {
    this.canvas = canvas;
    this.brush = brush;
    this.strokes = []; // of {size, points}, in the canvas's pixels
    this.cursor = null;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => { this.cursor = null; this.draw(); });
  }

  show(image) {
    const scale = Math.min(1, LONGEST / Math.max(image.naturalWidth, image.naturalHeight));
    this.canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
    this.canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
    this.image = image;
    this.strokes = [];
    this.draw();
  }

  begin(event) {
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.strokes.push({ size: this.size(), points: [this.place(event)] });
    this.draw();
  }

  move(event) {
    if (!this.canvas.hasPointerCapture(event.pointerId) || !this.strokes.length) return;
    this.strokes.at(-1).points.push(this.place(event));
    this.draw();
  }

  key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const { width, height } = this.canvas;
    this.cursor ??= [width / 2, height / 2];
    if (steps[event.key]) {
      const far = this.size() / 3;
      const [x, y] = steps[event.key];
      this.cursor = [clamp(this.cursor[0] + x * far, width), clamp(this.cursor[1] + y * far, height)];
    } else if (event.key === " ") {
      this.strokes.push({ size: this.size(), points: [this.cursor] });
    } else {
      return;
    }
    event.preventDefault();
    this.draw();
  }

  undo() { this.strokes.pop(); this.draw(); }

  clear() { this.strokes = []; this.draw(); }

  get isEmpty() { return this.strokes.length === 0; }

  // A PNG as a data URI: white where it was painted, black elsewhere.
  read() {
    const { width, height } = this.canvas;
    const copy = Object.assign(document.createElement("canvas"), { width, height });
    const context = copy.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    this.paint(context, "#fff");
    return copy.toDataURL("image/png");
  }

  draw() {
    const { width, height } = this.canvas;
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    if (this.image) context.drawImage(this.image, 0, 0, width, height);
    const layer = Object.assign(document.createElement("canvas"), { width, height });
    this.paint(layer.getContext("2d"), "#1558b8");
    context.globalAlpha = 0.6; // of the layer whole: strokes that cross are not darker
    context.drawImage(layer, 0, 0);
    context.globalAlpha = 1;
    if (this.cursor) {
      context.strokeStyle = SHOWN;
      context.lineWidth = 3;
      context.beginPath();
      context.arc(...this.cursor, this.size() / 2, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  paint(context, color) {
    Object.assign(context, { strokeStyle: color, lineCap: "round", lineJoin: "round" });
    for (const { size, points } of this.strokes) {
      context.lineWidth = size;
      context.beginPath();
      context.moveTo(...points[0]);
      for (const point of points) context.lineTo(...point);
      context.lineTo(points.at(-1)[0] + 0.01, points.at(-1)[1]); // a line without length is not drawn
      context.stroke();
    }
  }

  // The brush is so wide on the screen; the canvas may be shown smaller than it is.
  size() { return this.brush.value * this.canvas.width / (this.canvas.clientWidth || this.canvas.width); }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * this.canvas.width / box.width, (event.clientY - box.top) * this.canvas.height / box.height];
  }
}

const clamp = (value, most) => Math.min(Math.max(0, value), most);
