// The stage's own controls: frames, zoom, brightness, contrast, negative. Kept from stamp to stamp and visit to visit.

import { byId, h } from "../dom.js";
import { recall, remember } from "./settings.js";
import { PLAIN_LOOK } from "./viewer.js";

const STEP = 0.1;
const LEAST = 0.2;
const MOST = 3;
const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const PAN = 40; // screen pixels per key press

export function frameName(frame, i) {
  return [frame.band, frame.stretch].filter(Boolean).join(" · ") || `Picture ${i + 1}`;
}

export class Toolbar {
  /** `onFrame(i)` shows another frame of the stamp on the stage. */
  constructor(viewer, { onFrame, announce }) {
    this.viewer = viewer;
    this.onFrame = onFrame;
    this.announce = announce;
    this.frameCount = 1;
    this.frameIndex = recall("frame", 0);
    this.strip = byId("frames");
    this.sliders = { brightness: byId("brightness"), contrast: byId("contrast") };
    this.negative = byId("negative");
    viewer.setLook({ ...PLAIN_LOOK, ...recall("look", {}) });
    this.listen();
    this.showLook();
  }

  listen() {
    for (const [name, slider] of Object.entries(this.sliders)) {
      slider.addEventListener("input", () => this.viewer.setLook({ [name]: Number(slider.value) }));
    }
    this.negative.addEventListener("click", () => this.toggleNegative());
    byId("plain-look").addEventListener("click", () => this.viewer.setLook(PLAIN_LOOK));
    byId("zoom-in").addEventListener("click", () => this.viewer.zoomBy(1.5));
    byId("zoom-out").addEventListener("click", () => this.viewer.zoomBy(1 / 1.5));
    byId("zoom-fit").addEventListener("click", () => this.viewer.fit());
    this.viewer.addEventListener("look", () => this.showLook());
    this.viewer.addEventListener("place", () => {
      byId("zoom-fit").textContent = this.viewer.zoom === 1 ? "Fit" : `${this.viewer.zoom.toFixed(1)}×`;
    });
  }

  showLook() {
    const { look } = this.viewer;
    this.sliders.brightness.value = look.brightness;
    this.sliders.contrast.value = look.contrast;
    this.negative.setAttribute("aria-pressed", String(look.isInverted));
    remember("look", look);
  }

  toggleNegative() {
    this.viewer.setLook({ isInverted: !this.viewer.look.isInverted });
  }

  nudge(name, change) {
    const value = Math.min(MOST, Math.max(LEAST, this.viewer.look[name] + change));
    this.viewer.setLook({ [name]: Math.round(value * 10) / 10 });
  }

  /** The buttons for a new stamp's frames; the index chosen before stays where the stamp has that many. */
  setFrames(frames) {
    this.frameCount = frames.length;
    const current = Math.min(this.frameIndex, frames.length - 1);
    this.strip.hidden = frames.length < 2;
    this.strip.replaceChildren(
      ...frames.map((frame, i) =>
        h(
          "button",
          { type: "button", class: "frame", "aria-pressed": String(i === current), onclick: () => this.choose(i) },
          h("img", { src: frame.url, alt: "", width: 44, height: 44 }),
          h("span", {}, frameName(frame, i)),
        ),
      ),
    );
    return current;
  }

  choose(i) {
    this.frameIndex = (i + this.frameCount) % this.frameCount;
    remember("frame", this.frameIndex);
    [...this.strip.children].forEach((button, j) =>
      button.setAttribute("aria-pressed", String(j === this.frameIndex)),
    );
    const name = this.strip.children[this.frameIndex]?.textContent;
    if (name) this.announce(name);
    this.onFrame(this.frameIndex);
  }

  step(by) {
    if (this.frameCount < 2) return false;
    this.choose(Math.min(this.frameIndex, this.frameCount - 1) + by);
    return true;
  }

  keys() {
    const isZoomed = () => this.viewer.zoom !== 1;
    return [
      { keys: ["[", ","], label: "Previous picture of this stamp", run: () => this.step(-1) },
      { keys: ["]", "."], label: "Next picture of this stamp", run: () => this.step(1) },
      { keys: ["+", "="], label: "Zoom in", run: () => this.viewer.zoomBy(1.25) },
      { keys: ["-", "_"], label: "Zoom out", run: () => this.viewer.zoomBy(0.8) },
      { keys: ["0"], label: "Fit the stamp", run: () => this.viewer.fit() },
      {
        keys: Object.keys(ARROWS),
        label: "Move the zoomed stamp",
        when: isZoomed,
        run: (event) => this.viewer.panBy(...ARROWS[event.key].map((direction) => direction * PAN)),
      },
      { keys: ["j"], label: "Darker", run: () => this.nudge("brightness", -STEP) },
      { keys: ["k"], label: "Brighter", run: () => this.nudge("brightness", STEP) },
      { keys: ["d"], label: "Less contrast", run: () => this.nudge("contrast", -STEP) },
      { keys: ["f"], label: "More contrast", run: () => this.nudge("contrast", STEP) },
      { keys: ["v"], label: "Negative", run: () => this.toggleNegative() },
      { keys: ["r"], label: "Plain look", run: () => this.viewer.setLook(PLAIN_LOOK) },
    ];
  }
}
