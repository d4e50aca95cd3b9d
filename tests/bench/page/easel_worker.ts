// Easel with one UNet.
import init, { Engine, type Source, UNet } from "easel-wasm";
import { mendAdapters } from "../../../www/src/worker/adapter_features.ts";
import { decideDevice } from "../../../www/src/worker/device.ts";
import { answerWith } from "./protocol.ts";

/** The files of a folder on the server, read by ranges. */
function files(folder: string): Source {
  const ask = (path: string, init?: RequestInit) => fetch(`${folder}/${path}`, init);
  return {
    async size(path) {
      const { ok, headers } = await ask(path, { method: "HEAD" });
      return ok ? Number(headers.get("Content-Length")) : undefined;
    },
    async read(path, start, end) {
      if (start === end) return new Uint8Array();
      const answer = await ask(path, { headers: { Range: `bytes=${start}-${end - 1}` } });
      if (answer.status !== 206) throw new Error(`${path}: the server answered ${answer.status}`);
      return new Uint8Array(await answer.arrayBuffer());
    },
  };
}

/** `[c, pixels]` to `[pixels, c]`, or back when `channels` is the number of pixels. */
function transposed(values: Float32Array, channels: number): Float32Array {
  const pixels = values.length / channels;
  return Float32Array.from(values, (_, i) => values[(i % channels) * pixels + Math.floor(i / channels)] ?? 0);
}

answerWith(async ({ device, folder, about, inputs }) => {
  mendAdapters();
  await init();
  const { software, subgroup } = await decideDevice(device);
  const engine = await Engine.create(device, software, subgroup);
  const unet = await UNet.load(engine, files(folder));
  const [, channels = 0, height = 0, width = 0] = about.shapes.sample;
  const sample = transposed(inputs.sample, channels);
  return {
    name: `Easel, ${engine.adapter}`,
    async call() {
      const start = performance.now();
      await unet.prepare(inputs.text, about.timestep);
      const prepared = performance.now();
      const output = await unet.forward(sample, height, width);
      const seconds = (performance.now() - prepared) / 1000;
      return { seconds, onceSeconds: (prepared - start) / 1000, output: transposed(output, height * width) };
    },
  };
});
