import type { FromFrame } from "./frame_protocol.ts";

/** Where `postMessage` may send a message that says nothing of the visitor. */
const ANYONE = "*";

/**
 * The page that a frame is in. Only messages of its window and of an allowed origin are heard, and answers go to the origin
 * that spoke, so that a page that takes its place gets none.
 */
export class FrameParent {
  readonly #window: Window;
  /** Undefined for any. */
  readonly #allowed: readonly string[] | undefined;
  #origin: string | undefined;

  /**
   * `allowed` are the origins that a build lets embed it, none for any. `pinned` is the one that the frame's address
   * names; a frame with one listens to no other.
   */
  constructor(window: Window, allowed: readonly string[], pinned: string | null) {
    this.#window = window;
    const any = allowed.length === 0;
    if (pinned === null) this.#allowed = any ? undefined : allowed;
    else this.#allowed = any || allowed.includes(pinned) ? [pinned] : [];
  }

  /** Whether to listen to a message; from then on its origin is the one that is answered. */
  accepts({ source, origin }: MessageEvent): boolean {
    // The origin "null" is that of any sandbox: no answer could be meant for one.
    if (source !== this.#window || origin === "null") return false;
    if (this.#allowed && !this.#allowed.includes(origin)) return false;
    this.#origin = origin;
    return true;
  }

  /**
   * Says what is nobody's answer to all who may be the parent: that messages are heard, or what is wrong with the frame's
   * address, which the parent wrote. The browser drops what is for others.
   */
  announce(message: FromFrame): void {
    for (const origin of this.#allowed ?? [ANYONE]) this.#window.postMessage(message, origin);
  }

  /** Says something to the origin that spoke; before one did, nobody is told. */
  tell(message: FromFrame, transfer: Transferable[] = []): void {
    if (this.#origin !== undefined) this.#window.postMessage(message, this.#origin, transfer);
  }
}
