import { duration } from "../shared/pace.ts";
import { easelImageStyle } from "./easel_image_style.ts";

/** What `<easel-image>` shows: a picture, and below it a bar with a button, progress and status. */
export class EaselImageView {
  readonly button = part("button", "button");
  readonly #picture = part("div", "picture");
  readonly #poster = part("img", "poster");
  readonly #posterSlot = slot("poster", this.#poster);
  readonly #canvas = part("canvas", "canvas");
  readonly #bar = part("div", "bar");
  readonly #progress = part("progress", "progress");
  readonly #time = part("span", "time");
  readonly #status = part("p", "status");
  readonly #labels = { draw: slot("button", "Draw"), stop: slot("stop", "Stop") };

  constructor(shadow: ShadowRoot) {
    shadow.adoptedStyleSheets = [easelImageStyle()];
    this.#picture.id = "picture";
    this.#poster.alt = "";
    this.#poster.hidden = this.#canvas.hidden = this.#progress.hidden = true;
    this.#picture.append(this.#posterSlot, this.#canvas);
    this.button.type = "button";
    // One page may have many of these buttons: the picture's description tells them apart.
    this.button.setAttribute("aria-describedby", "picture");
    this.button.append(this.#labels.draw, this.#labels.stop);
    this.#progress.setAttribute("aria-label", "Progress");
    this.#status.setAttribute("role", "status");
    this.#bar.append(this.button, this.#progress, this.#time);
    shadow.append(this.#picture, this.#bar, this.#status);
    this.running = false;
  }

  /** Makes the button one to stop, or one to draw. */
  set running(running: boolean) {
    this.#labels.draw.hidden = running;
    this.#labels.stop.hidden = !running;
    if (!running) this.#progress.hidden = true;
    this.#time.textContent = "";
  }

  set controls(controls: boolean) {
    this.#bar.hidden = !controls;
    this.#status.classList.toggle("unseen", !controls);
  }

  set alt(alt: string) {
    if (alt === "") {
      this.#picture.removeAttribute("role");
      this.#picture.removeAttribute("aria-label");
    } else {
      this.#picture.setAttribute("role", "img");
      this.#picture.setAttribute("aria-label", alt);
    }
  }

  /** Address of the picture that stands for one to come; empty for none. */
  set poster(address: string) {
    this.#poster.hidden = address === "";
    if (address === "") this.#poster.removeAttribute("src");
    else this.#poster.src = address;
  }

  /** Screen readers read it out, so it changes with phases and not with steps. */
  set status(text: string) {
    this.#status.setAttribute("part", "status");
    if (this.#status.textContent !== text) this.#status.textContent = text;
  }

  set error(text: string) {
    this.status = text;
    this.#status.setAttribute("part", "status error");
  }

  /** A part of 1; `undefined` for a bar without an end. */
  set progress(value: number | undefined) {
    this.#progress.hidden = false;
    if (value === undefined) this.#progress.removeAttribute("value");
    else this.#progress.value = value;
  }

  /** What is left of what `progress` shows; `undefined` where nobody knows. */
  set secondsLeft(seconds: number | undefined) {
    this.#time.textContent = seconds === undefined ? "" : `${duration(seconds)} left`;
  }

  /** Keeps room for a picture of this ratio. */
  reserve(width: number, height: number): void {
    this.#picture.style.aspectRatio = `${width} / ${height}`;
  }

  /** Shows a picture, as large as the finished one will be. */
  paint(picture: ImageBitmap, width: number, height: number): void {
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
    }
    this.#canvas.getContext("2d")?.drawImage(picture, 0, 0, width, height);
    this.#canvas.hidden = false;
    this.#posterSlot.hidden = true;
  }
}

function part<K extends keyof HTMLElementTagNameMap>(tag: K, name: string): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  element.setAttribute("part", name);
  return element;
}

function slot(name: string, content: Node | string): HTMLSlotElement {
  const element = document.createElement("slot");
  element.name = name;
  element.append(content);
  return element;
}
