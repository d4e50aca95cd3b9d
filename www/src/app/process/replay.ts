// The filmstrip and the scrubber under the picture, and the explanation that goes with what they show.
import { asEaselError } from "../../shared/errors.ts";
import { element } from "../elements.ts";
import { button, glyph, make } from "../make.ts";
import { saveFile } from "../save_file.ts";
import { fileName, reserve, showOver } from "../stage.ts";
import { showError } from "../status.ts";
import { animationOf } from "./animation.ts";
import { BEFORE_ANY, explanationOf, factsOf, STAGES, stageOf } from "./moments.ts";
import type { Take } from "./take.ts";

const PLAY_MS = 120;

const area = element("replay", HTMLElement);
const strip = element("filmstrip", HTMLElement);
const scrubber = element("scrubber", HTMLInputElement);
const moments = element("moments", HTMLOListElement);
const facts = element("moment-facts", HTMLElement);
const text = element("moment-text", HTMLElement);
const play = element("play", HTMLButtonElement);
const save = element("save-animation", HTMLButtonElement);

/** Shows one take; goes with its newest frame until somebody goes back. */
export class Replay {
  readonly #stages: HTMLButtonElement[];
  #take: Take | undefined;
  /** The take that the live canvas shows. */
  #live: Take | undefined;
  #position = 0;
  #timer = 0;

  constructor() {
    this.#stages = STAGES.map((name, stage) => button(name, () => this.#goToStage(stage), { className: "" }));
    moments.replaceChildren(...this.#stages.map((stage) => make("li", {}, stage)));
    scrubber.addEventListener("input", () => this.#go(scrubber.valueAsNumber));
    for (const kind of ["pointerdown", "pointermove"] as const) {
      strip.addEventListener(kind, (event) => {
        if (!(event.buttons & 1)) return;
        strip.setPointerCapture(event.pointerId);
        this.#point(event);
      });
    }
    play.addEventListener("click", () => (this.#timer ? this.#pause() : this.#play()));
    save.addEventListener("click", () => void this.#save());
    this.#show();
  }

  /** Shows a take; `live` is one that the canvas is about to draw. */
  show(take: Take, { live = false } = {}): void {
    this.#pause();
    this.#take = take;
    if (live) this.#live = take;
    this.#position = Math.max(0, take.frames.length - 1);
    reserve(take.params.width, take.params.height);
    this.#show();
  }

  /** Follows a take that has a further frame. */
  grew(take: Take): void {
    if (take !== this.#take) return;
    const last = take.frames.length - 1;
    // Thinned runs have fewer frames than a moment ago.
    if (this.#position >= last - 1) this.#position = last;
    this.#show();
  }

  /** The canvas was replaced by an empty one: what is shown comes from the take from now on. */
  canvasGone(): void {
    this.#live = undefined;
    this.#show();
  }

  #show(): void {
    const frames = this.#take?.frames ?? [];
    area.dataset.state = this.#take ? "full" : "empty";
    scrubber.disabled = play.disabled = save.disabled = frames.length < 2;
    for (const button of this.#stages) button.disabled = frames.length < 2;
    const toCome = this.#take?.toCome ?? 0;
    scrubber.max = String(Math.max(0, frames.length - 1) + toCome);
    const tiles = frames.map(({ picture }) => picture);
    const there = strip.childElementCount;
    // A step adds a tile; moving the others would lay all of them out anew.
    if (strip.lastElementChild === (tiles[there - 1] ?? null)) strip.append(...tiles.slice(there));
    else strip.replaceChildren(...tiles);
    strip.style.setProperty("--to-come", String(toCome));
    this.#go(this.#position);
  }

  #go(position: number): void {
    const take = this.#take;
    const frames = take?.frames ?? [];
    const at = Math.min(Math.max(0, position), Math.max(0, frames.length - 1));
    this.#position = at;
    scrubber.value = String(at);
    const frame = frames[at];
    for (const [tile, { picture }] of frames.entries()) picture.classList.toggle("shown", tile === at);
    if (!take || !frame) {
      facts.textContent = "";
      text.textContent = BEFORE_ANY;
      scrubber.setAttribute("aria-valuetext", "No picture yet");
      showOver(undefined);
      return;
    }
    const said = factsOf(frame.moment, take.params);
    facts.textContent = said.replaceAll(", ", " · ");
    text.textContent = explanationOf(frame.moment, take.params);
    scrubber.setAttribute("aria-valuetext", said);
    const stage = stageOf(frame.moment);
    for (const [index, button] of this.#stages.entries()) {
      if (index === stage) button.setAttribute("aria-current", "step");
      else button.removeAttribute("aria-current");
    }
    const isLive = take === this.#live && at === frames.length - 1;
    // Firefox may empty a live canvas that is out of sight: what is finished lies over it.
    showOver(isLive ? undefined : frame.picture, frame.moment.kind === "picture" ? take.png : undefined);
  }

  #goToStage(stage: number): void {
    this.#pause();
    const frames = this.#take?.frames ?? [];
    const first = frames.findIndex(({ moment }) => stageOf(moment) === stage);
    if (first >= 0) this.#go(first);
  }

  #point({ clientX }: PointerEvent): void {
    const { left, width } = strip.getBoundingClientRect();
    const { frames, toCome } = this.#take ?? { frames: [], toCome: 0 };
    this.#pause();
    this.#go(Math.floor(((clientX - left) / width || 0) * (frames.length + toCome)));
  }

  #play(): void {
    const last = (this.#take?.frames.length ?? 1) - 1;
    this.#go(this.#position >= last ? 0 : this.#position);
    showPlay("Pause");
    this.#timer = window.setInterval(() => {
      this.#go(this.#position + 1);
      if (this.#position >= (this.#take?.frames.length ?? 1) - 1) this.#pause();
    }, PLAY_MS);
  }

  #pause(): void {
    clearInterval(this.#timer);
    this.#timer = 0;
    showPlay("Play");
  }

  async #save(): Promise<void> {
    const take = this.#take;
    if (!take) return;
    save.disabled = true;
    try {
      const { prompt, seed } = take.params;
      saveFile(await animationOf(take), fileName(prompt, seed, "-steps"));
    } catch (error) {
      showError(asEaselError(error));
    }
    save.disabled = false;
  }
}

/** Says what a press of the button under the filmstrip does. */
function showPlay(does: "Play" | "Pause"): void {
  if (play.ariaLabel === does) return;
  play.ariaLabel = does;
  play.replaceChildren(glyph(does.toLowerCase()));
}
