// What the worker of a `WorkerHash` does: it answers every message with one, in order.
import type { FileHash } from "easel-wasm";
import { DirectHash } from "./source_hash.ts";

export type ToHashWorker =
  | { type: "begin"; wasm: string | undefined; saved: ArrayBuffer | undefined }
  | { type: "update"; bytes: ArrayBuffer }
  | { type: "save" | "hex" };

export type FromHashWorker = null | string | ArrayBuffer;

/** Begins a hash, or goes on from what another one saved; `wasm` is the address of the engine's code, where it is known. */
export type BeginHash = (saved: ArrayBuffer | undefined, wasm?: string) => Promise<FileHash | undefined>;

/** Answers from now on; what fails ends in an `error` event of the worker. */
export function serveHash(begin: BeginHash): void {
  let last: Promise<DirectHash | undefined> = Promise.resolve(undefined);
  addEventListener("message", ({ data }: MessageEvent<ToHashWorker>) => {
    last = last.then(async (hash) => {
      const { saved, wasm } = data.type === "begin" ? data : {};
      const current = hash ?? new DirectHash(await begin(saved, wasm));
      postMessage(await answer(current, data));
      return current;
    });
  });
  addEventListener("unhandledrejection", (event) => {
    throw event.reason;
  });
}

async function answer(hash: DirectHash, message: ToHashWorker): Promise<FromHashWorker> {
  switch (message.type) {
    case "begin":
      return null;
    case "update":
      await hash.update(new Uint8Array(message.bytes));
      return null;
    case "save":
      return hash.save();
    case "hex":
      return hash.hex();
  }
}
