// What the engine is told of an adapter's features, and what it gets, on an adapter of the test's own making.
import { expect, test } from "@playwright/test";
import { mendAdapters } from "../../www/src/worker/adapter_features.ts";
import { decideDevice } from "../../www/src/worker/device.ts";

/** What a device was asked for; refuses features that the adapter lacks, as browsers do. */
function adapterWith(names: GPUFeatureName[]): typeof GPUAdapter {
  class Adapter {
    get features(): ReadonlySet<string> {
      return new Set(names);
    }
    async requestDevice(descriptor?: GPUDeviceDescriptor): Promise<unknown> {
      const asked = [...(descriptor?.requiredFeatures ?? [])];
      const missing = asked.filter((name) => !names.includes(name as GPUFeatureName));
      if (missing.length > 0) throw new TypeError(`unsupported: ${missing}`);
      return { label: descriptor?.label, asked };
    }
  }
  return Adapter as unknown as typeof GPUAdapter;
}

/** Runs `work` while a global has that value. */
async function withGlobal<T>(name: string, value: unknown, work: () => T): Promise<Awaited<T>> {
  const before = Object.getOwnPropertyDescriptor(globalThis, name);
  Object.defineProperty(globalThis, name, { configurable: true, value });
  try {
    return await work();
  } finally {
    if (before) Object.defineProperty(globalThis, name, before);
    else Reflect.deleteProperty(globalThis, name);
  }
}

/** An adapter with these features, mended. */
async function mended(names: GPUFeatureName[]): Promise<GPUAdapter> {
  const Adapter = adapterWith(names);
  await withGlobal("GPUAdapter", Adapter, mendAdapters);
  return Reflect.construct(Adapter, []);
}

/** Mends such an adapter, of which the engine asks for two features. */
async function request(names: GPUFeatureName[]): Promise<{ seen: string[]; device: unknown }> {
  const adapter = await mended(names);
  const requiredFeatures: GPUFeatureName[] = ["timestamp-query", "shader-f16"];
  return {
    seen: [...adapter.features].sort(),
    device: await adapter.requestDevice({ label: "engine", requiredFeatures }),
  };
}

test("an adapter without timestamps seems to have them and gives a device without", async () => {
  const { seen, device } = await request(["shader-f16"]);
  expect(seen).toEqual(["shader-f16", "timestamp-query"]);
  expect(device).toEqual({ label: "engine", asked: ["shader-f16"] });
});

test("an adapter with timestamps gives what it has", async () => {
  const { seen, device } = await request(["shader-f16", "timestamp-query"]);
  expect(seen).toEqual(["shader-f16", "timestamp-query"]);
  expect(device).toEqual({ label: "engine", asked: ["timestamp-query", "shader-f16"] });
});

test("a device gets the subgroups that its adapter has", async () => {
  const { device } = await request(["shader-f16", "subgroups"]);
  expect(device).toEqual({ label: "engine", asked: ["shader-f16", "subgroups"] });
});

test("other features that an adapter lacks are asked for, and refused", async () => {
  await expect(request([])).rejects.toThrow("unsupported: shader-f16");
});

for (const { software, device } of [
  { software: false, device: { device: "gpu", adapter: "unknown adapter", software: false } },
  { software: true, device: { device: "cpu", reason: expect.stringContaining("is software") } },
]) {
  test(`an adapter that tells only whether it is software (${software}) leads to the ${device.device}`, async () => {
    const adapter = Object.assign(await mended([]), { isFallbackAdapter: software });
    const gpu = { requestAdapter: async () => adapter };
    expect(await withGlobal("navigator", { gpu }, () => decideDevice("auto"))).toEqual(device);
  });
}

test("without WebGPU nothing happens", () => {
  expect("GPUAdapter" in globalThis).toBe(false);
  expect(mendAdapters).not.toThrow();
});
