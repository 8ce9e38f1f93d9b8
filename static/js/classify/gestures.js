// Mouse, pen and touch on the stage: wheel and pinch zoom, drag pans, and a task's tool gets single presses first.

const WHEEL_STEP = 0.0016;

export class Gestures {
  constructor(viewer) {
    this.viewer = viewer;
    this.pointers = new Map();
    this.drag = null; // {move(point, event), end(point), cancel()}
    this.isSpaceHeld = false;
    const { stage } = viewer;
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => this.down(event));
    stage.addEventListener("pointermove", (event) => this.move(event));
    stage.addEventListener("pointerup", (event) => this.up(event, false));
    stage.addEventListener("pointercancel", (event) => this.up(event, true));
    stage.addEventListener("dblclick", () => viewer.tool === null && viewer.zoomBy(viewer.zoom > 1 ? 1e-6 : 2));
    document.addEventListener("keydown", (event) => this.space(event, true));
    document.addEventListener("keyup", (event) => this.space(event, false));
  }

  space(event, isHeld) {
    if (event.code !== "Space") return;
    const isOnStage = document.activeElement === document.body || this.viewer.stage.contains(document.activeElement);
    if (isHeld && isOnStage) event.preventDefault();
    this.isSpaceHeld = isHeld && isOnStage;
  }

  wheel(event) {
    event.preventDefault();
    const pixels = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * 32 : event.deltaY;
    this.viewer.zoomBy(Math.exp(-pixels * WHEEL_STEP), this.viewer.pointOf(event));
  }

  down(event) {
    if (event.target.closest("[data-stage-control]")) return;
    const point = this.viewer.pointOf(event);
    this.pointers.set(event.pointerId, point);
    this.viewer.stage.setPointerCapture(event.pointerId);
    if (this.pointers.size === 2) this.startPinch();
    else if (this.pointers.size === 1) this.drag = this.startDrag(point, event);
  }

  startDrag(point, event) {
    const wantsPan = event.button === 1 || this.isSpaceHeld;
    if (event.button > 1) return null;
    if (wantsPan) event.preventDefault();
    return (!wantsPan && this.viewer.tool?.press(point, event)) || this.pan(point);
  }

  pan(start) {
    let last = start;
    return {
      move: (point) => {
        this.viewer.panBy(point.x - last.x, point.y - last.y);
        last = point;
      },
      end() {},
      cancel() {},
    };
  }

  startPinch() {
    this.drag?.cancel();
    const span = () => {
      const [a, b] = [...this.pointers.values()];
      return { size: Math.hypot(a.x - b.x, a.y - b.y) || 1, x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
    };
    let last = span();
    this.drag = {
      move: () => {
        const now = span();
        this.viewer.panBy(now.x - last.x, now.y - last.y);
        this.viewer.zoomBy(now.size / last.size, now);
        last = now;
      },
      end() {},
      cancel() {},
    };
  }

  move(event) {
    if (!this.pointers.has(event.pointerId)) return;
    const point = this.viewer.pointOf(event);
    this.pointers.set(event.pointerId, point);
    this.drag?.move(point, event);
  }

  up(event, isCancelled) {
    if (!this.pointers.delete(event.pointerId)) return;
    const { drag } = this;
    this.drag = null;
    if (isCancelled) drag?.cancel();
    else drag?.end(this.viewer.pointOf(event));
  }
}
