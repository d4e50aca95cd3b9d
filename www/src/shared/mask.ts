// Masks of pictures as bytes, 255 where a picture is to be drawn anew; and how a picture is cut to another shape.

/** A rectangle in pixels. */
export interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** A point of a stroke, in pixels. */
export interface Point {
  x: number;
  y: number;
}

interface Patch extends Rect {
  bytes: Uint8Array;
}

/** Most bytes that undo keeps. */
const LONGEST_HISTORY = 64 << 20;

/** The largest rectangle of a ratio in the middle of a picture. */
export function crop(picture: { width: number; height: number }, width: number, height: number): Rect {
  const scale = Math.min(picture.width / width, picture.height / height);
  const cut = { width: width * scale, height: height * scale };
  return { x: (picture.width - cut.width) / 2, y: (picture.height - cut.height) / 2, ...cut };
}

/** A mask that can be painted, `[height][width]`, with undo. */
export class Mask {
  readonly width: number;
  readonly height: number;
  readonly bytes: Uint8Array;
  #undo: Patch[] = [];
  #redo: Patch[] = [];
  /** What the stroke that is being painted began with. */
  #before: Uint8Array | undefined;
  #touched: Rect | undefined;

  constructor(width: number, height: number, bytes: Uint8Array = new Uint8Array(width * height)) {
    this.width = width;
    this.height = height;
    this.bytes = bytes;
  }

  get isEmpty(): boolean {
    return !this.bytes.some((byte) => byte > 0);
  }

  get canUndo(): boolean {
    return this.#undo.length > 0;
  }

  get canRedo(): boolean {
    return this.#redo.length > 0;
  }

  /** Share of the mask that is painted, 0 to 1. */
  get share(): number {
    return this.bytes.reduce((sum, byte) => sum + byte, 0) / (255 * this.bytes.length);
  }

  /** Begins what one undo takes back. */
  begin(): void {
    this.#before = this.bytes.slice();
    this.#touched = undefined;
  }

  /** Ends what one undo takes back. */
  end(): void {
    const [before, touched] = [this.#before, this.#touched];
    this.#before = undefined;
    if (!before || !touched) return;
    this.#undo.push({ ...touched, bytes: rows(before, this.width, touched) });
    this.#redo = [];
    let size = this.#undo.reduce((sum, { bytes }) => sum + bytes.length, 0);
    while (size > LONGEST_HISTORY) size -= this.#undo.shift()?.bytes.length ?? size;
  }

  /** Paints, or erases, a line with round ends and soft edges of a pixel; returns what may have changed. */
  line(from: Point, to: Point, radius: number, erase = false): Rect {
    const reach = radius + 1;
    const area = this.#clip(
      Math.floor(Math.min(from.x, to.x) - reach),
      Math.floor(Math.min(from.y, to.y) - reach),
      Math.ceil(Math.max(from.x, to.x) + reach),
      Math.ceil(Math.max(from.y, to.y) + reach),
    );
    const [dx, dy] = [to.x - from.x, to.y - from.y];
    const length = dx * dx + dy * dy || 1;
    this.#fill(
      area,
      (x, y) => {
        // Distance from the pixel's middle to the line.
        const [px, py] = [x + 0.5 - from.x, y + 0.5 - from.y];
        const along = Math.min(1, Math.max(0, (px * dx + py * dy) / length));
        const cover = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(px - along * dx, py - along * dy)));
        return Math.round(255 * cover);
      },
      erase,
    );
    return area;
  }

  /** Paints or erases a rectangle. */
  rectangle({ x, y, width, height }: Rect, erase = false): void {
    this.begin();
    const area = this.#clip(Math.round(x), Math.round(y), Math.round(x + width), Math.round(y + height));
    this.#fill(area, () => 255, erase);
    this.end();
  }

  /** Paints or erases everything. */
  all(erase = false): void {
    this.rectangle({ x: 0, y: 0, width: this.width, height: this.height }, erase);
  }

  invert(): void {
    this.begin();
    this.bytes.forEach((byte, at) => {
      this.bytes[at] = 255 - byte;
    });
    this.#touched = { x: 0, y: 0, width: this.width, height: this.height };
    this.end();
  }

  undo(): void {
    this.#swap(this.#undo, this.#redo);
  }

  redo(): void {
    this.#swap(this.#redo, this.#undo);
  }

  /** The mask of a part, at another size: `width * height` bytes, each the mean of what lies under it. */
  resampled(part: Rect, width: number, height: number): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(width * height);
    const [columns, lines] = [
      spans(part.x, part.width, width, this.width),
      spans(part.y, part.height, height, this.height),
    ];
    lines.forEach(([top, bottom], row) => {
      columns.forEach(([left, right], column) => {
        let sum = 0;
        for (let y = top; y < bottom; y += 1) {
          for (let x = left; x < right; x += 1) sum += this.bytes[y * this.width + x] ?? 0;
        }
        out[row * width + column] = Math.round(sum / ((bottom - top) * (right - left)));
      });
    });
    return out;
  }

  #fill(
    { x: left, y: top, width, height }: Rect,
    cover: (x: number, y: number) => number,
    erase: boolean,
  ): void {
    for (let y = top; y < top + height; y += 1) {
      for (let x = left; x < left + width; x += 1) {
        const at = y * this.width + x;
        const byte = this.bytes[at] ?? 0;
        this.bytes[at] = erase ? Math.min(byte, 255 - cover(x, y)) : Math.max(byte, cover(x, y));
      }
    }
    this.#touched = union(this.#touched, { x: left, y: top, width, height });
  }

  #clip(left: number, top: number, right: number, bottom: number): Rect {
    const within = (value: number, most: number) => Math.min(most, Math.max(0, value));
    const [x, y] = [within(left, this.width), within(top, this.height)];
    return { x, y, width: within(right, this.width) - x, height: within(bottom, this.height) - y };
  }

  #swap(from: Patch[], to: Patch[]): void {
    const patch = from.pop();
    if (!patch) return;
    to.push({ ...patch, bytes: rows(this.bytes, this.width, patch) });
    for (let row = 0; row < patch.height; row += 1) {
      const line = patch.bytes.subarray(row * patch.width, (row + 1) * patch.width);
      this.bytes.set(line, (patch.y + row) * this.width + patch.x);
    }
  }
}

/** Where each of `count` equal parts of a length lies among `limit` pixels; at least one pixel each. */
function spans(start: number, length: number, count: number, limit: number): [from: number, to: number][] {
  // Rounding must not reach a pixel further.
  const slack = 1e-6;
  return Array.from({ length: count }, (_, index) => {
    const from = Math.floor(start + (length * index) / count + slack);
    const to = Math.ceil(start + (length * (index + 1)) / count - slack);
    const first = Math.min(limit - 1, Math.max(0, from));
    return [first, Math.min(limit, Math.max(first + 1, to))];
  });
}

function rows(bytes: Uint8Array, stride: number, { x, y, width, height }: Rect): Uint8Array {
  const out = new Uint8Array(width * height);
  for (let row = 0; row < height; row += 1) {
    const at = (y + row) * stride + x;
    out.set(bytes.subarray(at, at + width), row * width);
  }
  return out;
}

function union(a: Rect | undefined, b: Rect): Rect {
  if (!a) return b;
  const [x, y] = [Math.min(a.x, b.x), Math.min(a.y, b.y)];
  const right = Math.max(a.x + a.width, b.x + b.width);
  const bottom = Math.max(a.y + a.height, b.y + b.height);
  return { x, y, width: right - x, height: bottom - y };
}
