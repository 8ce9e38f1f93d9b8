// Boxes in frame pixels: {x, y, width, height}, x and y the top-left corner. Every result lies inside the frame.

export const SMALLEST = 1; // frame pixels per side

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

export function fromCorners(a, b, frame) {
  const [left, right] = [a.x, b.x].map((x) => clamp(x, 0, frame.width)).sort((p, q) => p - q);
  const [top, bottom] = [a.y, b.y].map((y) => clamp(y, 0, frame.height)).sort((p, q) => p - q);
  return { x: left, y: top, width: right - left, height: bottom - top };
}

export function moved(box, dx, dy, frame) {
  return {
    ...box,
    x: clamp(box.x + dx, 0, frame.width - box.width),
    y: clamp(box.y + dy, 0, frame.height - box.height),
  };
}

/** `handle` names the sides that move: "n", "se", … A side never passes the opposite one. */
export function resized(box, handle, dx, dy, frame) {
  let { x: left, y: top } = box;
  let right = left + box.width;
  let bottom = top + box.height;
  if (handle.includes("w")) left = clamp(left + dx, 0, right - SMALLEST);
  if (handle.includes("e")) right = clamp(right + dx, left + SMALLEST, frame.width);
  if (handle.includes("n")) top = clamp(top + dy, 0, bottom - SMALLEST);
  if (handle.includes("s")) bottom = clamp(bottom + dy, top + SMALLEST, frame.height);
  return { ...box, x: left, y: top, width: right - left, height: bottom - top };
}

/** Grown (or shrunk, if negative) at the right and the bottom, as the keyboard does it. */
export function grown(box, dx, dy, frame) {
  return resized(box, "se", dx, dy, frame);
}

export function central(frame) {
  const side = Math.max(SMALLEST, Math.min(frame.width, frame.height) / 5);
  return { x: (frame.width - side) / 2, y: (frame.height - side) / 2, width: side, height: side };
}

const rounded = (value) => Math.round(value * 100) / 100;

/** The box as an annotation's value holds it. */
export function asMark(box) {
  const { x, y, width, height } = box;
  return { x: rounded(x), y: rounded(y), width: rounded(width), height: rounded(height), tool: box.tool };
}
