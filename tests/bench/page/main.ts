// The page of `npm run bench`: both runtimes alternately in this browser session on the same call of the same UNet.
import { measureLoading } from "./loading.ts";
import type { About, Answer, Called, Device, Inputs, Question } from "./protocol.ts";

/** One runtime's part of a comparison. */
interface Measured {
  name: string;
  loadSeconds: number;
  /** The first call, which compiles pipelines. */
  firstSeconds: number;
  seconds: number[];
  medianSeconds: number;
  /** Median of what a run computes once, for all of its steps, and which is not in `seconds`. */
  onceSeconds: number;
  /** Largest difference to torch's output, as a part of that output's range. */
  difference: number;
}

/** What the page reports for one device. */
interface Comparison {
  device: Device;
  adapter: string;
  size: string;
  parameters: number;
  gflop: number;
  easel: Measured;
  onnxruntime: Measured;
  /** Easel's median as a part of onnxruntime-web's: a step among many. */
  ratio: number;
  /** The same with what Easel computes once a run: a run of one step. */
  ratioOfOneStep: number;
}

declare global {
  interface Window {
    /** Resolves with a comparison for each device that `?devices=` lists, or with `?load` with what loading took. */
    measured: Promise<unknown>;
  }
}

const options = new URLSearchParams(location.search);
const size = options.get("size") ?? "small";
const rounds = Number(options.get("rounds") ?? 5);
const threads = Number(options.get("threads") ?? 1);
const folder = `/bench/unet-${size}`;

function log(line: string): void {
  console.log(line);
  document.getElementById("log")?.append(`${line}\n`);
}

class Peer {
  readonly #worker: Worker;

  constructor(worker: Worker) {
    this.#worker = worker;
  }

  ask(question: Question): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#worker.onmessage = ({ data }: MessageEvent<Answer>) =>
        data.type === "failed" ? reject(new Error(data.reason)) : resolve(data);
      this.#worker.onerror = (event) => reject(new Error(event.message));
      this.#worker.postMessage(question);
    });
  }

  async load(question: Question & { type: "load" }): Promise<{ name: string; seconds: number }> {
    const answer = await this.ask(question);
    if (answer.type !== "loaded") throw new Error(`an answer of the wrong kind, ${answer.type}`);
    return answer;
  }

  async call(): Promise<Called> {
    const answer = await this.ask({ type: "call" });
    if (answer.type !== "called") throw new Error(`an answer of the wrong kind, ${answer.type}`);
    return answer;
  }

  end(): void {
    this.#worker.terminate();
  }
}

async function floats(name: string): Promise<Float32Array> {
  const answer = await fetch(`${folder}/${name}.f32`);
  if (!answer.ok) throw new Error(`${name}.f32: the server answered ${answer.status}`);
  return new Float32Array(await answer.arrayBuffer());
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(middle)] ?? Number.NaN) + (sorted[Math.ceil(middle)] ?? Number.NaN)) / 2;
}

/** Largest difference of two outputs as a part of the range of `expected`. */
function difference(found: Float32Array, expected: Float32Array): number {
  if (found.length !== expected.length) return Number.POSITIVE_INFINITY;
  const range = expected.reduce((a, b) => Math.max(a, b)) - expected.reduce((a, b) => Math.min(a, b));
  return expected.reduce((most, value, i) => Math.max(most, Math.abs(value - (found[i] ?? 0))), 0) / range;
}

async function open(worker: Worker, question: Question & { type: "load" }, expected: Float32Array) {
  const peer = new Peer(worker);
  const { name, seconds: loadSeconds } = await peer.load(question);
  const { seconds: firstSeconds, output } = await peer.call();
  log(`  ${name}: loaded in ${loadSeconds.toFixed(1)} s, first call ${firstSeconds.toFixed(2)} s`);
  const seconds: number[] = [];
  const once: number[] = [];
  const measured = (): Measured => ({
    name,
    loadSeconds,
    firstSeconds,
    seconds,
    medianSeconds: median(seconds),
    onceSeconds: median(once),
    difference: difference(output, expected),
  });
  const call = async () => {
    const called = await peer.call();
    seconds.push(called.seconds);
    once.push(called.onceSeconds);
  };
  return { call, measured, end: () => peer.end() };
}

async function adapterName(device: Device): Promise<string> {
  if (device === "cpu")
    return `CPU of ${navigator.hardwareConcurrency} threads: 1 for Easel, ${threads} for onnxruntime-web`;
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) throw new Error("this browser offers no WebGPU adapter");
  const { vendor, architecture, device: model, description } = adapter.info;
  return [vendor, architecture, model, description].filter(Boolean).join(" ") || "an adapter without a name";
}

async function compare(device: Device, about: About, inputs: Inputs): Promise<Comparison> {
  const adapter = await adapterName(device);
  log(
    `${adapter}: UNet of ${(about.parameters / 1e6).toFixed(1)} M parameters, ${about.gflop.toFixed(1)} GFLOP`,
  );
  const expected = await floats("output");
  const question: Question = { type: "load", device, folder, about, inputs, threads };
  const workers = [
    new Worker(new URL("./easel_worker.ts", import.meta.url), { type: "module" }),
    new Worker(new URL("./onnxruntime_worker.ts", import.meta.url), { type: "module" }),
  ] as const;
  const easel = await open(workers[0], question, expected);
  const onnxruntime = await open(workers[1], question, expected);
  for (let round = 0; round < rounds; round++) {
    await easel.call();
    await onnxruntime.call();
  }
  easel.end();
  onnxruntime.end();
  const [ours, theirs] = [easel.measured(), onnxruntime.measured()];
  for (const { name, medianSeconds, onceSeconds, difference } of [ours, theirs]) {
    const once = onceSeconds > 0 ? ` and ${milliseconds(onceSeconds)} once a run` : "";
    log(
      `  ${name}: median of ${rounds} ${milliseconds(medianSeconds)}${once}, ` +
        `max |diff| to torch ${difference.toExponential(1)} of the range`,
    );
  }
  const ratio = ours.medianSeconds / theirs.medianSeconds;
  const ratioOfOneStep = (ours.medianSeconds + ours.onceSeconds) / theirs.medianSeconds;
  log(`  ratio ${ratio.toFixed(3)}, of a run of one step ${ratioOfOneStep.toFixed(3)}`);
  const { size, parameters, gflop } = about;
  return {
    device,
    adapter,
    size,
    parameters,
    gflop,
    easel: ours,
    onnxruntime: theirs,
    ratio,
    ratioOfOneStep,
  };
}

function milliseconds(seconds: number): string {
  return `${(seconds * 1000).toFixed(1)} ms`;
}

async function run(): Promise<Comparison[]> {
  const answer = await fetch(`${folder}/bench.json`);
  if (!answer.ok) throw new Error(`there is no UNet of size ${size}`);
  const about: About = await answer.json();
  const inputs = { sample: await floats("sample"), text: await floats("encoder_hidden_states") };
  const comparisons: Comparison[] = [];
  for (const device of (options.get("devices") ?? "gpu,cpu").split(",")) {
    if (device !== "gpu" && device !== "cpu") throw new Error(`${device} is no device: gpu or cpu`);
    comparisons.push(await compare(device, about, inputs));
  }
  return comparisons;
}

window.measured = options.has("load") ? measureLoading(rounds, log) : run();
window.measured.catch((error: unknown) => log(`failed: ${error}`));
