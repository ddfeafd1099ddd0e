// Original and result on one canvas: a divider, window and level, zoom, pan, and a heat map of what was added.
// All is drawn in the coordinates of the original, so that both lie exactly on each other.
"use strict";

class Plane {
  constructor(values, rows, columns, said) {
    Object.assign(this, { values, rows, columns, ...said });
    this.picture = document.createElement("canvas");
    this.picture.width = columns;
    this.picture.height = rows;
  }

  static async load(url) {
    const answer = await fetch(url, { credentials: "same-origin" });
    if (!answer.ok) throw new Error(`the image cannot be shown (${answer.status})`);
    const said = (name) => Number(answer.headers.get(`X-${name}`));
    const values = new Uint16Array(await answer.arrayBuffer());
    return new Plane(values, said("Rows"), said("Columns"), {
      offset: said("Offset"), factor: said("Factor"), black: said("Black"), white: said("White"),
    });
  }

  // Grey values between black and white (stored values; white may be the smaller one: MONOCHROME1).
  window(black, white) {
    const image = new ImageData(this.columns, this.rows), pixels = new Uint32Array(image.data.buffer);
    const table = new Uint32Array(65536);
    for (let value = 0; value < 65536; value++) {
      const share = (value + this.offset - black) / (white - black || 1);
      const grey = Math.round(255 * Math.min(1, Math.max(0, share)));
      table[value] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
    for (let i = 0; i < this.values.length; i++) pixels[i] = table[this.values[i]];
    this.picture.getContext("2d").putImageData(image, 0, 0);
  }

  // Orange, as strong as what was added: 1000 is the full colour.
  heat() {
    const image = new ImageData(this.columns, this.rows), pixels = new Uint32Array(image.data.buffer);
    for (let i = 0; i < this.values.length; i++) {
      pixels[i] = (Math.min(255, this.values[i] * 0.255) << 24) | 0x0050ff;
    }
    this.picture.getContext("2d").putImageData(image, 0, 0);
  }
}

class Viewer {
  constructor(section) {
    this.section = section;
    this.canvas = section.querySelector("canvas");
    this.control = (role) => section.querySelector(`[data-role=${role}]`);
    this.zoom = 1;
    this.x = this.y = 0;
    this.whole = false;
    this.listen();
    this.load();
  }

  say(text) { this.control("said").textContent = text; }

  url(what) {
    const output = what === "source" ? "" : `output=${this.control("output").value}&`;
    return `/images/${this.section.dataset.image}/plane/${what}?${output}whole=${this.whole}`;
  }

  async load() {
    this.say("Loading…");
    try {
      [this.source, this.result] = await Promise.all([Plane.load(this.url("source")), Plane.load(this.url("result"))]);
      this.added = null;
      if (!this.control("width").value) this.resetWindow();
      this.window();
      if (this.control("added").checked) await this.loadAdded();
      this.section.dataset.ready = "true";
      this.say(`Original ${this.source.columns * this.source.factor} x ${this.source.rows * this.source.factor}, ` +
        `result ${this.result.columns * this.result.factor} x ${this.result.rows * this.result.factor}` +
        (this.result.factor > 1 ? `, shown at 1 : ${this.result.factor}.` : ", shown in full."));
    } catch (error) {
      this.say(error.message);
    }
  }

  async loadAdded() {
    this.added = await Plane.load(this.url("added"));
    this.added.heat();
    this.draw();
  }

  resetWindow() {
    const { black, white } = this.source;
    this.sign = white < black ? -1 : 1;
    this.control("center").value = Math.round((black + white) / 2);
    this.control("width").value = Math.max(1, Math.abs(white - black));
  }

  window() {
    const center = Number(this.control("center").value), half = Math.max(1, Number(this.control("width").value)) / 2;
    for (const plane of [this.source, this.result]) plane.window(center - this.sign * half, center + this.sign * half);
    this.draw();
  }

  later(what) {
    cancelAnimationFrame(this.pending);
    this.pending = requestAnimationFrame(() => what.call(this));
  }

  draw() {
    if (!this.result) return;
    const canvas = this.canvas, context = canvas.getContext("2d"), ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    const columns = this.source.columns * this.source.factor, rows = this.source.rows * this.source.factor;
    this.scale = Math.min(canvas.width / columns, canvas.height / rows) * this.zoom;
    const left = canvas.width / 2 + this.x * ratio - (columns * this.scale) / 2;
    const top = canvas.height / 2 + this.y * ratio - (rows * this.scale) / 2;
    const divider = Math.round((canvas.width * this.control("split").value) / 100);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    const part = (plane, from, to) => {
      context.save();
      context.beginPath();
      context.rect(from, 0, to - from, canvas.height);
      context.clip();
      context.drawImage(plane.picture, left, top, columns * this.scale, rows * this.scale);
      context.restore();
    };
    part(this.source, 0, divider);
    part(this.result, divider, canvas.width);
    if (this.control("added").checked && this.added) part(this.added, divider, canvas.width);
    context.fillStyle = "#ffd23f";
    context.fillRect(divider - ratio, 0, 2 * ratio, canvas.height);
    context.font = `${14 * ratio}px sans-serif`;
    context.textAlign = "right";
    context.fillText("ORIGINAL", divider - 8 * ratio, 20 * ratio);
    context.textAlign = "left";
    context.fillText("AI-ENHANCED", divider + 8 * ratio, 20 * ratio);
  }

  magnify(by) {
    this.zoom = Math.min(40, Math.max(0.5, this.zoom * by));
    this.later(this.draw);
  }

  move(split) {
    const range = this.control("split");
    range.value = Math.min(100, Math.max(0, Number(range.value) + split));
    this.later(this.draw);
  }

  listen() {
    const on = (role, event, act) => this.control(role).addEventListener(event, act);
    on("split", "input", () => this.later(this.draw));
    on("center", "input", () => this.later(this.window));
    on("width", "input", () => this.later(this.window));
    on("output", "change", () => this.load());
    on("in", "click", () => this.magnify(1.4));
    on("out", "click", () => this.magnify(1 / 1.4));
    on("whole", "click", () => { this.whole = true; this.load(); });
    on("reset", "click", () => { this.zoom = 1; this.x = this.y = 0; this.resetWindow(); this.window(); });
    on("added", "change", async () => {
      try {
        if (this.control("added").checked && !this.added) await this.loadAdded();
      } catch (error) { this.say(error.message); }
      this.draw();
    });
    const canvas = this.canvas;
    let dragged = null;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => {
      const rect = canvas.getBoundingClientRect(), at = ((event.clientX - rect.left) / rect.width) * 100;
      const nearDivider = Math.abs(at - this.control("split").value) < 1.5;
      dragged = { button: event.button === 2 ? "window" : nearDivider ? "split" : "pan", x: event.clientX, y: event.clientY };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!dragged || !this.result) return;
      const dx = event.clientX - dragged.x, dy = event.clientY - dragged.y;
      Object.assign(dragged, { x: event.clientX, y: event.clientY });
      if (dragged.button === "split") return this.move((dx / canvas.clientWidth) * 100);
      if (dragged.button === "pan") { this.x += dx; this.y += dy; return this.later(this.draw); }
      const step = Math.max(1, Math.abs(this.source.white - this.source.black) / 500);
      this.control("width").value = Math.max(1, Math.round(Number(this.control("width").value) + dx * step));
      this.control("center").value = Math.round(Number(this.control("center").value) + dy * step * this.sign);
      this.later(this.window);
    });
    canvas.addEventListener("pointerup", () => { dragged = null; });
    canvas.addEventListener("wheel", (event) => { event.preventDefault(); this.magnify(event.deltaY < 0 ? 1.15 : 1 / 1.15); }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const acts = { ArrowLeft: () => this.move(-2), ArrowRight: () => this.move(2), "+": () => this.magnify(1.2), "-": () => this.magnify(1 / 1.2) };
      if (acts[event.key]) { event.preventDefault(); acts[event.key](); }
    });
    window.addEventListener("resize", () => this.later(this.draw));
  }
}

for (const section of document.querySelectorAll(".viewer")) new Viewer(section);
