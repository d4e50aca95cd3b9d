// What trials with failing hosts have in common: chance, faults, and pages that are closed in the middle.
import type { BrowserContext, Page, Worker } from "@playwright/test";
import { site } from "./easel_page.ts";
import type { Fault, FaultServer, Hosted, Mounted } from "./fault_server.ts";

const MAX_SESSIONS = 12;
const LANES = 4;

/** Mulberry32: a small generator for which a seed is all. */
export function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Something that a host does wrong. */
function fault(random: () => number): Fault {
  const kinds: Fault[] = [
    { kind: "cut", at: random() },
    { kind: "cut", at: random() },
    { kind: "flip", at: random() },
    { kind: "slow" },
    { kind: "long_length" },
    { kind: "short_length" },
    { kind: "other_range" },
    { kind: "other_total" },
    { kind: "page" },
    { kind: "reset" },
    { kind: "status", status: 429, retryAfter: "0" },
    { kind: "status", status: 503, retryAfter: new Date(0).toUTCString() },
    { kind: "status", status: 500 },
  ];
  // A host that goes silent is waited for, so that there are few of them.
  if (random() < 0.03) return { kind: "stall", at: random() };
  return kinds[Math.floor(kinds.length * random())] ?? { kind: "reset" };
}

/** A host, and after how many bytes each of the tabs that fetch from it is closed. */
export interface Trial {
  hosted: Hosted;
  kills: number[];
}

/** A host of any kind for `files`, with less than `most` faults, each at the answer that `answer` draws. */
export function trialWith(
  random: () => number,
  files: ReadonlyMap<string, Buffer>,
  most: number,
  answer: () => `${"any" | "weights"} ${number}`,
): Trial {
  const size = [...files.values()].reduce((sum, bytes) => sum + bytes.length, 0);
  const kind = (["hub", "hub", "ranges", "no_ranges"] as const)[Math.floor(4 * random())] ?? "hub";
  const faults: Hosted["faults"] = new Map();
  for (let count = Math.floor(most * random()); count > 0; count -= 1) faults.set(answer(), fault(random));
  const kills = Array.from({ length: Math.floor(3 * random()) }, () => Math.floor(size * random()));
  return { hosted: { kind, files, faults }, kills };
}

/** Bytes that arrived, by file. */
export class Arrivals {
  readonly #seen = new Map<string, Uint8Array>();
  twice = 0;
  /** Bytes that the browser handed over at once, at most: under load it gathers what came in the meantime. */
  largest = 0;

  constructor(files: ReadonlyMap<string, Buffer>) {
    for (const [path, bytes] of files) this.#seen.set(path, new Uint8Array(bytes.length));
  }

  note(path: string, start: number, length: number): void {
    const seen = this.#seen.get(path);
    if (!seen) return;
    this.largest = Math.max(this.largest, length);
    this.twice += seen.subarray(start, start + length).reduce((sum, count) => sum + count, 0);
    seen.fill(1, start, start + length);
  }
}

/** Opens the page of the laboratory; returns its worker, where the storage is. */
export async function openLab(page: Page): Promise<Worker> {
  await page.goto(site("scripted", "icon.svg"));
  await page.evaluate((address) => import(address), site("scripted", "storage_lab.js"));
  return labWorker(page);
}

function labWorker(page: Page): Worker {
  const worker = page.workers()[0];
  if (!worker) throw new Error("the laboratory has no worker");
  return worker;
}

/** A page that trials use one after another, and that is closed now and then. */
export class Lane {
  readonly #context: BrowserContext;
  #page: Page | undefined;
  arrivals: Arrivals | undefined;

  constructor(context: BrowserContext) {
    this.#context = context;
  }

  /** The worker of the laboratory in the page. */
  async worker(): Promise<Worker> {
    return labWorker(await this.page());
  }

  async page(): Promise<Page> {
    if (this.#page) return this.#page;
    const page = await this.#context.newPage();
    await page.exposeFunction("noteReceived", (path: string, start: number, length: number) =>
      this.arrivals?.note(path, start, length),
    );
    await openLab(page);
    this.#page = page;
    return page;
  }

  async kill(): Promise<void> {
    await this.#page?.close();
    this.#page = undefined;
  }
}

/**
 * Completes a model however often its tab is closed: after `kills` bytes each. Returns the last result, and how many
 * tabs were closed.
 */
export async function completeWithKills(
  lane: Lane,
  mounted: Mounted,
  address: string,
  kills: number[],
  complete: (page: Page) => Promise<string>,
): Promise<{ result: string; killed: number }> {
  const { hosted } = mounted;
  let killed = 0;
  let result = "";
  for (let session = 0; result !== "whole" && session < MAX_SESSIONS; session += 1) {
    const page = await lane.page();
    const holdAfter = kills.pop();
    if (holdAfter === undefined) delete hosted.holdAfter;
    else hosted.holdAfter = mounted.sent + holdAfter;
    mounted.again();
    const completing = complete(page);
    const ended = await Promise.race([completing.catch(() => "closed"), mounted.held.then(() => "held")]);
    result = ended;
    if (ended !== "held") continue;
    // The last byte of all may have come before the silence.
    if (await page.evaluate((to) => lab.isWhole(to), address)) result = await completing;
    else result = "";
    await lane.kill();
    killed += 1;
  }
  return { result, killed };
}

/** Runs trials, some at a time. */
export async function runTrials(
  context: BrowserContext,
  server: FaultServer,
  count: number,
  run: (lane: Lane, seed: number) => Promise<void>,
): Promise<void> {
  await server.open();
  try {
    const lanes = Array.from({ length: LANES }, () => new Lane(context));
    await Promise.all(
      lanes.map(async (lane, first) => {
        for (let seed = first; seed < count; seed += LANES) await run(lane, seed);
      }),
    );
  } finally {
    server.close();
  }
}
