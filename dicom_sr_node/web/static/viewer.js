// Original and result on one canvas: a divider, window and level, zoom, pan, and a heat map of what was added.
// All is drawn in the coordinates of the original, so that both lie exactly on each other.
"use strict";

class Plane {
  constructor(values, said) {
    Object.assign(this, said, { values });
    [this.rows, this.columns] = said.shape;
    this.picture = document.createElement("canvas");
    this.picture.width = this.columns;
    this.picture.height = this.rows;
  }

  static async load(url) {
    let answer = null;
    for (let tries = 0; tries < 10 && (answer === null || answer.status === 503); tries++) {
      if (answer) await new Promise((done) => setTimeout(done, 2000)); // others load images just now
      answer = await fetch(url, { credentials: "same-origin" });
    }
    if (!answer.ok) throw new Error(`The image cannot be shown (${answer.status}).`);
    return new Plane(new Uint16Array(await answer.arrayBuffer()), JSON.parse(answer.headers.get("X-Plane")));
  }

  // Center and width in units of the modality, by the linear function of PS3.3 C.11.2.1.2.1.
  window(center, width) {
    const { slope, intercept, inverted } = this.showing;
    const low = center - 0.5 - (width - 1) / 2, span = Math.max(width - 1, 1e-6);
    const table = new Uint32Array(65536);
    for (let value = 0; value < 65536; value++) {
      const share = Math.min(1, Math.max(0, ((value + this.offset) * slope + intercept - low) / span));
      const grey = Math.round(255 * (inverted ? 1 - share : share));
      table[value] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
    this.paint((value) => table[value]);
  }

  // Orange, as strong as what was added: 1000 is the full colour.
  heat() {
    this.paint((value) => (Math.min(255, value * 0.255) << 24) | 0x0050ff);
  }

  paint(colour) {
    const image = new ImageData(this.columns, this.rows), pixels = new Uint32Array(image.data.buffer);
    for (let i = 0; i < this.values.length; i++) pixels[i] = colour(this.values[i]);
    this.picture.getContext("2d").putImageData(image, 0, 0);
  }
}

class Viewer {
  constructor(section) {
    section.viewer = this;
    this.section = section;
    this.canvas = section.querySelector("canvas");
    this.control = (role) => section.querySelector(`[data-role=${role}]`);
    this.zoom = 1;
    this.x = this.y = 0;
    this.whole = false;
    this.fingers = new Map(); // pointers that are down
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
      const [source, result] = await Promise.all([Plane.load(this.url("source")), Plane.load(this.url("result"))]);
      Object.assign(this, { source, result, added: null });
      if (!this.control("way").options.length) this.offerWays();
      this.window();
      if (this.control("added").checked) await this.loadAdded();
      this.section.dataset.ready = "true";
      this.tell();
    } catch (error) {
      this.say(error.message);
    }
  }

  tell() {
    const size = (plane) => `${plane.size[1]} x ${plane.size[0]}${plane.factor > 1 ? ` (shown at 1 : ${plane.factor})` : ""}`;
    const more = this.result.factor > 1 ? " Zoom in for all pixels." : "";
    this.say(`Original ${size(this.source)}, result ${size(this.result)}.${more} ${this.source.showing.note}`);
  }

  async loadAdded() {
    this.added = await Plane.load(this.url("added"));
    this.added.heat();
    this.draw();
  }

  offerWays() {
    for (const way of this.source.showing.ways) this.control("way").add(new Option(way.name));
    this.takeWay();
  }

  takeWay() {
    const way = this.source.showing.ways[this.control("way").selectedIndex];
    this.control("center").value = way.center;
    this.control("width").value = way.width;
  }

  window() {
    const center = Number(this.control("center").value), width = Math.max(1, Number(this.control("width").value));
    for (const plane of [this.source, this.result]) plane.window(center, width);
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
    const [rows, columns] = this.source.size;
    this.scale = Math.min(canvas.width / columns, canvas.height / rows) * this.zoom;
    const left = canvas.width / 2 + this.x * ratio - (columns * this.scale) / 2;
    const top = canvas.height / 2 + this.y * ratio - (rows * this.scale) / 2;
    this.span = [Math.max(0, left), Math.min(canvas.width, left + columns * this.scale)]; // of the image, on the canvas
    const [from, to] = this.span;
    this.divider = Math.round(from + ((to - from) * this.control("split").value) / 100);
    const part = (plane, first, last) => {
      const each = (plane.factor * columns * this.scale) / plane.size[1]; // of one of its pixels
      context.save();
      context.beginPath();
      context.rect(first, 0, last - first, canvas.height);
      context.clip();
      context.imageSmoothingEnabled = each < 1 || this.control("smooth").checked;
      context.imageSmoothingQuality = "high";
      context.drawImage(plane.picture, left, top, plane.columns * each, plane.rows * each);
      context.restore();
    };
    part(this.source, 0, this.divider);
    part(this.result, this.divider, canvas.width);
    if (this.control("added").checked && this.added) part(this.added, this.divider, canvas.width);
    this.drawDivider(context, ratio);
    if (this.isCoarse(this.source) || this.isCoarse(this.result)) this.refine();
  }

  drawDivider(context, ratio) {
    const words = (text, x, align) => {
      context.font = `600 ${14 * ratio}px sans-serif`;
      const width = context.measureText(text).width + 12 * ratio;
      context.fillStyle = "#000000cc";
      context.fillRect(align === "right" ? x - width : x, 4 * ratio, width, 24 * ratio);
      context.fillStyle = "#ffd23f";
      context.textAlign = align;
      context.fillText(text, x + (align === "right" ? -6 : 6) * ratio, 21 * ratio);
    };
    context.fillStyle = "#000000";
    context.fillRect(this.divider - 2 * ratio, 0, 4 * ratio, this.canvas.height);
    context.fillStyle = "#ffd23f";
    context.fillRect(this.divider - ratio, 0, 2 * ratio, this.canvas.height);
    words("ORIGINAL", this.divider - 2 * ratio, "right");
    words("AI-ENHANCED", this.divider + 2 * ratio, "left");
  }

  isCoarse(plane) {
    return plane.factor > 1 && (plane.factor * this.source.size[1] * this.scale) / plane.size[1] > 1.5;
  }

  // The screen shows more than the reduced planes hold: fetch all pixels, once.
  refine() {
    if (this.whole) return;
    this.whole = true;
    this.load();
  }

  // About a point of the canvas, in its CSS pixels from the middle: what is there stays there.
  magnify(by, x = 0, y = 0) {
    const zoom = Math.min(40, Math.max(0.5, this.zoom * by)), real = zoom / this.zoom;
    this.zoom = zoom;
    this.pan(x - (x - this.x) * real - this.x, y - (y - this.y) * real - this.y);
  }

  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.later(this.draw);
  }

  move(split) {
    const range = this.control("split");
    range.value = Math.min(100, Math.max(0, Number(range.value) + split));
    this.later(this.draw);
  }

  rewindow(dx, dy) {
    const step = Math.max(1, this.source.showing.ways[0].width / 500), inverted = this.source.showing.inverted;
    this.control("width").value = Math.max(1, Math.round(Number(this.control("width").value) + dx * step));
    this.control("center").value = Math.round(Number(this.control("center").value) + dy * step * (inverted ? -1 : 1));
    this.later(this.window);
  }

  middle(event) {
    const rect = this.canvas.getBoundingClientRect();
    return [event.clientX - rect.left - rect.width / 2, event.clientY - rect.top - rect.height / 2];
  }

  listen() {
    const on = (role, event, act) => this.control(role).addEventListener(event, act);
    on("split", "input", () => this.later(this.draw));
    on("center", "input", () => this.later(this.window));
    on("width", "input", () => this.later(this.window));
    on("way", "change", () => { this.takeWay(); this.later(this.window); });
    on("smooth", "change", () => this.later(this.draw));
    on("output", "change", () => this.load());
    on("in", "click", () => this.magnify(1.4));
    on("out", "click", () => this.magnify(1 / 1.4));
    on("reset", "click", () => { this.zoom = 1; this.x = this.y = 0; this.later(this.draw); });
    on("added", "change", async () => {
      this.control("legend").hidden = !this.control("added").checked;
      try {
        if (this.control("added").checked && !this.added) await this.loadAdded();
      } catch (error) { this.say(error.message); }
      this.draw();
    });
    this.listenToPointers();
    this.canvas.addEventListener("keydown", (event) => {
      const acts = {
        ArrowLeft: () => (event.shiftKey ? this.pan(40, 0) : this.move(-2)),
        ArrowRight: () => (event.shiftKey ? this.pan(-40, 0) : this.move(2)),
        ArrowUp: () => this.pan(0, 40), ArrowDown: () => this.pan(0, -40),
        "+": () => this.magnify(1.2), "-": () => this.magnify(1 / 1.2),
      };
      if (acts[event.key]) { event.preventDefault(); acts[event.key](); }
    });
    window.addEventListener("resize", () => this.later(this.draw));
  }

  listenToPointers() {
    const canvas = this.canvas, fingers = this.fingers;
    let act = "pan";
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => {
      const ratio = window.devicePixelRatio || 1, x = (event.clientX - canvas.getBoundingClientRect().left) * ratio;
      act = event.button === 2 ? "window" : Math.abs(x - this.divider) < 12 * ratio ? "split" : "pan";
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const finger = fingers.get(event.pointerId);
      if (!finger || !this.result) return;
      const dx = event.clientX - finger.x, dy = event.clientY - finger.y, before = this.spread();
      Object.assign(finger, { x: event.clientX, y: event.clientY });
      if (before) {
        this.pan(dx / 2, dy / 2);
        this.magnify(this.spread() / before, ...this.middle(event));
      } else if (act === "window") this.rewindow(dx, dy);
      else if (act === "split") this.move((dx * 100 * (window.devicePixelRatio || 1)) / (this.span[1] - this.span[0]));
      else this.pan(dx, dy);
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas) return; // the page scrolls until somebody has clicked into the image
      event.preventDefault();
      this.magnify(event.deltaY < 0 ? 1.15 : 1 / 1.15, ...this.middle(event));
    }, { passive: false });
  }

  // How far two fingers are apart, or nothing.
  spread() {
    if (this.fingers.size !== 2) return 0;
    const [a, b] = this.fingers.values();
    return Math.hypot(a.x - b.x, a.y - b.y);
  }
}

for (const section of document.querySelectorAll(".viewer")) new Viewer(section);
