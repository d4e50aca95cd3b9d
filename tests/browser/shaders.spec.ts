// Every permutation of every shader compiles in the browser, without a word from its compiler: what naga accepts,
// Tint may refuse.
import { readFileSync } from "node:fs";
import { expect, test } from "@playwright/test";
import { site } from "./easel_page.ts";

interface Shader {
  name: string;
  source: string;
}

test("every shader compiles with no message", async ({ page }) => {
  test.setTimeout(300_000);
  const file = process.env.EASEL_SHADERS;
  if (!file) throw new Error("EASEL_SHADERS names no file: use `npm test`");
  const shaders: Shader[] = JSON.parse(readFileSync(file, "utf8"));
  expect(shaders.length).toBeGreaterThan(0);
  await page.goto(site("scripted", "icon.svg"));
  expect(await page.evaluate(compile, shaders)).toEqual([]);
});

/** Runs in the page: one line for each message, and for each pipeline that could not be made. */
async function compile(shaders: Shader[]): Promise<string[]> {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) return ["this browser has no WebGPU adapter"];
  const features = (["shader-f16", "subgroups"] as const).filter((name) => adapter.features.has(name));
  const device = await adapter.requestDevice({ requiredFeatures: features });
  const faults: string[] = [];
  for (const { name, source } of shaders) {
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ label: name, code: source });
    const { messages } = await module.getCompilationInfo();
    faults.push(...messages.map(({ type, lineNum, message }) => `${name}:${lineNum}: ${type}: ${message}`));
    const pipeline = source.includes("@compute")
      ? device.createComputePipelineAsync({ layout: "auto", compute: { module } })
      : device.createRenderPipelineAsync({
          layout: "auto",
          vertex: { module },
          fragment: { module, targets: [{ format: navigator.gpu.getPreferredCanvasFormat() }] },
        });
    await pipeline.catch((error: Error) => faults.push(`${name}: ${error.message}`));
    const error = await device.popErrorScope();
    if (error && messages.length === 0) faults.push(`${name}: ${error.message}`);
  }
  return faults;
}
