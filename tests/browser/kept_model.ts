// A model of random weights on a host, and a worker that keeps it.
import { randomBytes } from "node:crypto";
import type { BrowserContext, Worker } from "@playwright/test";
import { test } from "./easel_page.ts";
import { type Fault, FaultServer, type Hosted, type Mounted } from "./fault_server.ts";
import { Lane } from "./trials.ts";

/** Some parts of what is checked at once, and a bit. */
export const CHUNK = (1 << 20) + 1000;
/** The file with all that is large. */
export const UNET = "unet/diffusion_pytorch_model.safetensors";

/** On a hub, which has no chunks of its own. */
export function model(): Hosted & { weights: Buffer } {
  const index = { _class_name: "StableDiffusionPipeline", unet: ["diffusers", "UNet2DConditionModel"] };
  const weights = randomBytes(3 * CHUNK + 5);
  const files = new Map([
    ["model_index.json", Buffer.from(JSON.stringify(index))],
    ["unet/config.json", Buffer.from("{}")],
    [UNET, weights],
  ]);
  return { kind: "hub", files, faults: new Map(), weights };
}

/** What a test has. */
export interface Host {
  server: FaultServer;
  hosted: ReturnType<typeof model>;
  mounted: Mounted;
  address: string;
  worker: Worker;
  context: BrowserContext;
}

/** A test with a model on a host and the worker of a laboratory. */
export function testWithModel(title: string, run: (host: Host) => Promise<void>): void {
  test(title, async ({ context }) => {
    const server = new FaultServer();
    await server.open();
    try {
      const hosted = model();
      const mounted = server.mount("kept/model", hosted);
      const worker = await new Lane(context).worker();
      await run({ server, hosted, mounted, address: server.address("kept/model"), worker, context });
    } finally {
      server.close();
    }
  });
}

/** Lets `fault` befall `count` answers with a body, after so many that are right. */
export const befall = ({ hosted, answers }: Mounted, fault: Fault, count = 100, right = 0) => {
  for (let at = 0; at < count; at += 1) hosted.faults.set(`any ${answers + right + at}`, fault);
};

/** Fetches what is missing in a worker, and says how that ended. */
export const complete = (worker: Worker, address: string, size = CHUNK) =>
  worker.evaluate(([to, chunk]) => lab.complete(to, chunk), [address, size] as const);

/** SHA-256 of the large file as a worker reads it. */
export const hashOfWeights = async (worker: Worker, address: string) =>
  (await worker.evaluate(([to, size]) => lab.hashes(to, size), [address, CHUNK] as const))[UNET];
