import type { GenerateParams, Snapshot } from "../../shared/protocol.ts";
import { make } from "../make.ts";
import type { Moment } from "./moments.ts";

/** Most frames that are kept of one picture; of longer runs every second, fourth… step stays. */
const MOST_FRAMES = 100;

/** A moment with its picture. */
export interface Frame {
  moment: Moment;
  picture: HTMLCanvasElement;
}

/** One picture in the making, or made: all that was seen on the way. */
export class Take {
  readonly params: GenerateParams;
  frames: Frame[] = [];
  /** The finished picture. */
  png: Blob | undefined;
  #stride = 1;

  constructor(params: GenerateParams) {
    this.params = params;
  }

  /** Adds what was seen at a moment; the bitmap is used up. */
  add(moment: Moment, snapshot: Snapshot): void {
    const { width, height } = snapshot;
    const picture = make("canvas", { width, height });
    picture.getContext("bitmaprenderer")?.transferFromImageBitmap(snapshot);
    if (this.frames.length >= MOST_FRAMES) this.#thin();
    this.frames.push({ moment, picture });
  }

  /** About how many frames are still to come, if it is drawn to its end. */
  get toCome(): number {
    const last = this.frames.at(-1)?.moment;
    if (!last || last.kind === "picture") return 0;
    if (last.kind === "noise") return this.params.steps + 1;
    return Math.floor((last.total - last.index) / this.#stride) + 1;
  }

  #thin(): void {
    this.#stride *= 2;
    this.frames = this.frames.filter(
      ({ moment }) => moment.kind !== "step" || moment.index === 1 || moment.index % this.#stride === 0,
    );
  }
}
