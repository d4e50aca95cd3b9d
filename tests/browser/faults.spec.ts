// Trials with hosts and networks that fail: whatever happens, a model that is whole is the right one.
import type { BrowserContext, Page } from "@playwright/test";
import { expect, site, test } from "./easel_page.ts";
import { CHUNK, type Fault, FaultServer, type Hosted, sha256 } from "./fault_server.ts";

const TRIALS = 200;
const LANES = 4;
const MAX_SESSIONS = 12;

/** Mulberry32: a small generator for which a seed is all. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A model in diffusers layout, of noise. */
function model(random: () => number): Map<string, Buffer> {
  const noise = (size: number) => Buffer.from(Array.from({ length: size }, () => Math.floor(256 * random())));
  const weights = () => noise(Math.floor((0.2 + 4 * random()) * CHUNK));
  const index = {
    _class_name: "StableDiffusionPipeline",
    scheduler: ["diffusers", "DDIMScheduler"],
    text_encoder: ["transformers", "CLIPTextModel"],
    tokenizer: ["transformers", "CLIPTokenizer"],
    unet: ["diffusers", "UNet2DConditionModel"],
    vae: ["diffusers", "AutoencoderKL"],
    safety_checker: [null, null],
  };
  const shards = {
    weight_map: {
      a: "diffusion_pytorch_model-00001.safetensors",
      b: "diffusion_pytorch_model-00002.safetensors",
    },
  };
  return new Map([
    ["model_index.json", Buffer.from(JSON.stringify(index))],
    ["scheduler/scheduler_config.json", Buffer.from("{}")],
    ["text_encoder/config.json", Buffer.from('{"a": 1}')],
    ["text_encoder/model.fp16.safetensors", weights()],
    ["tokenizer/vocab.json", Buffer.from("{}")],
    ["tokenizer/merges.txt", Buffer.from("#version\n")],
    ["unet/config.json", Buffer.from('{"b": 2}')],
    ["unet/diffusion_pytorch_model.safetensors.index.json", Buffer.from(JSON.stringify(shards))],
    ["unet/diffusion_pytorch_model-00001.safetensors", weights()],
    ["unet/diffusion_pytorch_model-00002.safetensors", weights()],
    ["vae/config.json", Buffer.from('{"c": 3}')],
    ["vae/diffusion_pytorch_model.safetensors", weights()],
  ]);
}

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

/** One trial: a model, its host, what goes wrong, and after how many bytes its tab is closed. */
function trial(seed: number): { hosted: Hosted; kills: number[] } {
  const random = generator(seed);
  const files = model(random);
  const size = [...files.values()].reduce((sum, bytes) => sum + bytes.length, 0);
  const kind = (["hub", "hub", "ranges", "no_ranges"] as const)[Math.floor(4 * random())] ?? "hub";
  const faults: Hosted["faults"] = new Map();
  for (let count = Math.floor(6 * random()); count > 0; count -= 1) {
    const answer =
      random() < 0.5
        ? (`weights ${Math.floor(8 * random())}` as const)
        : (`any ${Math.floor(30 * random())}` as const);
    faults.set(answer, fault(random));
  }
  const kills = Array.from({ length: Math.floor(3 * random()) }, () => Math.floor(size * random()));
  return { hosted: { kind, files, faults }, kills };
}

/** Bytes that arrived, by file. */
class Arrivals {
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

/** A page that trials use one after another, and that is closed now and then. */
class Lane {
  readonly #context: BrowserContext;
  #page: Page | undefined;
  arrivals: Arrivals | undefined;

  constructor(context: BrowserContext) {
    this.#context = context;
  }

  async page(): Promise<Page> {
    if (this.#page) return this.#page;
    const page = await this.#context.newPage();
    await page.exposeFunction("noteReceived", (path: string, start: number, length: number) =>
      this.arrivals?.note(path, start, length),
    );
    await page.goto(site("scripted", "icon.svg"));
    await page.evaluate((address) => import(address), site("scripted", "storage_lab.js"));
    this.#page = page;
    return page;
  }

  async kill(): Promise<void> {
    await this.#page?.close();
    this.#page = undefined;
  }
}

/** Most bytes that faults may cost: `interruption` each, or files where no hash of less is known. */
function price(befallen: Fault[], { kind, files }: Hosted, interruption: number): number {
  const largest = Math.max(...[...files.values()].map((bytes) => bytes.length));
  const cost = (fault: Fault) => (fault.kind === "flip" && kind === "hub" ? 4 * largest : interruption);
  return befallen.reduce((sum, fault) => sum + cost(fault), 0);
}

async function run(lane: Lane, server: FaultServer, seed: number): Promise<void> {
  const { hosted, kills } = trial(seed);
  const name = `trial/${seed}`;
  const mounted = server.mount(name, hosted);
  const address = server.address(name);
  lane.arrivals = new Arrivals(hosted.files);
  let killed = 0;
  let result = "";
  for (let session = 0; result !== "whole" && session < MAX_SESSIONS; session += 1) {
    const page = await lane.page();
    const holdAfter = kills.pop();
    if (holdAfter === undefined) delete hosted.holdAfter;
    else hosted.holdAfter = mounted.sent + holdAfter;
    mounted.again();
    const completing = page.evaluate(([to, size]) => lab.complete(to, size), [address, CHUNK] as const);
    const ended = await Promise.race([completing.catch(() => "closed"), mounted.held.then(() => "held")]);
    result = ended;
    if (ended !== "held") continue;
    // The last byte of all may have come before the silence.
    if (await page.evaluate((to) => lab.isWhole(to), address)) result = await completing;
    else result = "";
    await lane.kill();
    killed += 1;
  }
  const page = await lane.page();
  expect(result, `trial ${seed}`).toBe("whole");
  const hashes = await page.evaluate(([to, size]) => lab.hashes(to, size), [address, CHUNK] as const);
  const right = [...hosted.files].map(([path, bytes]) => [path, sha256(bytes)]);
  expect(hashes, `trial ${seed}`).toEqual(Object.fromEntries(right));
  expect(
    mounted.seen.filter(({ method }) => method !== "GET"),
    `trial ${seed}`,
  ).toEqual([]);
  if (hosted.kind === "no_ranges") return;
  // What is lost is a chunk that is not kept yet, and what the browser had just handed over.
  const interruption = CHUNK + lane.arrivals.largest;
  const bound = price(mounted.befallen, hosted, interruption) + killed * interruption;
  expect(lane.arrivals.twice, `bytes that came twice in trial ${seed}`).toBeLessThanOrEqual(bound);
}

test(`${TRIALS} trials of faults and closed tabs end with the right model`, async ({ context }) => {
  test.setTimeout(600_000);
  const server = new FaultServer();
  await server.open();
  try {
    const lanes = Array.from({ length: LANES }, () => new Lane(context));
    await Promise.all(
      lanes.map(async (lane, first) => {
        for (let seed = first; seed < TRIALS; seed += LANES) await run(lane, server, seed);
      }),
    );
  } finally {
    server.close();
  }
});
