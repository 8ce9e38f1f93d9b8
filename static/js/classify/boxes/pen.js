// What a press on the stage does while boxes are asked for: resize at a handle, move a box, or draw a new one.

import { fromCorners, moved, resized } from "./geometry.js";

const SMALLEST_DRAG = 6; // screen pixels; anything shorter was a tap

export class Pen {
  constructor(viewer, drawing, layer, { tool, drawn, refused }) {
    this.viewer = viewer;
    this.drawing = drawing;
    this.layer = layer;
    this.tool = tool; // () → index of the chosen tool
    this.drawn = drawn;
    this.refused = refused;
  }

  press(point, event) {
    const handle = event.target.closest("[data-handle]")?.dataset.handle;
    if (handle && this.drawing.selected) {
      return this.adjust(point, (box, dx, dy, frame) => resized(box, handle, dx, dy, frame));
    }
    const id = Number(event.target.closest("[data-box]")?.dataset.box);
    if (id) {
      event.preventDefault();
      this.drawing.select(id);
      this.layer.focus(id);
      return this.adjust(point, moved);
    }
    return this.draw(point);
  }

  /** Move or resize the selected box; one step of undo per gesture, none for a mere tap. */
  adjust(start, change) {
    const { drawing, viewer } = this;
    const before = drawing.selected;
    let isMarked = false;
    return {
      move(point) {
        const [dx, dy] = [(point.x - start.x) / viewer.scale, (point.y - start.y) / viewer.scale];
        if (!isMarked) drawing.mark();
        isMarked = true;
        drawing.replace(before.id, change(before, dx, dy, drawing.frame));
      },
      end() {},
      cancel() {
        if (isMarked) drawing.revert();
      },
    };
  }

  draw(start) {
    const { viewer, drawing, layer } = this;
    const corner = viewer.toFrame(start.x, start.y);
    const boxTo = (point) => fromCorners(corner, viewer.toFrame(point.x, point.y), drawing.frame);
    return {
      move: (point) => layer.showGhost(boxTo(point), this.tool()),
      end: (point) => {
        layer.hideGhost();
        const box = boxTo(point);
        if (Math.min(box.width, box.height) * viewer.scale < SMALLEST_DRAG) drawing.select(null);
        else this.finish(box);
      },
      cancel: () => layer.hideGhost(),
    };
  }

  finish(box) {
    const added = this.drawing.add({ ...box, tool: this.tool() });
    if (added) this.drawn(added);
    else this.refused();
  }
}
