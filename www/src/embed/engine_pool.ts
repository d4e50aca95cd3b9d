// Elements of one page that name the same model share its engine, which goes with the last of them.
import { Easel } from "../client/easel.ts";
import type { Progress } from "../client/types.ts";

/** A share in an engine. */
export interface Lease {
  readonly engine: Promise<Easel>;
  /** Gives the share back; the last one to do so ends a load that is under way, and disposes of the engine. */
  release(): void;
}

const pool = new Map<string, SharedEngine>();

/** The engine of a model, loaded when nobody has it yet; `onProgress` hears of the load. */
export function lease(model: URL, onProgress: (progress: Progress) => void): Lease {
  let shared = pool.get(model.href);
  if (!shared?.usable) {
    shared = new SharedEngine(model);
    pool.set(model.href, shared);
  }
  return shared.join(onProgress);
}

class SharedEngine {
  readonly #model: URL;
  readonly #engine: Promise<Easel>;
  readonly #abort = new AbortController();
  readonly #listeners = new Set<(progress: Progress) => void>();
  #loaded: Easel | undefined;
  #failed = false;

  constructor(model: URL) {
    this.#model = model;
    const onProgress = (progress: Progress) => {
      for (const listener of this.#listeners) listener(progress);
    };
    this.#engine = Easel.load(model, { signal: this.#abort.signal, onProgress });
    this.#engine.then(
      (engine) => {
        this.#loaded = engine;
      },
      () => {
        this.#failed = true;
      },
    );
  }

  /** Engines that broke down, or that could not be loaded, are tried anew. */
  get usable(): boolean {
    return !this.#failed && !this.#loaded?.disposed && !this.#abort.signal.aborted;
  }

  join(onProgress: (progress: Progress) => void): Lease {
    // Its own function, since one listener may join twice.
    const listener = (progress: Progress) => onProgress(progress);
    this.#listeners.add(listener);
    const release = () => {
      if (this.#listeners.delete(listener) && this.#listeners.size === 0) this.#end();
    };
    return { engine: this.#engine, release };
  }

  #end(): void {
    this.#abort.abort();
    this.#loaded?.dispose();
    if (pool.get(this.#model.href) === this) pool.delete(this.#model.href);
  }
}
