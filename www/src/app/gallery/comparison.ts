import { make } from "../make.ts";

/** Two pictures, one over the other, with a slider that says how much of each is seen. */
export class Comparison {
  readonly #under = make("img", { alt: "The other picture" });
  readonly #over = make("img", { alt: "The picture that is compared" });
  readonly #range = make("input", { type: "range", min: "0", max: "100", step: "1", value: "50" });
  readonly #frame = make("div", { className: "comparison-frame" }, this.#under, this.#over);
  readonly element = make("div", { className: "comparison" }, this.#frame, this.#range);

  constructor() {
    this.#range.ariaLabel = "Share of the picture that is compared";
    this.#range.addEventListener("input", () => this.#cut());
    this.#frame.addEventListener("pointerdown", (event) => {
      this.#frame.setPointerCapture(event.pointerId);
      this.#follow(event);
    });
    this.#frame.addEventListener("pointermove", (event) => {
      if (this.#frame.hasPointerCapture(event.pointerId)) this.#follow(event);
    });
    for (const image of [this.#under, this.#over]) image.draggable = false;
    this.#cut();
  }

  /** Shows two files. */
  show(over: Blob, under: Blob): void {
    this.clear();
    this.#over.src = URL.createObjectURL(over);
    this.#under.src = URL.createObjectURL(under);
  }

  /** Lets the files go. */
  clear(): void {
    for (const image of [this.#under, this.#over]) {
      URL.revokeObjectURL(image.src);
      image.removeAttribute("src");
    }
  }

  #follow({ clientX }: PointerEvent): void {
    const { left, width } = this.#frame.getBoundingClientRect();
    this.#range.value = String((100 * (clientX - left)) / width);
    this.#cut();
  }

  #cut(): void {
    this.#frame.style.setProperty("--share", `${this.#range.value}%`);
  }
}
