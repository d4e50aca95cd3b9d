// What the page and the two workers say to each other. A worker answers every question with one message.

/** Where a call is computed. */
export type Device = "gpu" | "cpu";

/** What `bench.json` says of an exported UNet. */
export interface About {
  size: string;
  parameters: number;
  gflop: number;
  timestep: number;
  shapes: { sample: number[]; encoder_hidden_states: number[]; output: number[] };
}

/** One call's inputs, row-major, `sample` `[1, c, h, w]`. */
export interface Inputs {
  sample: Float32Array;
  text: Float32Array;
}

export type Question =
  | { type: "load"; device: Device; folder: string; about: About; inputs: Inputs; threads: number }
  | { type: "call" };

/** One call of the UNet. */
export interface Called {
  /** From the sample in the worker's memory to `output`, `[1, c, h, w]`, in the same. */
  seconds: number;
  /** What came before and is computed once for all steps of a run. */
  onceSeconds: number;
  output: Float32Array;
}

export type Answer =
  | { type: "loaded"; seconds: number; name: string }
  | ({ type: "called" } & Called)
  | { type: "failed"; reason: string };

/** A runtime with a loaded UNet. */
export interface Runtime {
  name: string;
  call(): Promise<Called>;
}

/** Answers questions with the runtime that `load` opens. */
export function answerWith(load: (question: Question & { type: "load" }) => Promise<Runtime>): void {
  let runtime: Runtime | undefined;
  async function answer(question: Question): Promise<Answer> {
    if (question.type === "load") {
      const start = performance.now();
      runtime = await load(question);
      return { type: "loaded", seconds: (performance.now() - start) / 1000, name: runtime.name };
    }
    if (!runtime) throw new Error("nothing is loaded");
    return { type: "called", ...(await runtime.call()) };
  }
  addEventListener("message", async ({ data }: MessageEvent<Question>) => {
    const failed = (error: unknown): Answer => ({ type: "failed", reason: String(error) });
    postMessage(await answer(data).catch(failed));
  });
}
