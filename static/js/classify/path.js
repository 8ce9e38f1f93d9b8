// Where a volunteer stands in the workflow's tree: the answers given so far and the task that comes now.

import { taskType } from "./tasks/registry.js";

export class Path {
  constructor(workflow) {
    this.workflow = workflow;
    this.steps = []; // {task, value} in the order reached
    this.earlier = new Map(); // task key → value given before going back
  }

  /** The task to ask now; null when the tree has ended. */
  get task() {
    const last = this.steps.at(-1);
    const key = last ? taskType(last.task).next(last.task, last.value) : this.workflow.first;
    return key === null ? null : this.workflow.tasks[key];
  }

  get isComplete() {
    return this.steps.length > 0 && this.task === null;
  }

  answer(value) {
    const task = this.task;
    this.earlier.set(task.key, value);
    this.steps.push({ task, value });
  }

  /** Return to step i: its answer and all later ones are withdrawn, but offered again. */
  returnTo(i) {
    this.steps.length = i;
  }

  annotations() {
    return this.steps.map(({ task, value }) => ({ task: task.key, value }));
  }
}
