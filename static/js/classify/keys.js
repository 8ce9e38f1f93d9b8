// Every action has a key. Scopes are asked from the last added to the first, so a task's keys come before the stage's.

import { h } from "../dom.js";
import { recall, remember } from "./settings.js";

const NAMES = { " ": "Space", ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", Backspace: "⌫" };
const REPEATING = new Set(["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "+", "=", "-", "j", "k", "d", "f"]);

function isTyping(target) {
  return target.closest("textarea, select, input:not([type=checkbox], [type=radio], [type=range])") !== null;
}

/** "Ctrl+Z", "Shift+ArrowUp", "a": letters in lower case unless Ctrl is held; Cmd counts as Ctrl. */
function nameOf(event) {
  const isControl = event.ctrlKey || event.metaKey;
  const isNamed = event.key.length > 1;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  return `${isControl ? "Ctrl+" : ""}${event.shiftKey && (isNamed || isControl) ? "Shift+" : ""}${key}`;
}

export class Keys {
  constructor() {
    this.scopes = [];
    this.areSingleKeysOn = recall("single-keys", true);
    document.addEventListener("keydown", (event) => this.press(event));
  }

  /** bindings: [{keys: ["b"], label, run(event), when?()}]; run may return false: not handled. */
  add(title, bindings) {
    const scope = { title, bindings };
    this.scopes.push(scope);
    return () => {
      this.scopes = this.scopes.filter((other) => other !== scope);
    };
  }

  useSingleKeys(areOn) {
    this.areSingleKeysOn = areOn;
    remember("single-keys", areOn);
  }

  press(event) {
    if (event.defaultPrevented || event.altKey || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const name = nameOf(event);
    if (name.length === 1 && !this.areSingleKeysOn) return;
    if (event.repeat && !REPEATING.has(event.key)) return; // a key held down answers one question, not ten
    const isOnControl = event.target.closest("button, a, summary, input") !== null;
    if (isOnControl && (name === "Enter" || name === " " || name.startsWith("Arrow"))) return;
    for (const { bindings } of this.scopes.toReversed()) {
      const binding = bindings.find(({ keys, when }) => keys.includes(name) && (!when || when()));
      if (binding && binding.run(event) !== false) {
        event.preventDefault();
        return;
      }
    }
  }

  /** What the key sheet shows: one table per scope, the task's first. */
  sheet() {
    return this.scopes.toReversed().map(({ title, bindings }) =>
      h(
        "section",
        { class: "keys-group" },
        h("h3", {}, title),
        h(
          "dl",
          { class: "keys-list" },
          bindings.filter(({ label }) => label).map(({ keys, label }) => [
            h("dt", {}, keys.slice(0, 2).map((key) => h("kbd", {}, readable(key)))),
            h("dd", {}, label),
          ]),
        ),
      ),
    );
  }
}

export function readable(name) {
  const isShortcut = name.length > 1 && name.includes("+");
  const parts = isShortcut ? name.split("+") : [name];
  return parts.map((part) => NAMES[part] ?? (part.length === 1 ? part.toUpperCase() : part)).join(" ");
}
