// One picture of the gallery in full, with its settings and all that can be done with it; and two of them, compared.
import { button, make, replaceButtons } from "../make.ts";
import { factsOf } from "../picture_facts.ts";
import { Comparison } from "./comparison.ts";
import type { Picture } from "./store.ts";

/** A picture with its file. */
export interface Shown {
  key: number;
  picture: Picture;
  file: Blob;
}

/** What the viewer asks for and tells. */
export interface ViewerHost {
  /** The picture some places on in the grid; `undefined` beyond its ends. */
  beside: (key: number, places: number) => number | undefined;
  load: (key: number) => Promise<Shown | undefined>;
  star: (key: number) => Promise<void>;
  delete: (key: number) => void;
  /** Things to do with a picture, as buttons; some browsers and models lack some. */
  actions: (shown: Shown) => HTMLElement[];
  samplers: () => readonly { name: string; label: string }[];
  /** Told when the user has closed it. */
  closed: (key: number | undefined) => void;
}

/** A dialog over the page. */
export class Viewer {
  readonly #host: ViewerHost;
  readonly #dialog = make("dialog", { className: "viewer", ariaLabel: "Picture" });
  readonly #image = make("img", { className: "viewer-picture" });
  readonly #facts = make("div");
  readonly #actions = make("div", { className: "buttons" });
  readonly #stage = make("div", { className: "viewer-stage" }, this.#image);
  readonly #position = make("p", { className: "hint" });
  readonly #star = button("☆ Star", () => void this.#toggleStar());
  readonly #compare = button("Compare", () => void this.#toggleComparison());
  readonly #newer = button("←", () => void this.#go(-1), { className: "icon", ariaLabel: "Newer picture" });
  readonly #older = button("→", () => void this.#go(1), { className: "icon", ariaLabel: "Older picture" });
  readonly #comparison = new Comparison();
  #shown: Shown | undefined;
  #leaving = false;
  /** Set while two pictures are compared: the one that stays. */
  #kept: Shown | undefined;

  constructor(host: ViewerHost) {
    this.#host = host;
    const close = button("×", () => this.#dialog.close(), { className: "icon", ariaLabel: "Close" });
    const remove = button("Delete", () => void this.#delete());
    const top = make("div", { className: "viewer-top" }, this.#newer, this.#older, this.#position, close);
    const side = make("div", { className: "viewer-side" });
    side.append(
      make("div", { className: "buttons" }, this.#star, this.#compare, remove),
      this.#actions,
      this.#facts,
    );
    this.#position.setAttribute("aria-live", "polite");
    this.#dialog.append(top, this.#stage, side);
    this.#dialog.addEventListener("keydown", (event) => this.#press(event));
    this.#dialog.addEventListener("close", () => this.#clear());
    document.body.append(this.#dialog);
  }

  get isOpen(): boolean {
    return this.#dialog.open;
  }

  /** Shows a picture of the gallery. */
  async open(key: number): Promise<void> {
    const shown = await this.#host.load(key);
    if (!shown) return;
    this.#show(shown);
    if (!this.#dialog.open) this.#dialog.showModal();
  }

  /** Closes to go on elsewhere on the page. */
  leave(): void {
    this.#leaving = true;
    this.#dialog.close();
  }

  /** Shows the same picture again, after something of it has changed. */
  async refresh(): Promise<void> {
    const shown = this.#shown && (await this.#host.load(this.#shown.key));
    if (shown) this.#show(shown);
    else this.#dialog.close();
  }

  #show(shown: Shown): void {
    const { picture, file, key } = shown;
    this.#shown = shown;
    URL.revokeObjectURL(this.#image.src);
    this.#image.src = URL.createObjectURL(file);
    this.#image.alt = picture.settings.prompt || "Picture without a prompt";
    this.#star.textContent = picture.starred ? "★ Starred" : "☆ Star";
    this.#star.ariaPressed = String(picture.starred === 1);
    // A button that is disabled loses the focus, and with it the dialog its keys.
    this.#newer.ariaDisabled = String(this.#host.beside(key, -1) === undefined);
    this.#older.ariaDisabled = String(this.#host.beside(key, 1) === undefined);
    const when = new Date(picture.added).toLocaleString(undefined, {
      dateStyle: "medium",
      timeStyle: "short",
    });
    this.#position.textContent = this.#kept ? `Compared with the one of ${when}` : when;
    const facts = factsOf(picture.settings, this.#host.samplers());
    this.#facts.replaceChildren(facts);
    replaceButtons(this.#actions, ...(this.#kept ? [] : this.#host.actions(shown)));
    this.#compare.textContent = this.#kept ? "End comparing" : "Compare";
    const alone = this.#host.beside(key, -1) === undefined && this.#host.beside(key, 1) === undefined;
    this.#compare.ariaDisabled = String(alone);
    if (this.#kept) this.#comparison.show(this.#kept.file, file);
    this.#stage.replaceChildren(this.#kept ? this.#comparison.element : this.#image);
  }

  async #go(places: number): Promise<void> {
    if (!this.#shown) return;
    let next = this.#host.beside(this.#shown.key, places);
    // A picture is not compared with itself.
    if (next !== undefined && next === this.#kept?.key) next = this.#host.beside(next, places);
    if (next !== undefined) await this.open(next);
  }

  async #toggleStar(): Promise<void> {
    if (this.#shown) await this.#host.star(this.#shown.key);
  }

  async #toggleComparison(): Promise<void> {
    const [kept, shown] = [this.#kept, this.#shown];
    if (kept) {
      this.#kept = undefined;
      this.#show(kept);
    } else if (shown) {
      const places = this.#host.beside(shown.key, 1) === undefined ? -1 : 1;
      if (this.#host.beside(shown.key, places) === undefined) return;
      this.#kept = shown;
      await this.#go(places);
    }
  }

  async #delete(): Promise<void> {
    const shown = this.#shown;
    if (!shown) return;
    this.#kept = undefined;
    const next = this.#host.beside(shown.key, 1) ?? this.#host.beside(shown.key, -1);
    this.#host.delete(shown.key);
    if (next === undefined) this.#dialog.close();
    else await this.open(next);
  }

  #press(event: KeyboardEvent): void {
    // The page's own keys, such as Escape for a run, are not meant here.
    event.stopPropagation();
    if (event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLInputElement) return;
    const keys: Record<string, () => Promise<void>> = {
      ArrowLeft: () => this.#go(-1),
      ArrowRight: () => this.#go(1),
      s: () => this.#toggleStar(),
      c: () => this.#toggleComparison(),
      Delete: () => this.#delete(),
    };
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    void act();
  }

  #clear(): void {
    const key = this.#shown?.key;
    URL.revokeObjectURL(this.#image.src);
    this.#image.removeAttribute("src");
    this.#comparison.clear();
    this.#shown = undefined;
    this.#kept = undefined;
    if (!this.#leaving) this.#host.closed(key);
    this.#leaving = false;
  }
}
