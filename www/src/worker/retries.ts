import { EaselError } from "../shared/errors.ts";

/** How long to bear with a host. */
export interface Patience {
  /** Failures in a row that end a download. */
  attempts: number;
  /** Lost connections in a row that end one of which bytes have come: the network may be back in minutes. */
  lostConnections: number;
  /** Wait after the first failure; it doubles with each. */
  firstDelayMs: number;
  longestDelayMs: number;
  /** Longest wait that a host may ask for. */
  longestRequestedMs: number;
  /** A connection that brings nothing for so long counts as lost. */
  stallMs: number;
}

export const PATIENCE: Patience = {
  attempts: 5,
  lostConnections: 20,
  firstDelayMs: 500,
  longestDelayMs: 20_000,
  longestRequestedMs: 120_000,
  stallMs: 30_000,
};

/** A failure that may pass: the same request can succeed later. */
export class Transient extends EaselError {
  /** Milliseconds that the host asked to wait. */
  readonly requestedMs: number | undefined;

  constructor(
    code: string,
    message: string,
    options: ErrorOptions & { requestedMs?: number | undefined } = {},
  ) {
    super(code, message, options);
    this.requestedMs = options.requestedMs;
  }
}

/** Counts the failures of one download and waits between its attempts. */
export class Retries {
  readonly #patience: Patience;
  readonly #signal: AbortSignal;
  #begun = false;
  #failures = 0;
  /** Connections that were lost since something came; counted once anything has. */
  #lost = 0;

  constructor(patience: Patience, signal: AbortSignal) {
    this.#patience = patience;
    this.#signal = signal;
  }

  /** Something came: what failed before no longer counts. */
  progress(): void {
    this.#begun = true;
    this.#failures = this.#lost = 0;
  }

  /** Returns when it is time to try again; throws `thrown` when there is no use in it. */
  async after(thrown: unknown): Promise<void> {
    if (!(thrown instanceof Transient)) throw thrown;
    const isLost = this.#begun && thrown.code === "network";
    // Without a network, trying has told nothing. Browsers err, so that it is tried now and then.
    if (isLost && isOffline()) return pause(this.#patience.longestDelayMs, this.#signal, "online");
    const { attempts, lostConnections, longestRequestedMs } = this.#patience;
    if (isLost) this.#lost += 1;
    else this.#failures += 1;
    if (this.#failures >= attempts || this.#lost >= lostConnections) throw thrown;
    const { requestedMs } = thrown;
    if (requestedMs !== undefined && requestedMs > longestRequestedMs) throw thrown;
    await pause(requestedMs ?? this.#delay(), this.#signal);
  }

  /** Clients that failed together must not come back together, so that half of the delay is random. */
  #delay(): number {
    const { firstDelayMs, longestDelayMs } = this.#patience;
    const failures = Math.max(this.#failures, this.#lost);
    const longest = Math.min(longestDelayMs, firstDelayMs * 2 ** (failures - 1));
    return (longest * (1 + Math.random())) / 2;
  }
}

/** Runs `attempt` until it succeeds or there is no use in it. */
export async function withRetries<T>(retries: Retries, attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      await retries.after(error);
    }
  }
}

/** Milliseconds that a `Retry-After` header asks for: it holds seconds or a date. */
export function requestedDelay(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  const delay = /^\d+$/.test(header.trim()) ? 1000 * Number(header) : Date.parse(header) - now;
  return Number.isNaN(delay) ? undefined : Math.max(0, delay);
}

/** The error of work that was stopped: of a download, unless `message` tells of other work. */
export function stopped(message = "the download was stopped: what has arrived is kept"): EaselError {
  return new EaselError("cancelled", message);
}

/** Whether the browser says that there is no network; that it says nothing means little. */
function isOffline(): boolean {
  return navigator.onLine === false;
}

/** Waits so long, or until the event `wake`; throws as soon as `signal` is aborted. */
function pause(milliseconds: number, signal: AbortSignal, wake?: "online"): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(done, milliseconds);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      if (wake) removeEventListener(wake, done);
      if (signal.aborted) reject(stopped());
      else resolve();
    }
    signal.addEventListener("abort", done);
    if (wake) addEventListener(wake, done);
    if (signal.aborted) done();
  });
}
