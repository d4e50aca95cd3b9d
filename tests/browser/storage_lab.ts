// Runs in a page of its own: the worker's downloads and store, with small chunks and short waits.
import { asEaselError } from "../../www/src/shared/errors.ts";
import type { QuantChoice } from "../../www/src/shared/protocol.ts";
import { contentRange } from "../../www/src/worker/file_bytes.ts";
import { Host } from "../../www/src/worker/host.ts";
import { listModels } from "../../www/src/worker/kept.ts";
import { ModelDownload } from "../../www/src/worker/model_download.ts";
import { type MakeTranscoder, PackingProvider } from "../../www/src/worker/packing.ts";
import { type Provider, providerOf } from "../../www/src/worker/provider.ts";
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

/** The engine itself, which other tests have a scripted one for. */
const engine = () => import("../../www/pkg/easel.js");

const makeTranscoder: MakeTranscoder = async (path, header, size, quant, sha256) => {
  const { default: init, Transcoder } = await engine();
  await init();
  return Transcoder.create(path, header, size, quant, sha256);
};

/** A model as it is published, or packed where `quant` is given. */
function provider(
  address: string,
  how: ReturnType<typeof options>,
  quant: QuantChoice | undefined,
): Provider {
  const published = providerOf(new URL(address), undefined, how);
  return quant === undefined ? published : new PackingProvider(published, quant, makeTranscoder);
}

const Lab = {
  /** Completes a model; the code of the error that ended it, or "whole". */
  complete(address: string, chunkSize: number, token?: string, quant?: QuantChoice): Promise<string> {
    return outcome(async () => {
      const how = options(chunkSize, token);
      await new ModelDownload(provider(address, how, quant), await Store.open(), how).complete();
    });
  },

  /** Bytes that the engine's memory has grown to. */
  async engineBytes(): Promise<number> {
    return (await (await engine()).default()).memory.buffer.byteLength;
  },

  /** Turns a bit of every kept chunk of a file that `which` names by number. */
  async damage(address: string, path: string, which: number[]): Promise<void> {
    const store = await Store.open();
    for (const index of which) {
      const chunk = await store.chunk(address, [path, index]);
      if (!chunk) throw new Error(`${path} has no chunk ${index}`);
      const bytes = new Uint8Array(chunk.data);
      bytes[0] = (bytes[0] ?? 0) ^ 1;
      await store.putChunk(address, [path, index], chunk);
    }
  },

  /** SHA-256 of each file as the engine reads it. */
  async hashes(address: string, chunkSize: number, quant?: QuantChoice): Promise<Record<string, string>> {
    const how = options(chunkSize);
    const source = await ModelSource.open(provider(address, how, quant), how);
    const plan = (await (await Store.open()).model(address))?.plan;
    const found: Record<string, string> = {};
    for (const { path, size } of plan?.files ?? []) {
      const digest = await crypto.subtle.digest("SHA-256", new Uint8Array(await source.read(path, 0, size)));
      found[path] = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
    }
    return found;
  },

  async isWhole(address: string): Promise<boolean> {
    return (await listModels(await Store.open())).some((model) => model.address === address && model.whole);
  },
};
globalThis.lab = Lab;
