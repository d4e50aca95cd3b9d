// onnxruntime-web with the same UNet: its WebGPU provider, or its wasm provider with as many threads as asked for.
import type { OnnxRuntime } from "./onnxruntime.d.ts";
import { answerWith } from "./protocol.ts";

const PLACE = "/onnxruntime-web";
const PROVIDERS = {
  gpu: { provider: "webgpu", module: "ort.webgpu.min.mjs" },
  cpu: { provider: "wasm", module: "ort.wasm.min.mjs" },
};

answerWith(async ({ device, folder, about, inputs, threads }) => {
  const { provider, module } = PROVIDERS[device];
  const runtime: OnnxRuntime = await import(/* @vite-ignore */ `${PLACE}/${module}`);
  // It would go on with one and not say so.
  if (threads > 1 && !crossOriginIsolated) throw new Error("only an isolated page has threads");
  runtime.env.wasm.numThreads = threads;
  runtime.env.wasm.wasmPaths = `${PLACE}/`;
  const session = await runtime.InferenceSession.create(`${folder}/unet.onnx`, {
    executionProviders: [provider],
    graphOptimizationLevel: "all",
    // Errors: it warns that it computes shapes on the CPU, as it means to.
    logSeverityLevel: 3,
  });
  const { Tensor } = runtime;
  const feeds = {
    sample: new Tensor("float32", inputs.sample, about.shapes.sample),
    timestep: new Tensor("int64", BigInt64Array.of(BigInt(about.timestep)), [1]),
    encoder_hidden_states: new Tensor("float32", inputs.text, about.shapes.encoder_hidden_states),
  };
  return {
    name: `onnxruntime-web ${runtime.env.versions.web}, ${provider}`,
    async call() {
      const start = performance.now();
      const { out_sample: output } = await session.run(feeds);
      const seconds = (performance.now() - start) / 1000;
      if (!(output?.data instanceof Float32Array)) throw new Error("the output is no float32 tensor");
      return { seconds, onceSeconds: 0, output: output.data };
    },
  };
});
