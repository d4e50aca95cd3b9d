// Every permutation of every shader compiles in the browser, without a word from its compiler: what naga accepts,
// Tint may refuse.
import { readFileSync } from "node:fs";
import { expect, test } from "@playwright/test";
import { site } from "./easel_page.ts";

interface Shader {
  /** The shader's file, and what it is compiled with. */
  name: string;
  source: string;
}

/** The permutations by the shader that they are of. */
function permutations(): Map<string, Shader[]> {
  const path = process.env.EASEL_SHADERS;
  if (!path) throw new Error("EASEL_SHADERS names no file: use `npm test`");
  const all: Shader[] = JSON.parse(readFileSync(path, "utf8"));
  const byShader = new Map<string, Shader[]>();
  for (const shader of all) {
    const [name = ""] = shader.name.split(" ");
    byShader.set(name, [...(byShader.get(name) ?? []), shader]);
  }
  return byShader;
}

for (const [name, shaders] of permutations()) {
  test(`${name} compiles with no message`, async ({ page }) => {
    // A software adapter makes machine code of each: seconds for a large one.
    test.setTimeout(60_000 + 5_000 * shaders.length);
    await page.goto(site("scripted", "icon.svg"));
    expect(await page.evaluate(compile, shaders)).toEqual([]);
  });
}

/** Runs in the page: one line for each message, and for each pipeline that could not be made. */
async function compile(shaders: Shader[]): Promise<string[]> {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) return ["this browser has no WebGPU adapter"];
  const features = (["shader-f16", "subgroups"] as const).filter((name) => adapter.features.has(name));
  const device = await adapter.requestDevice({ requiredFeatures: features });
  const faults: string[] = [];
  device.onuncapturederror = ({ error }) => faults.push(error.message);
  // All at once: a browser compiles them on several threads.
  await Promise.all(
    shaders.map(async ({ name, source }) => {
      const module = device.createShaderModule({ label: name, code: source });
      const pipeline = source.includes("@compute")
        ? device.createComputePipelineAsync({ layout: "auto", compute: { module } })
        : device.createRenderPipelineAsync({
            layout: "auto",
            vertex: { module },
            fragment: { module, targets: [{ format: navigator.gpu.getPreferredCanvasFormat() }] },
          });
      const made = pipeline.catch((error: Error) => faults.push(`${name}: ${error.message}`));
      const { messages } = await module.getCompilationInfo();
      faults.push(...messages.map(({ type, lineNum, message }) => `${name}:${lineNum}: ${type}: ${message}`));
      await made;
    }),
  );
  return faults;
}
