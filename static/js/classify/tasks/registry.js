// The task types that this page can ask. To add one, copy the nearest file here and list it below. A task type has:
//   type       the name in the workflow's definition
//   mount(task, context) → {element, keys, focus?(), unmount?()}
//              builds the answer controls. context: {previous (value given before going back, or undefined),
//              submit(value), viewer, overlay, announce(sentence), frame}
//   next(task, value) → key of the next task, or null at the end
//   describe(task, value) → the answer in a few words, for the trail

import { boxes } from "./boxes.js";
import { grade } from "./grade.js";
import { multiple } from "./multiple.js";
import { single } from "./single.js";
import { text } from "./text.js";

const TYPES = new Map([single, multiple, grade, boxes, text].map((taskType) => [taskType.type, taskType]));

export function taskType(task) {
  const found = TYPES.get(task.type);
  if (!found) throw new Error(`This page does not know the task type "${task.type}".`);
  return found;
}
