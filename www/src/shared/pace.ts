const RECENT = 5;

/** Says how long a run still takes, from the durations of its latest steps. */
export class Pace {
  readonly #total: number;
  readonly #times: number[];

  /** `total` steps, begun at `now` (milliseconds). */
  constructor(total: number, now: number) {
    this.#total = total;
    this.#times = [now];
  }

  /** Notes that a step ended at `now`. */
  step(now: number): void {
    this.#times.push(now);
  }

  /** Seconds that the remaining steps take; `undefined` before the first one is done. */
  secondsLeft(): number | undefined {
    const recent = this.#times.slice(-RECENT - 1);
    const [first, last] = [recent[0], recent.at(-1)];
    if (first === undefined || last === undefined || recent.length < 2) return undefined;
    const done = this.#times.length - 1;
    return (((last - first) / (recent.length - 1)) * Math.max(0, this.#total - done)) / 1000;
  }
}

const WINDOW_MS = 8000;

/** Says how long a transfer still takes, from how fast it has been lately. */
export class TransferPace {
  #seen: { now: number; loaded: number }[] = [];

  /** Seconds for the rest, when `loaded` of `total` bytes are there at `now` (milliseconds); `undefined` at the beginning. */
  secondsLeft(loaded: number, total: number, now: number): number | undefined {
    this.#seen.push({ now, loaded });
    while ((this.#seen[1]?.now ?? now) < now - WINDOW_MS) this.#seen.shift();
    const [first] = this.#seen;
    // The first moments tell of a connection that is still being made.
    if (!first || now - first.now < 1000 || loaded <= first.loaded) return undefined;
    return ((total - loaded) / (loaded - first.loaded)) * ((now - first.now) / 1000);
  }
}

/** Says how long one of several stages still takes, whatever its pieces are. */
export class StagePace {
  #stage = "";
  #loaded = 0;
  #pace = new TransferPace();

  /** As `TransferPace`; another name, or less than before, is the beginning of a stage. */
  secondsLeft(stage: string, loaded: number, total: number, now: number): number | undefined {
    if (stage !== this.#stage || loaded < this.#loaded) this.#pace = new TransferPace();
    this.#stage = stage;
    this.#loaded = loaded;
    return total > 0 ? this.#pace.secondsLeft(loaded, total, now) : undefined;
  }
}

/** "3.1 s", "48 s", "2 min 5 s". */
export function duration(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** " · 48 s left", what follows an amount; nothing where it is not known. */
export function timeLeft(seconds: number | undefined): string {
  return seconds === undefined ? "" : ` · ${duration(seconds)} left`;
}

/** "36.4 MB". */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** "1.7 GB", or megabytes below that. */
export function fileSize(bytes: number): string {
  return bytes < 999_950_000 ? megabytes(bytes) : `${(bytes / 1e9).toFixed(1)} GB`;
}
