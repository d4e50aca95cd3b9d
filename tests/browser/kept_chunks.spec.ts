// The forms that chunks are kept in, and what becomes of chunks that cannot be read.
import { randomBytes } from "node:crypto";
import type { Page } from "@playwright/test";
import { expect, test } from "./easel_page.ts";
import { FaultServer, type Hosted, sha256 } from "./fault_server.ts";
import { Lane } from "./trials.ts";

/** Two of its parts and a bit, so that a chunk has several hashes. */
const CHUNK = (1 << 20) + 1000;
const UNET = "unet/diffusion_pytorch_model.safetensors";

/** What the browser of the test does with chunks; runs in the page. */
const BROWSERS: { name: string; kept: string; prepare: () => void }[] = [
  { name: "Blobs", kept: "Blob", prepare: () => {} },
  {
    name: "no Blobs, as it says at once",
    kept: "ArrayBuffer",
    prepare: () => {
      const { put } = IDBObjectStore.prototype;
      IDBObjectStore.prototype.put = function (value, key) {
        if (value.data instanceof Blob) throw new DOMException("Blobs are not supported", "DataCloneError");
        return put.call(this, value, key);
      };
    },
  },
  {
    name: "no Blobs, as it finds when it writes them",
    kept: "ArrayBuffer",
    prepare: () => {
      const { put } = IDBObjectStore.prototype;
      const { commit } = IDBTransaction.prototype;
      const refused = new WeakSet<IDBTransaction>();
      IDBObjectStore.prototype.put = function (value, key) {
        if (value.data instanceof Blob) refused.add(this.transaction);
        return put.call(this, value, key);
      };
      IDBTransaction.prototype.commit = function () {
        return refused.has(this) ? this.abort() : commit.call(this);
      };
    },
  },
];

/** On a hub, which has no chunks of its own. */
function model(): Hosted & { weights: Buffer } {
  const index = { _class_name: "StableDiffusionPipeline", unet: ["diffusers", "UNet2DConditionModel"] };
  const weights = randomBytes(3 * CHUNK + 5);
  const files = new Map([
    ["model_index.json", Buffer.from(JSON.stringify(index))],
    ["unet/config.json", Buffer.from("{}")],
    [UNET, weights],
  ]);
  return { kind: "hub", files, faults: new Map(), weights };
}

const hashOfWeights = async (page: Page, address: string) =>
  (await page.evaluate(([to, size]) => lab.hashes(to, size), [address, CHUNK] as const))[UNET];

for (const { name, kept, prepare } of BROWSERS) {
  test(`a browser that keeps ${name}: a damaged chunk is fetched anew, and nothing else`, async ({
    context,
  }) => {
    const server = new FaultServer();
    await server.open();
    const hosted = model();
    const mounted = server.mount("kept/model", hosted);
    const address = server.address("kept/model");
    try {
      const page = await new Lane(context).page();
      await page.evaluate(prepare);
      const complete = () => page.evaluate(([to, size]) => lab.complete(to, size), [address, CHUNK] as const);
      expect(await complete()).toBe("whole");
      expect(await page.evaluate((to) => lab.formsOf(to), address)).toEqual([kept]);
      const requests = mounted.seen.length;
      expect(await hashOfWeights(page, address)).toBe(sha256(hosted.weights));
      expect(mounted.seen.slice(requests).filter(({ path }) => path.endsWith(UNET))).toEqual([]);
      // In its last part, of which it has a hash of its own.
      const damage = [address, UNET, 1, CHUNK - 1] as const;
      await page.evaluate(([to, path, index, at]) => lab.damage(to, path, [index], at), damage);
      const sent = mounted.sent;
      expect(await hashOfWeights(page, address)).toBe(sha256(hosted.weights));
      expect(mounted.sent - sent).toBeGreaterThanOrEqual(CHUNK);
      expect(mounted.sent - sent).toBeLessThan(2 * CHUNK);
    } finally {
      server.close();
    }
  });
}

test("chunks that were kept as buffers, with one hash each, are read as they are", async ({ context }) => {
  const server = new FaultServer();
  await server.open();
  const hosted = model();
  const mounted = server.mount("kept/before", hosted);
  const address = server.address("kept/before");
  try {
    const page = await new Lane(context).page();
    await page.evaluate(([to, size]) => lab.complete(to, size), [address, CHUNK] as const);
    await page.evaluate((to) => lab.keepAsBefore(to), address);
    expect(await page.evaluate((to) => lab.formsOf(to), address)).toEqual(["ArrayBuffer"]);
    const requests = mounted.seen.length;
    expect(await hashOfWeights(page, address)).toBe(sha256(hosted.weights));
    expect(mounted.seen.slice(requests).filter(({ path }) => path.endsWith(UNET))).toEqual([]);
    await page.evaluate(([to, path]) => lab.damage(to, path, [2]), [address, UNET] as const);
    const sent = mounted.sent;
    expect(await hashOfWeights(page, address)).toBe(sha256(hosted.weights));
    expect(mounted.sent - sent).toBeLessThan(2 * CHUNK);
  } finally {
    server.close();
  }
});

test("a Blob that the browser has lost is fetched anew, or its file is named", async ({ context }) => {
  const server = new FaultServer();
  await server.open();
  const hosted = model();
  const mounted = server.mount("kept/lost", hosted);
  const address = server.address("kept/lost");
  try {
    const page = await new Lane(context).page();
    await page.evaluate(([to, size]) => lab.complete(to, size), [address, CHUNK] as const);
    const lost = [CHUNK, UNET] as const;
    await page.evaluate(([size, path]) => {
      const { arrayBuffer } = Blob.prototype;
      let isLost = true;
      Blob.prototype.arrayBuffer = async function () {
        if (this.size === size && isLost) throw new DOMException("it is gone", "NotReadableError");
        return arrayBuffer.call(this);
      };
      globalThis.noteReceived = (received) => {
        if (received === path) isLost = false;
      };
    }, lost);
    const sent = mounted.sent;
    expect(await hashOfWeights(page, address)).toBe(sha256(hosted.weights));
    expect(mounted.sent - sent).toBeGreaterThanOrEqual(CHUNK);
    expect(mounted.sent - sent).toBeLessThan(2 * CHUNK);
    await page.evaluate(() => {
      Blob.prototype.arrayBuffer = () => Promise.reject(new DOMException("it is gone", "NotReadableError"));
    });
    server.close();
    const failed = hashOfWeights(page, address);
    await expect(failed).rejects.toThrow(
      /the kept copy of .* is damaged.* check the network, then load again/,
    );
  } finally {
    server.close();
  }
});
