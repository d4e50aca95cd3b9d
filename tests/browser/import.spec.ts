// Weights that are packed as they arrive: the same bytes as natively, whatever goes wrong, in little memory.

import { readdirSync, readFileSync } from "node:fs";
import type { Page } from "@playwright/test";
import { goldenCheckpoint } from "./checkpoint.ts";
import { expect, test } from "./easel_page.ts";
import { CHUNK, FaultServer, type Hosted, sha256 } from "./fault_server.ts";
import { serveLargeModel } from "./large_model.ts";
import { safetensors, type Tensor } from "./safetensors.ts";
import { Arrivals, completeWithKills, generator, Lane, runTrials, type Trial, trialWith } from "./trials.ts";

const TRIALS = 40;
const GOLDENS = new URL("../goldens/", import.meta.url);

const complete = (address: string, chunk = CHUNK, quant: "mixed" | "q8" | "none" | "auto" = "mixed") => {
  const asked = [address, chunk, quant] as const;
  return (page: Page) => page.evaluate(([to, size, how]) => lab.complete(to, size, undefined, how), asked);
};

const hashes = (page: Page, address: string) =>
  page.evaluate(([to, size]) => lab.hashes(to, size, "auto"), [address, CHUNK] as const);

/** A safetensors file of small random tensors. */
function weights(names: string[], random: () => number): Buffer {
  const tensor = (name: string): Tensor => {
    const shape = name.endsWith(".weight")
      ? [Math.ceil(70 * random()), Math.ceil(90 * random()), ...(random() < 0.3 ? [3, 3] : [])]
      : [Math.ceil(9 * random())];
    const half = random() < 0.7;
    const numbers = shape.reduce((product, size) => product * size, 1);
    const bytes = Buffer.alloc(numbers * (half ? 2 : 4));
    for (let i = 0; i < numbers; i += 1) {
      // Halves of 0.5 to 2 with either sign.
      if (half)
        bytes.writeUInt16LE(0x3800 + Math.floor(0x800 * random()) + (random() < 0.5 ? 0x8000 : 0), 2 * i);
      else bytes.writeFloatLE(random() - 0.5, 4 * i);
    }
    return { name, dtype: half ? "F16" : "F32", shape, bytes };
  };
  return safetensors(names.map(tensor));
}

function model(random: () => number): Map<string, Buffer> {
  const layers = (stem: string) =>
    Array.from({ length: 1 + Math.floor(5 * random()) }, (_, i) => [
      `${stem}.${i}.weight`,
      `${stem}.${i}.bias`,
    ]);
  const index = {
    _class_name: "StableDiffusionPipeline",
    text_encoder: ["transformers", "CLIPTextModel"],
    unet: ["diffusers", "UNet2DConditionModel"],
  };
  return new Map([
    ["model_index.json", Buffer.from(JSON.stringify(index))],
    ["text_encoder/config.json", Buffer.from("{}")],
    [
      "text_encoder/model.safetensors",
      weights([...layers("self_attn.v_proj").flat(), "token_embedding.weight"], random),
    ],
    ["unet/config.json", Buffer.from("{}")],
    [
      "unet/diffusion_pytorch_model.fp16.safetensors",
      weights([...layers("b").flat(), ...layers("a").flat(), "conv_out.weight"], random),
    ],
  ]);
}

const CHECKPOINT = "model.safetensors";

/** Every third trial is of a checkpoint; where hosts tell no hash of one, nobody can see that bytes were changed. */
function trial(seed: number): Trial {
  const random = generator(seed);
  const files = seed % 3 === 2 ? new Map([[CHECKPOINT, goldenCheckpoint(random)]]) : model(random);
  const made = trialWith(random, files, 5, () => `weights ${Math.floor(16 * random())}`);
  if (seed % 3 === 2 && made.hosted.kind !== "hub") {
    for (const [answer, { kind }] of made.hosted.faults)
      if (kind === "flip") made.hosted.faults.set(answer, { kind: "reset" });
  }
  return made;
}

test(`${TRIALS} trials of faults and closed tabs end with the weights of a calm import`, async ({
  context,
}) => {
  test.setTimeout(300_000);
  const server = new FaultServer();
  await runTrials(context, server, TRIALS, async (lane, seed) => {
    const { hosted, kills } = trial(seed);
    const calm: Hosted = { kind: hosted.kind, files: hosted.files, faults: new Map() };
    server.mount(`calm/${seed}`, calm);
    const mounted = server.mount(`trial/${seed}`, hosted);
    const file = hosted.files.has(CHECKPOINT) ? CHECKPOINT : "";
    const [reference, address] = ["calm", "trial"].map(
      (name) => server.address(`${name}/${seed}`) + file,
    ) as [string, string];
    expect(await complete(reference)(await lane.page()), `trial ${seed}, calm`).toBe("whole");
    lane.arrivals = new Arrivals(hosted.files);
    const { result, killed } = await completeWithKills(lane, mounted, address, kills, complete(address));
    expect(result, `trial ${seed}`).toBe("whole");
    const page = await lane.page();
    const [found, right] = [await hashes(page, address), await hashes(page, reference)];
    expect(found, `trial ${seed}`).toEqual(right);
    const weights = file || "unet/diffusion_pytorch_model.fp16.safetensors";
    const original = hosted.files.get(weights);
    expect(found[weights], `trial ${seed}`).not.toBe(original && sha256(original));
    if (hosted.kind === "no_ranges" || mounted.befallen.some(({ kind }) => kind === "flip")) return;
    // What is lost is a tensor, at most what made a chunk, and what the browser had handed over; headers are read again.
    const tensor = 70 * 90 * 9 * 4;
    const each = tensor + 8 * CHUNK + lane.arrivals.largest;
    const header = file ? 80_000 : 4096;
    const headers = 2 * header * (2 + 2 * killed + mounted.befallen.length);
    expect(lane.arrivals.twice, `bytes that came twice in trial ${seed}`).toBeLessThanOrEqual(
      headers + each * (killed + mounted.befallen.length),
    );
  });
});

// A hub tells the hash of what is packed, which then is made beside; other hosts refuse what they lack.
for (const { kind, absence } of [
  { kind: "hub", absence: 404 },
  { kind: "ranges", absence: 403 },
] as const) {
  test(`a checkpoint that was paused is finished from a host of kind ${kind}`, async ({ context }) => {
    const server = new FaultServer();
    await server.open();
    const files = new Map([[CHECKPOINT, goldenCheckpoint(generator(5))]]);
    server.mount("a/paused", { kind, files, faults: new Map(), absence });
    const address = server.address("a/paused") + CHECKPOINT;
    const page = await new Lane(context).page();
    await page.evaluate(() => lab.hashBeside("slow"));
    expect(await page.evaluate(() => lab.giveUpHash())).toMatch(/^cancelled/);
    const asked = [address, CHUNK] as const;
    const { result } = await page.evaluate(([to, size]) => lab.pause(to, size, "mixed"), asked);
    expect(result).toMatch(/^cancelled/);
    await page.evaluate(() => lab.hashBeside("quick"));
    expect(await complete(address)(page)).toBe("whole");
    server.close();
  });
}

/** The golden model, which `easel import` packs in a test of its own. */
function golden(): Map<string, Buffer> {
  const folder = new URL("models/sd1/", GOLDENS);
  const paths = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) =>
    path.includes("."),
  );
  return new Map(paths.map((path) => [path, readFileSync(new URL(path, folder))]));
}

test("a model is packed as `easel import` packs it, and mended with the same bytes", async ({ context }) => {
  const right = JSON.parse(readFileSync(new URL("../support/packed_sd1.json", import.meta.url), "utf8"));
  const server = new FaultServer();
  await server.open();
  const hosted: Hosted = { kind: "hub", files: golden(), faults: new Map() };
  const mounted = server.mount("golden/sd1", hosted);
  const address = server.address("golden/sd1");
  const lane = new Lane(context);
  const page = await lane.page();
  try {
    expect(await complete(address)(page)).toBe("whole");
    expect(await hashes(page, address)).toMatchObject(right);
    const unet = "unet/diffusion_pytorch_model.safetensors";
    lane.arrivals = new Arrivals(hosted.files);
    const before = mounted.sent;
    await page.evaluate(([to, path]) => lab.damage(to, path, [3, 4]), [address, unet] as const);
    expect(await hashes(page, address)).toMatchObject(right);
    expect(mounted.sent - before).toBeGreaterThan(CHUNK);
    expect(mounted.sent - before).toBeLessThan((hosted.files.get(unet)?.length ?? 0) / 2);
    // Kept as it is while nobody wants it otherwise; small models stay as they are published.
    const requests = mounted.seen.length;
    expect(await complete(address, CHUNK, "auto")(page)).toBe("whole");
    expect(mounted.seen.length).toBe(requests);
    expect(await page.evaluate((to) => lab.quantOf(to), address)).toBe("mixed");
    expect(await complete(address, CHUNK, "none")(page)).toBe("whole");
    expect(await page.evaluate((to) => lab.quantOf(to), address)).toBe("none");
    expect((await hashes(page, address))[unet]).toBe(sha256(hosted.files.get(unet) as Buffer));
    server.mount("golden/small", hosted);
    const small = server.address("golden/small");
    expect(await complete(small, CHUNK, "auto")(page)).toBe("whole");
    expect((await hashes(page, small))[unet]).toBe(sha256(hosted.files.get(unet) as Buffer));
  } finally {
    server.close();
  }
});

test("a model that changes while it is fetched keeps its files that are whole and the same", async ({
  context,
}) => {
  const random = generator(7);
  const [encoder, unet] = ["text_encoder/model.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors"];
  const names = Array.from({ length: 16 }, (_, i) => `b.${i}.weight`);
  const files = new Map([
    ...model(random),
    [encoder, weights(names, random)],
    [unet, weights(names, random)],
  ]);
  const size = (path: string) => files.get(path)?.length ?? 0;
  const hosted: Hosted = { kind: "ranges", files, faults: new Map() };
  const server = new FaultServer();
  await server.open();
  const mounted = server.mount("changing/model", hosted);
  const address = server.address("changing/model");
  const lane = new Lane(context);
  try {
    hosted.holdAfter = size(encoder) + size(unet) * 0.7;
    complete(address)(await lane.page()).catch(() => "closed");
    await mounted.held;
    await lane.kill();
    delete hosted.holdAfter;
    files.set(unet, weights(names, random));
    const before = mounted.seen.length;
    const page = await lane.page();
    // As "Finish" does, which knows no choice: the one that was made holds on.
    expect(await complete(address, CHUNK, "auto")(page)).toBe("whole");
    const again = mounted.seen.slice(before).filter(({ path }) => path === encoder);
    const ends = again.map(({ range }) => Number(range?.split("-")[1] ?? size(encoder)));
    // Its header only, to plan it.
    expect(Math.max(0, ...ends)).toBeLessThan(4096);
    // What was noted of it holds: a damaged chunk is made again alone.
    const right = await hashes(page, address);
    const sent = mounted.sent;
    await page.evaluate(([to, path]) => lab.damage(to, path, [1]), [address, encoder] as const);
    expect(await hashes(page, address)).toEqual(right);
    expect(mounted.sent - sent).toBeLessThan(size(encoder));
  } finally {
    server.close();
  }
});

// With EASEL_IMPORT_MIB=1700 it is the whole UNet, and with EASEL_IMPORT_HASH=no the host tells no hash of it.
test("an import takes the engine little memory, however large the file is", async ({ context }) => {
  const mib = Number(process.env.EASEL_IMPORT_MIB ?? 60);
  test.setTimeout(60_000 + 1000 * mib);
  const { address, size, close } = await serveLargeModel(mib, process.env.EASEL_IMPORT_HASH !== "no");
  const page = await new Lane(context).page();
  await page.evaluate(() => lab.hashBeside("quick"));
  try {
    const before = performance.now();
    expect(await complete(address, 4 << 20)(page)).toBe("whole");
    const seconds = (performance.now() - before) / 1000;
    const used = await page.evaluate(() => lab.engineBytes());
    const figures = `${(size / 1e6).toFixed(0)} MB in ${seconds.toFixed(1)} s, ${(used / 2 ** 20).toFixed(0)} MiB`;
    test.info().annotations.push({ type: "import", description: figures });
    console.log(figures);
    expect(used).toBeLessThan(128 << 20);
  } finally {
    close();
  }
});
