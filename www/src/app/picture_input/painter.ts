// Painting a mask with mouse, pen or finger over a picture.
import { crop, type Mask, type Point, type Rect } from "../../shared/mask.ts";
import { make } from "../make.ts";

/** What the overlay is painted in, in stripes: one of them is seen on any picture. */
const COLOURS = [
  [255, 64, 129],
  [24, 16, 48],
] as const;
const OPACITY = 0.6;
/** Stripes across the shorter side. */
const STRIPES = 40;
/** The bit of `PointerEvent.buttons` for the other end of a pen. */
const PEN_ERASER = 32;

/** A canvas with the mask, which lies over the picture and is cut as that is (`object-fit: cover`). */
export class Painter {
  readonly canvas = make("canvas", { className: "mask" });
  readonly ring = make("div", { className: "brush-ring", hidden: true });
  /** Diameter of the brush as a share of the frame's width. */
  brush = 0.12;
  erase = false;
  enabled = false;
  readonly #onStroke: () => void;
  #mask: Mask | undefined;
  #stroke: { pointer: number; last: Point; erase: boolean } | undefined;

  /** `onStroke` is called after each stroke. */
  constructor(onStroke: () => void) {
    this.#onStroke = onStroke;
    this.canvas.setAttribute("aria-hidden", "true");
    this.canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    this.canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"] as const) {
      this.canvas.addEventListener(name, (event) => this.#end(event));
    }
    this.canvas.addEventListener("pointerleave", () => {
      this.ring.hidden = true;
    });
  }

  /** Paints on another mask. */
  use(mask: Mask): void {
    this.#mask = mask;
    this.#stroke = undefined;
    this.canvas.width = mask.width;
    this.canvas.height = mask.height;
    this.show();
  }

  /** Shows a part of the mask as it is now, or all of it. */
  show(part?: Rect): void {
    const mask = this.#mask;
    const { x, y, width, height } = part ?? { x: 0, y: 0, ...this.#size() };
    if (!mask || width <= 0 || height <= 0) return;
    const pixels = new ImageData(width, height);
    const { data } = pixels;
    const broad = Math.max(1, Math.min(mask.width, mask.height) / STRIPES);
    for (let row = 0, at = 0; row < height; row += 1) {
      const line = (y + row) * mask.width + x;
      for (let column = 0; column < width; column += 1, at += 4) {
        const stripe = Math.floor((x + column + y + row) / broad) % 2;
        [data[at], data[at + 1], data[at + 2]] = stripe === 0 ? COLOURS[0] : COLOURS[1];
        data[at + 3] = (mask.bytes[line + column] ?? 0) * OPACITY;
      }
    }
    this.canvas.getContext("2d")?.putImageData(pixels, x, y);
  }

  #begin(event: PointerEvent): void {
    if (!this.enabled || !this.#mask || this.#stroke || (event.button > 0 && event.buttons !== PEN_ERASER))
      return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    const last = this.#point(event);
    this.#stroke = { pointer: event.pointerId, last, erase: this.erase || event.buttons === PEN_ERASER };
    this.#mask.begin();
    this.#line(last);
  }

  #move(event: PointerEvent): void {
    this.#showRing(event);
    if (event.pointerId !== this.#stroke?.pointer) return;
    // A fast hand moves further than a frame shows.
    const between = event.getCoalescedEvents?.() ?? [];
    for (const each of between.length > 0 ? between : [event]) this.#line(this.#point(each));
  }

  #end(event: PointerEvent): void {
    if (event.pointerId !== this.#stroke?.pointer) return;
    this.#stroke = undefined;
    this.#mask?.end();
    this.#onStroke();
  }

  #line(to: Point): void {
    const [mask, stroke] = [this.#mask, this.#stroke];
    if (!mask || !stroke) return;
    const radius = (this.brush * this.#cut().width) / 2;
    this.show(mask.line(stroke.last, to, radius, stroke.erase));
    stroke.last = to;
  }

  /** Where a pointer is on the mask. */
  #point({ clientX, clientY }: PointerEvent): Point {
    const frame = this.canvas.getBoundingClientRect();
    const cut = this.#cut();
    return {
      x: cut.x + ((clientX - frame.left) / frame.width) * cut.width,
      y: cut.y + ((clientY - frame.top) / frame.height) * cut.height,
    };
  }

  /** What of the mask is in the frame. */
  #cut(): Rect {
    const { width, height } = this.canvas.getBoundingClientRect();
    return crop(this.#size(), width || 1, height || 1);
  }

  #size(): { width: number; height: number } {
    return { width: this.canvas.width, height: this.canvas.height };
  }

  #showRing({ clientX, clientY, pointerType }: PointerEvent): void {
    const frame = this.canvas.getBoundingClientRect();
    this.ring.hidden = !this.enabled || pointerType === "touch";
    const side = this.brush * frame.width;
    Object.assign(this.ring.style, {
      width: `${side}px`,
      height: `${side}px`,
      transform: `translate(${clientX - frame.left - side / 2}px, ${clientY - frame.top - side / 2}px)`,
    });
  }
}
