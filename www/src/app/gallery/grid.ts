// Thumbnails of any number of pictures: only those near the window are elements, and only those hold an object URL.
import { make } from "../make.ts";
import type { Picture } from "./store.ts";

/** What the grid asks for and tells. */
export interface GridHost {
  /** Records of pictures. */
  load: (keys: readonly number[]) => Promise<Map<number, Picture>>;
  open: (key: number) => void;
  star: (key: number) => void;
  delete: (key: number) => void;
}

interface Cell {
  item: HTMLLIElement;
  button: HTMLButtonElement;
  url: string | undefined;
}

const LEAST_COLUMNS = 3;
const WIDEST_CELL = 150;
/** Rows beyond the window that are ready. */
const SPARE_ROWS = 2;

/** Pictures by keys, in rows of squares. */
export class Grid {
  readonly element = make("ul", { className: "gallery-grid" });
  readonly #host: GridHost;
  readonly #cells = new Map<number, Cell>();
  #keys: readonly number[] = [];
  #columns = LEAST_COLUMNS;
  #side = WIDEST_CELL;
  /** The one that the Tab key comes to. */
  #current = 0;
  #frame = 0;

  constructor(host: GridHost) {
    this.#host = host;
    this.element.setAttribute("aria-label", "Pictures, the latest first");
    this.element.addEventListener("keydown", (event) => this.#press(event));
    new ResizeObserver(() => this.#layOutSoon()).observe(this.element);
    addEventListener("scroll", () => this.#layOutSoon(), { passive: true });
  }

  /** Shows these, in this order. */
  show(keys: readonly number[]): void {
    const focused = this.#focusedKey();
    this.#keys = keys;
    const at = focused === undefined ? -1 : keys.indexOf(focused);
    this.#current = at >= 0 ? at : Math.min(this.#current, Math.max(0, keys.length - 1));
    this.#layOut();
    if (focused !== undefined && at < 0) this.focus(this.#current);
  }

  /** Reads a picture's record again. */
  refresh(key: number): void {
    const hadFocus = this.#focusedKey() === key;
    this.#drop(key);
    this.#layOut();
    if (hadFocus) this.#cells.get(key)?.button.focus({ preventScroll: true });
  }

  /** Reads a picture's record again when it is shown next. */
  forget(key: number): void {
    if (key !== this.#focusedKey()) this.#drop(key);
  }

  /** Focuses the picture at an index. */
  focus(index: number): void {
    const key = this.#keys[index];
    if (key === undefined) return;
    this.#current = index;
    this.#layOut();
    const cell = this.#cells.get(key);
    cell?.button.focus({ preventScroll: true });
    cell?.item.scrollIntoView({ block: "nearest" });
  }

  #layOutSoon(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#layOut());
  }

  #layOut(): void {
    const { width, top } = this.element.getBoundingClientRect();
    if (width === 0) return;
    this.#columns = Math.max(LEAST_COLUMNS, Math.floor(width / WIDEST_CELL));
    this.#side = width / this.#columns;
    this.element.style.height = `${Math.ceil(this.#keys.length / this.#columns) * this.#side}px`;
    const first = (Math.floor(-top / this.#side) - SPARE_ROWS) * this.#columns;
    const last = (Math.ceil((innerHeight - top) / this.#side) + SPARE_ROWS) * this.#columns;
    const wanted = new Set(this.#keys.slice(Math.max(0, first), Math.max(0, last)));
    const current = this.#keys[this.#current];
    // What has the focus stays, however far it is scrolled away.
    if (current !== undefined) wanted.add(current);
    for (const key of this.#cells.keys()) if (!wanted.has(key)) this.#drop(key);
    const fresh = [...wanted].filter((key) => !this.#cells.has(key));
    this.#keys.forEach((key, index) => {
      if (wanted.has(key)) this.#place(key, index);
    });
    if (fresh.length > 0) void this.#fill(fresh);
  }

  #place(key: number, index: number): void {
    const cell = this.#cells.get(key) ?? this.#make(key, index);
    const { item, button } = cell;
    const [row, column] = [Math.floor(index / this.#columns), index % this.#columns];
    item.style.transform = `translate(${column * this.#side}px, ${row * this.#side}px)`;
    item.style.width = item.style.height = `${this.#side}px`;
    item.setAttribute("aria-setsize", String(this.#keys.length));
    item.setAttribute("aria-posinset", String(index + 1));
    item.dataset.index = String(index);
    button.tabIndex = index === this.#current ? 0 : -1;
  }

  #make(key: number, index: number): Cell {
    const button = make("button", { type: "button", ariaLabel: "Picture" });
    const item = make("li", {}, button);
    const cell = { item, button, url: undefined };
    button.addEventListener("click", () => this.#host.open(key));
    button.addEventListener("focus", () => {
      this.#current = Number(item.dataset.index);
      this.#layOut();
    });
    this.#cells.set(key, cell);
    // In the document they stand as they are seen, for those who are read to.
    const after = [...this.element.children].find(
      (other) => Number((other as HTMLElement).dataset.index) > index,
    );
    this.element.insertBefore(item, after ?? null);
    return cell;
  }

  async #fill(keys: number[]): Promise<void> {
    const pictures = await this.#host.load(keys);
    for (const key of keys) {
      const [cell, picture] = [this.#cells.get(key), pictures.get(key)];
      // It may have been scrolled away, or filled by another call, in the meantime.
      if (!cell || !picture || cell.button.childElementCount > 0) continue;
      const { prompt = "" } = picture.settings;
      cell.button.ariaLabel = `${prompt || "Picture without a prompt"}${picture.starred ? ", starred" : ""}`;
      cell.item.dataset.starred = String(picture.starred === 1);
      cell.url = picture.thumbnail && URL.createObjectURL(picture.thumbnail);
      cell.button.append(make("img", { src: cell.url ?? "", alt: "", draggable: false }));
    }
  }

  #drop(key: number): void {
    const cell = this.#cells.get(key);
    if (cell?.url) URL.revokeObjectURL(cell.url);
    cell?.item.remove();
    this.#cells.delete(key);
  }

  #focusedKey(): number | undefined {
    for (const [key, { button }] of this.#cells) if (button === document.activeElement) return key;
    return undefined;
  }

  #press(event: KeyboardEvent): void {
    const key = this.#focusedKey();
    if (key === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    const steps: Record<string, number> = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -this.#columns,
      ArrowDown: this.#columns,
      Home: -this.#keys.length,
      End: this.#keys.length,
    };
    const step = steps[event.key];
    if (step !== undefined) {
      const last = this.#keys.length - 1;
      this.focus(Math.min(last, Math.max(0, this.#current + step)));
    } else if (event.key === "Delete") this.#host.delete(key);
    else if (event.key.toLowerCase() === "s") this.#host.star(key);
    else return;
    event.preventDefault();
  }
}
