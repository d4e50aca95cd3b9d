// Kept models that changed on their host: what they are replaced by, when, and when not.
import type { Worker } from "@playwright/test";
import { expect } from "./easel_page.ts";
import { sha256 } from "./fault_server.ts";
import {
  befall,
  CHUNK,
  complete,
  type Host,
  hashOfWeights,
  model,
  testWithModel,
  UNET,
} from "./kept_model.ts";
import { Lane } from "./trials.ts";

/** A model of a folder with a manifest that is kept, open in one tab, and changed on its host. */
function testWithChanged(
  title: string,
  run: (host: Host & { address: string; next: Buffer }) => Promise<void>,
): void {
  testWithModel(title, async ({ server, ...host }) => {
    const { weights, files } = model();
    const hosted: Host["hosted"] = { kind: "ranges", files, faults: new Map(), weights };
    const mounted = server.mount("kept/folder", hosted);
    const address = server.address("kept/folder");
    await complete(host.worker, address);
    await host.worker.evaluate(([to, size]) => lab.open(to, size), [address, CHUNK] as const);
    const next = Buffer.concat([Buffer.from(weights).reverse(), Buffer.alloc(CHUNK)]);
    hosted.files = new Map(files).set(UNET, next);
    await run({ ...host, server, hosted, mounted, address, next });
  });
}

const hashOfOpen = (worker: Worker, address: string) =>
  worker.evaluate(([to, path]) => lab.hash(to, path), [address, UNET] as const);

/** What keeps a model from being replaced by what its host has now. */
const HINDRANCES: { name: string; hinder: (host: Host) => unknown }[] = [
  { name: "is not sent", hinder: ({ mounted }) => befall(mounted, { kind: "reset" }, 20, 2) },
  {
    name: "cannot be read",
    hinder: ({ hosted }) => {
      hosted.files = new Map([["../outside", Buffer.of(1)]]);
    },
  },
  {
    name: "has no room",
    hinder: ({ worker }) =>
      worker.evaluate(() => {
        const { estimate } = StorageManager.prototype;
        StorageManager.prototype.estimate = async () => {
          StorageManager.prototype.estimate = estimate;
          return { quota: 1, usage: 1 };
        };
      }),
  },
];

for (const { name, hinder } of HINDRANCES) {
  testWithChanged(`a kept model is loaded when what its host has now ${name}`, async (host) => {
    const { hosted, address, next, worker } = host;
    await worker.evaluate((to) => lab.close(to), address);
    const { files } = hosted;
    await hinder(host);
    expect(await hashOfWeights(worker, address)).toBe(sha256(hosted.weights));
    Object.assign(hosted, { files, faults: new Map() });
    expect(await hashOfWeights(worker, address)).toBe(sha256(next));
  });
}

testWithChanged(
  "a model that changed is replaced when no tab has it open",
  async ({ hosted, address, next, worker, context }) => {
    const other = await new Lane(context).worker();
    expect(await complete(other, address)).toBe("whole");
    expect(await hashOfOpen(worker, address)).toBe(sha256(hosted.weights));
    expect(await hashOfWeights(other, address)).toBe(sha256(hosted.weights));
    await worker.evaluate(([to, path]) => lab.forgetChunk(to, path, 1), [address, UNET] as const);
    expect(await complete(other, address)).toMatch(/^busy: .* close that tab, then load again$/);
    // Workers that are ended keep their locks for a while.
    await worker.evaluate((to) => void setTimeout(() => lab.close(to), 500), address);
    expect(await complete(other, address)).toBe("whole");
    expect(await hashOfWeights(other, address)).toBe(sha256(next));
  },
);

testWithChanged(
  "a model that was replaced although a tab has it open is not read there",
  async ({ address, next, worker, context }) => {
    const other = await new Lane(context).worker();
    await other.evaluate((to) => lab.forget(to), address);
    await complete(other, address);
    await expect(hashOfOpen(worker, address)).rejects.toThrow("has been replaced");
    expect(await hashOfWeights(other, address)).toBe(sha256(next));
  },
);
