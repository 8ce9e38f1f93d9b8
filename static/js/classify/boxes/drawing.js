// The boxes of one task: what is drawn, what is selected, and what undo goes back to.

export class Drawing extends EventTarget {
  constructor(frame, mostBoxes, boxes = []) {
    super();
    this.frame = frame;
    this.mostBoxes = mostBoxes;
    this.made = 0;
    this.boxes = boxes.map((box) => ({ ...box, id: this.newId() }));
    this.selectedId = null;
    this.past = [];
    this.future = [];
  }

  newId() {
    this.made += 1;
    return this.made;
  }

  get selected() {
    return this.boxes.find((box) => box.id === this.selectedId) ?? null;
  }

  get isFull() {
    return this.boxes.length >= this.mostBoxes;
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }

  select(id) {
    if (this.selectedId === id) return;
    this.selectedId = id;
    this.changed();
  }

  /** Remember the present state: what undo will return to after the change that follows. */
  mark() {
    this.past.push(this.boxes);
    this.future = [];
  }

  add(box) {
    if (this.isFull) return null;
    this.mark();
    const added = { ...box, id: this.newId() };
    this.boxes = [...this.boxes, added];
    this.selectedId = added.id;
    this.changed();
    return added;
  }

  /** Replace one box; call mark() first, once per gesture. */
  replace(id, change) {
    this.boxes = this.boxes.map((box) => (box.id === id ? { ...box, ...change } : box));
    this.changed();
  }

  remove(id) {
    const i = this.boxes.findIndex((box) => box.id === id);
    if (i < 0) return;
    this.mark();
    this.boxes = this.boxes.filter((box) => box.id !== id);
    this.selectedId = this.boxes[Math.min(i, this.boxes.length - 1)]?.id ?? null;
    this.changed();
  }

  undo() {
    return this.swap(this.past, this.future);
  }

  redo() {
    return this.swap(this.future, this.past);
  }

  /** A gesture that came to nothing: back to the state of the last mark(), which is forgotten. */
  revert() {
    this.boxes = this.past.pop() ?? this.boxes;
    this.changed();
  }

  swap(from, to) {
    if (from.length === 0) return false;
    to.push(this.boxes);
    this.boxes = from.pop();
    if (!this.selected) this.selectedId = null;
    this.changed();
    return true;
  }
}
