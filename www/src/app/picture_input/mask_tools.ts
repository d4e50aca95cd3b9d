// The buttons beside the mask, and its ways for those who paint with no pointer.
import type { Mask } from "../../shared/mask.ts";
import { button, make } from "../make.ts";
import type { Painter } from "./painter.ts";

const SIDES = ["Left", "Top", "Width", "Height"] as const;

/** What can be done with a mask. */
export class MaskTools {
  readonly element = make("div", { className: "mask-tools" });
  readonly #painter: Painter;
  readonly #changed: () => void;
  readonly #paint = button("Paint a mask", () => this.#toggle(), { ariaPressed: "false" });
  readonly #more = make("div", { className: "mask-more", hidden: true });
  readonly #erase = button("Eraser", () => this.#toggleEraser(), { ariaPressed: "false" });
  readonly #undo = button("Undo", () => this.#change((mask) => mask.undo()));
  readonly #redo = button("Redo", () => this.#change((mask) => mask.redo()));
  readonly #brush = make("input", { type: "range", min: "0.01", max: "0.5", step: "0.01", id: "brush" });
  readonly #sides = SIDES.map((side, at) => {
    const field = make("input", { type: "number", step: "any", value: at < 2 ? "0" : "50" });
    field.ariaLabel = `${side} of a rectangle, in percent`;
    return field;
  });
  #mask: Mask | undefined;

  /** `changed` is called after each change that was made here. */
  constructor(painter: Painter, changed: () => void) {
    this.#painter = painter;
    this.#changed = changed;
    this.#brush.value = String(painter.brush);
    this.#brush.addEventListener("input", () => {
      painter.brush = this.#brush.valueAsNumber;
    });
    const brush = make(
      "div",
      { className: "field" },
      make("label", { htmlFor: "brush" }, "Brush size"),
      this.#brush,
    );
    const hint = make("p", { className: "hint" }, "What you paint is drawn anew; the rest stays.");
    const actions = make("div", { className: "buttons" });
    actions.append(
      this.#erase,
      this.#undo,
      this.#redo,
      button("Invert", () => this.#change((mask) => mask.invert())),
      button("All", () => this.#change((mask) => mask.all())),
      button("Clear", () => this.#change((mask) => mask.all(true))),
    );
    this.#more.append(hint, actions, brush, this.#rectangle());
    this.element.append(this.#paint, this.#more);
    this.element.addEventListener("keydown", (event) => this.#press(event));
  }

  /** Works on another mask. Painting begins with a press alone: a finger that only scrolls would paint. */
  use(mask: Mask): void {
    this.#mask = mask;
    this.show();
  }

  /** Shows what can be done now. */
  show(): void {
    this.#undo.disabled = !this.#mask?.canUndo;
    this.#redo.disabled = !this.#mask?.canRedo;
  }

  #toggle(): void {
    const enabled = !this.#painter.enabled;
    this.#painter.enabled = enabled;
    // A finger that does not paint scrolls the page.
    this.#painter.canvas.style.touchAction = enabled ? "none" : "auto";
    this.#painter.canvas.style.cursor = enabled ? "crosshair" : "auto";
    this.#paint.ariaPressed = String(enabled);
    this.#more.hidden = !enabled;
  }

  #toggleEraser(): void {
    this.#painter.erase = !this.#painter.erase;
    this.#erase.ariaPressed = String(this.#painter.erase);
  }

  #change(work: (mask: Mask) => void): void {
    if (!this.#mask) return;
    work(this.#mask);
    this.#painter.show();
    this.#changed();
  }

  #rectangle(): HTMLElement {
    const fields = make(
      "div",
      { className: "mask-sides" },
      ...this.#sides.map((field, at) => labelled(field, at)),
    );
    const add = (erase: boolean) => () =>
      this.#change((mask) => {
        const [x = 0, y = 0, width = 0, height = 0] = this.#sides.map(
          (field) => (field.valueAsNumber || 0) / 100,
        );
        const area = {
          x: x * mask.width,
          y: y * mask.height,
          width: width * mask.width,
          height: height * mask.height,
        };
        mask.rectangle(area, erase);
      });
    const actions = make(
      "div",
      { className: "buttons" },
      button("Mask it", add(false)),
      button("Unmask it", add(true)),
    );
    return make("details", {}, make("summary", {}, "Mask a rectangle"), fields, actions);
  }

  #press(event: KeyboardEvent): void {
    if (!(event.ctrlKey || event.metaKey) || event.target instanceof HTMLInputElement) return;
    const key = event.key.toLowerCase();
    if (key === "y" || (key === "z" && event.shiftKey)) this.#change((mask) => mask.redo());
    else if (key === "z") this.#change((mask) => mask.undo());
    else return;
    event.preventDefault();
  }
}

function labelled(field: HTMLInputElement, at: number): HTMLElement {
  return make("label", {}, `${SIDES[at]} %`, field);
}
