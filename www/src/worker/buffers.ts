/** Memory that is used again: fresh memory costs more than what is read into it. */
export class Buffers {
  readonly #most: number;
  /** The oldest first. */
  readonly #free: ArrayBuffer[] = [];

  /** Keeps at most so many that nobody uses. */
  constructor(most: number) {
    this.#most = most;
  }

  /** A buffer of so many bytes, with anything in it. */
  take(bytes: number): ArrayBuffer {
    const found = this.#free.findIndex((buffer) => buffer.byteLength === bytes);
    return this.#free.splice(found, found < 0 ? 0 : 1)[0] ?? new ArrayBuffer(bytes);
  }

  /** Takes back a buffer that nobody reads any more. */
  give(buffer: ArrayBuffer): void {
    this.#free.push(buffer);
    if (this.#free.length > this.#most) this.#free.shift();
  }
}
