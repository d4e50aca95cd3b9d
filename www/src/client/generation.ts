import { asEaselError, EaselError } from "../shared/errors.ts";
import type { GenerateEvent, Outcome } from "../shared/protocol.ts";
import type { GenerateOptions, Picture, Step } from "./types.ts";

/** What a generation asks of its engine: to run with these events and this signal. */
type Run = (onEvent: (event: GenerateEvent) => void, signal: AbortSignal) => Promise<Outcome>;

/**
 * A picture in the making. Iterate it for its steps; leaving the loop early stops the run. Steps wait for the loop, and
 * those from before there was one are dropped.
 */
export class Generation implements AsyncIterable<Step> {
  /** The seed in use, also where none was given. */
  readonly seed: number;
  /** The finished picture. Rejected with an `EaselError`; of a run that was stopped with the name `AbortError`. */
  readonly result: Promise<Picture>;
  readonly #abort = new AbortController();
  #reader: StepReader | undefined;

  /** @internal */
  constructor(seed: number, { signal, onProgress }: GenerateOptions, run: Run) {
    this.seed = seed;
    const stop = () => this.stop();
    signal?.addEventListener("abort", stop);
    if (signal?.aborted) stop();
    let warnings: string[] = [];
    const onEvent = (event: GenerateEvent) => {
      if (event.type === "step") this.#take(event);
      else if (event.type === "started") {
        warnings = event.warnings;
        event.picture.close();
      } else if (event.type === "prepare") {
        const { stage, loaded, total } = event;
        onProgress?.({ stage, loaded, total });
      } else onProgress?.({ stage: "decoding", loaded: 0, total: 1 });
    };
    this.result = run(onEvent, this.#abort.signal)
      .then((outcome) => ({ ...finished(outcome, signal), seed, warnings }))
      .finally(() => signal?.removeEventListener("abort", stop));
    // Whoever only iterates hears of a failure there.
    this.result.catch(() => {});
  }

  /** Ends the run within a step. */
  stop(): void {
    this.#abort.abort();
  }

  [Symbol.asyncIterator](): AsyncIterator<Step, undefined> {
    const reader = new StepReader(() => this.stop());
    this.#reader = reader;
    this.result.then(
      () => reader.end(),
      (error) => reader.end(asEaselError(error)),
    );
    return reader;
  }

  #take({ index, total, timestep, sigma, picture }: Step): void {
    if (this.#reader) this.#reader.push({ index, total, timestep, sigma, picture });
    else picture.close();
  }
}

function finished(outcome: Outcome, signal: AbortSignal | undefined): Omit<Picture, "seed" | "warnings"> {
  if (outcome.type === "stopped") {
    throw new EaselError("cancelled", "the picture was stopped", { cause: signal?.reason });
  }
  const { width, height, png, picture } = outcome;
  picture.close();
  return { width, height, png };
}

interface Waiting {
  resolve: (result: IteratorResult<Step, undefined>) => void;
  reject: (error: EaselError) => void;
}

/** Steps that have come and are not read yet, or a reader that waits for the next. */
class StepReader implements AsyncIterator<Step, undefined> {
  readonly #onReturn: () => void;
  readonly #steps: Step[] = [];
  #waiting: Waiting[] = [];
  #ended: { error: EaselError | undefined } | undefined;

  constructor(onReturn: () => void) {
    this.#onReturn = onReturn;
  }

  push(step: Step): void {
    const reader = this.#waiting.shift();
    if (this.#ended) step.picture.close();
    else if (reader) reader.resolve({ value: step, done: false });
    else this.#steps.push(step);
  }

  /** No more steps come; readers hear of `error` after those that are left. */
  end(error?: EaselError): void {
    if (this.#ended) return;
    this.#ended = { error };
    for (const reader of this.#waiting) settle(reader, error);
    this.#waiting = [];
  }

  next(): Promise<IteratorResult<Step, undefined>> {
    const step = this.#steps.shift();
    if (step) return Promise.resolve({ value: step, done: false });
    return new Promise((resolve, reject) => {
      if (this.#ended) settle({ resolve, reject }, this.#ended.error);
      else this.#waiting.push({ resolve, reject });
    });
  }

  /** The loop was left. */
  return(): Promise<IteratorResult<Step, undefined>> {
    this.#onReturn();
    this.end();
    for (const { picture } of this.#steps.splice(0)) picture.close();
    return Promise.resolve({ value: undefined, done: true });
  }
}

function settle({ resolve, reject }: Waiting, error: EaselError | undefined): void {
  if (error) reject(error);
  else resolve({ value: undefined, done: true });
}
