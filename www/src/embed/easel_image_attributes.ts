import type { GenerateOptions } from "../client/types.ts";

/** Where there are no elements, as on a server that renders pages, the module can be imported all the same. */
const Base = (globalThis.HTMLElement ?? class {}) as typeof HTMLElement;

/** The attributes of `<easel-image>` as properties: each reads and writes its attribute. */
export class EaselImageAttributes extends Base {
  /** What to draw. */
  get prompt(): string {
    return this.#text("prompt");
  }
  set prompt(value: string | null) {
    this.#write("prompt", value);
  }

  /** What to keep out of the picture; the attribute is `negative-prompt`. */
  get negativePrompt(): string {
    return this.#text("negative-prompt");
  }
  set negativePrompt(value: string | null) {
    this.#write("negative-prompt", value);
  }

  /** `owner/name` on the hub, the address of a folder in diffusers layout, or a path below the page. */
  get model(): string {
    return this.#text("model");
  }
  set model(value: string | null) {
    this.#write("model", value);
  }

  /** A name of `Easel.info.samplers`; empty for the model's own. */
  get sampler(): string {
    return this.#text("sampler");
  }
  set sampler(value: string | null) {
    this.#write("sampler", value);
  }

  /** What the picture shows, in words. Where it is absent, the prompt is taken; an empty one marks decoration. */
  get alt(): string {
    return this.getAttribute("alt") ?? this.prompt;
  }
  set alt(value: string | null) {
    this.#write("alt", value);
  }

  /** Address of a picture to show until there is one. */
  get poster(): string {
    return this.#text("poster");
  }
  set poster(value: string | null) {
    this.#write("poster", value);
  }

  /** The model's own where it is null, as for the other numbers. */
  get steps(): number | null {
    return this.#number("steps");
  }
  set steps(value: number | null) {
    this.#write("steps", value);
  }

  /** The guidance scale. */
  get guidance(): number | null {
    return this.#number("guidance");
  }
  set guidance(value: number | null) {
    this.#write("guidance", value);
  }

  /** A random one where it is null. */
  get seed(): number | null {
    return this.#number("seed");
  }
  set seed(value: number | null) {
    this.#write("seed", value);
  }

  /** Pixels of the picture; how large it is shown is a matter of styles. */
  get width(): number | null {
    return this.#number("width");
  }
  set width(value: number | null) {
    this.#write("width", value);
  }

  get height(): number | null {
    return this.#number("height");
  }
  set height(value: number | null) {
    this.#write("height", value);
  }

  /** `eager` fetches the model and draws as soon as the element is in the page; `lazy`, the default, when it is asked to. */
  get loading(): "eager" | "lazy" {
    return this.getAttribute("loading") === "eager" ? "eager" : "lazy";
  }
  set loading(value: "eager" | "lazy" | null) {
    this.#write("loading", value);
  }

  /** Whether there is a button to draw and to stop, with progress. */
  get controls(): boolean {
    return this.hasAttribute("controls");
  }
  set controls(value: boolean) {
    this.toggleAttribute("controls", Boolean(value));
  }

  /** What the attributes ask for. @internal */
  protected get wish(): GenerateOptions {
    const { prompt, negativePrompt, steps, guidance, sampler, seed, width, height } = this;
    return {
      prompt,
      negativePrompt,
      steps: steps ?? undefined,
      guidanceScale: guidance ?? undefined,
      sampler: sampler || undefined,
      seed: seed ?? undefined,
      width: width ?? undefined,
      height: height ?? undefined,
    };
  }

  #text(name: string): string {
    return this.getAttribute(name) ?? "";
  }

  /** What is no number counts as absent. */
  #number(name: string): number | null {
    const text = this.getAttribute(name)?.trim();
    const value = text ? Number(text) : Number.NaN;
    return Number.isFinite(value) ? value : null;
  }

  #write(name: string, value: string | number | null | undefined): void {
    if (value === null || value === undefined) this.removeAttribute(name);
    else this.setAttribute(name, String(value));
  }
}
