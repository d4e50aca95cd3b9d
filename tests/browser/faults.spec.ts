// Trials with hosts and networks that fail: whatever happens, a model that is whole is the right one.
import type { Page } from "@playwright/test";
import { expect, test } from "./easel_page.ts";
import { CHUNK, type Fault, FaultServer, type Hosted, sha256 } from "./fault_server.ts";
import {
  Arrivals,
  completeWithKills,
  generator,
  type Lane,
  runTrials,
  type Trial,
  trialWith,
} from "./trials.ts";

const TRIALS = 200;

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

function trial(seed: number): Trial {
  const random = generator(seed);
  return trialWith(random, model(random), 6, () =>
    random() < 0.5 ? `weights ${Math.floor(8 * random())}` : `any ${Math.floor(30 * random())}`,
  );
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
  const complete = (page: Page) =>
    page.evaluate(([to, size]) => lab.complete(to, size), [address, CHUNK] as const);
  const { result, killed } = await completeWithKills(lane, mounted, address, kills, complete);
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
  await runTrials(context, server, TRIALS, (lane, seed) => run(lane, server, seed));
});
