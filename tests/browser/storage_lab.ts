// Runs in a page of its own: the worker's downloads and store, with small chunks and short waits.
import { asEaselError } from "../../www/src/shared/errors.ts";
import { contentRange } from "../../www/src/worker/file_bytes.ts";
import { Host } from "../../www/src/worker/host.ts";
import { listKept } from "../../www/src/worker/kept.ts";
import { ModelDownload } from "../../www/src/worker/model_download.ts";
import { providerOf } from "../../www/src/worker/provider.ts";
import { ModelSource } from "../../www/src/worker/source.ts";
import { Store } from "../../www/src/worker/store.ts";

declare global {
  var lab: typeof Lab;
  /** Told of bytes of files as they arrive. */
  var noteReceived: ((path: string, start: number, length: number) => void) | undefined;
}

const PATIENCE = {
  attempts: 4,
  firstDelayMs: 4,
  longestDelayMs: 20,
  longestRequestedMs: 5000,
  stallMs: 2000,
};

const received = Host.prototype.received;
Host.prototype.received = async function* (response, path, watch) {
  const part = contentRange(response);
  let at = typeof part === "object" ? part.start : 0;
  for await (const piece of received.call(this, response, path, watch)) {
    globalThis.noteReceived?.(path, at, piece.length);
    at += piece.length;
    yield piece;
  }
};

const options = (chunkSize: number, token?: string) => ({
  chunkSize,
  token,
  patience: PATIENCE,
  signal: new AbortController().signal,
  emit: () => {},
});

async function outcome(work: () => Promise<void>): Promise<string> {
  try {
    await work();
    return "whole";
  } catch (error) {
    const { code, message } = asEaselError(error);
    return `${code}: ${message}`;
  }
}

const Lab = {
  /** Completes a model; the code of the error that ended it, or "whole". */
  complete(address: string, chunkSize: number, token?: string): Promise<string> {
    return outcome(async () => {
      const how = options(chunkSize, token);
      const provider = providerOf(new URL(address), undefined, how);
      await new ModelDownload(provider, await Store.open(), how).complete();
    });
  },

  /** SHA-256 of each file as the engine reads it. */
  async hashes(address: string, chunkSize: number): Promise<Record<string, string>> {
    const how = options(chunkSize);
    const source = await ModelSource.open(providerOf(new URL(address), undefined, how), how);
    const plan = (await (await Store.open()).model(address))?.plan;
    const found: Record<string, string> = {};
    for (const { path, size } of plan?.files ?? []) {
      const digest = await crypto.subtle.digest("SHA-256", new Uint8Array(await source.read(path, 0, size)));
      found[path] = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
    }
    return found;
  },

  async isWhole(address: string): Promise<boolean> {
    return (await listKept(await Store.open(), "model")).some(
      (model) => model.address === address && model.whole,
    );
  },
};
globalThis.lab = Lab;
