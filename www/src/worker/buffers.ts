/** Memory that is used again: fresh memory costs more than what is read into it. */
export class Buffers {
  readonly #most: number;
  /** The oldest first. */
  readonly #free: ArrayBuffer[] = [];
  #bytes = 0;

  /** Keeps at most so many bytes that nobody uses. */
  constructor(most: number) {
    this.#most = most;
  }

  /** A buffer of so many bytes, with anything in it. */
  take(bytes: number): ArrayBuffer {
    const found = this.#free.findIndex((buffer) => buffer.byteLength === bytes);
    const [buffer] = found < 0 ? [] : this.#free.splice(found, 1);
    if (!buffer) return new ArrayBuffer(bytes);
    this.#bytes -= bytes;
    return buffer;
  }

  /** Takes back a buffer that nobody reads any more. */
  give(buffer: ArrayBuffer): void {
    this.#free.push(buffer);
    this.#bytes += buffer.byteLength;
    while (this.#bytes > this.#most) this.#bytes -= this.#free.shift()?.byteLength ?? 0;
  }
}
