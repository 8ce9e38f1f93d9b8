// The stamp on its stage: which frame, where, how large, how bright. Coordinates: "frame" means pixels of the original
// frame, origin top left; "screen" means CSS pixels inside the stage.

const CLOSEST = 40; // times the fitted size
const FARTHEST = 0.5;
const SHARP_ABOVE = 6; // screen pixels per frame pixel from which pixels are shown as squares

export const PLAIN_LOOK = { brightness: 1, contrast: 1, isInverted: false };

export class Viewer extends EventTarget {
  constructor(stage, world) {
    super();
    this.stage = stage;
    this.world = world;
    this.image = null;
    this.frame = { width: 1, height: 1 };
    this.zoom = 1; // relative to the fitted size, kept from stamp to stamp
    this.centre = { x: 0.5, y: 0.5 }; // the frame's point (as a fraction) at the stage's centre
    this.look = PLAIN_LOOK;
    this.tool = null; // takes presses before panning does: {press(point, event) → drag or null}
    new ResizeObserver(() => this.place()).observe(stage);
  }

  /** Paint a decoded picture. */
  show(image, frame) {
    this.image = image;
    this.frame = frame;
    this.world.replaceChildren(image);
    this.applyLook();
    this.place();
  }

  clear() {
    this.image = null;
    this.world.replaceChildren();
  }

  get fittedScale() {
    const { clientWidth, clientHeight } = this.stage;
    return Math.min(clientWidth / this.frame.width, clientHeight / this.frame.height) || 1;
  }

  get scale() {
    return this.fittedScale * this.zoom;
  }

  get origin() {
    const { clientWidth, clientHeight } = this.stage;
    return {
      x: clientWidth / 2 - this.centre.x * this.frame.width * this.scale,
      y: clientHeight / 2 - this.centre.y * this.frame.height * this.scale,
    };
  }

  toScreen(x, y) {
    const { origin, scale } = this;
    return { x: origin.x + x * scale, y: origin.y + y * scale };
  }

  toFrame(x, y) {
    const { origin, scale } = this;
    return { x: (x - origin.x) / scale, y: (y - origin.y) / scale };
  }

  /** Where an event lies on the stage, in screen coordinates. */
  pointOf(event) {
    const box = this.stage.getBoundingClientRect();
    return { x: event.clientX - box.left - this.stage.clientLeft, y: event.clientY - box.top - this.stage.clientTop };
  }

  place() {
    const { origin, scale, frame } = this;
    const style = this.world.style;
    style.width = `${frame.width * scale}px`;
    style.height = `${frame.height * scale}px`;
    style.transform = `translate(${origin.x}px, ${origin.y}px)`;
    style.imageRendering = scale >= SHARP_ABOVE && this.zoom > 1 ? "pixelated" : "auto";
    this.stage.classList.toggle("is-movable", this.zoom > 1 || this.tool !== null);
    this.dispatchEvent(new Event("place"));
  }

  /** Zoom by a factor; the point under `at` (screen) stays where it is. */
  zoomBy(factor, at = { x: this.stage.clientWidth / 2, y: this.stage.clientHeight / 2 }) {
    const fixed = this.toFrame(at.x, at.y);
    this.zoom = Math.min(CLOSEST, Math.max(FARTHEST, this.zoom * factor));
    if (Math.abs(this.zoom - 1) < 0.02) this.zoom = 1;
    const moved = this.toScreen(fixed.x, fixed.y);
    this.panBy(at.x - moved.x, at.y - moved.y);
  }

  panBy(dx, dy) {
    const { width, height } = this.frame;
    const clamp = (value) => Math.min(1, Math.max(0, value));
    this.centre = {
      x: clamp(this.centre.x - dx / (width * this.scale)),
      y: clamp(this.centre.y - dy / (height * this.scale)),
    };
    this.place();
  }

  fit() {
    this.zoom = 1;
    this.centre = { x: 0.5, y: 0.5 };
    this.place();
  }

  setLook(change) {
    this.look = { ...this.look, ...change };
    this.applyLook();
    this.dispatchEvent(new Event("look"));
  }

  applyLook() {
    if (!this.image) return;
    const { brightness, contrast, isInverted } = this.look;
    this.image.style.filter = `brightness(${brightness}) contrast(${contrast}) invert(${isInverted ? 1 : 0})`;
  }

  /** Give a task's drawing tool the presses on the stage; null gives them back to panning. */
  useTool(tool) {
    this.tool = tool;
    this.stage.classList.toggle("is-drawing", tool !== null);
    this.place();
  }
}
