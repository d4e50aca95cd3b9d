// A kept model as files again: into a folder that the user chose, or into one archive where browsers have no such folders.
import { sha256 } from "@noble/hashes/sha2.js";
import { asEaselError, EaselError } from "../shared/errors.ts";
import { modelName } from "../shared/model_address.ts";
import type { SaveEvent } from "../shared/protocol.ts";
import { dropArchives, makeArchive } from "./archives.ts";
import { hex } from "./digest.ts";
import { chunkCount, intactChunk } from "./file_download.ts";
import { inUse } from "./locks.ts";
import { MANIFEST } from "./manifest.ts";
import { type Plan, type PlannedFile, planBytes } from "./plan.ts";
import { stopped } from "./retries.ts";
import { requireRoom } from "./room.ts";
import { FileSink, FolderSink, type Sink } from "./sinks.ts";
import type { Store } from "./store.ts";

/** What saving needs. */
export interface Saving {
  store: Store;
  address: string;
  signal: AbortSignal;
  emit: (event: SaveEvent) => void;
}

/**
 * Writes a model into a new folder of `parent`; a checkpoint is one new file there. Returns the name that it has. What does
 * not become whole is removed.
 */
export async function saveToFolder(saving: Saving, parent: FileSystemDirectoryHandle): Promise<string> {
  const plan = await wholePlan(saving);
  return explained(async () => {
    const name = await freeName(parent, fileName(saving.address));
    try {
      const sink =
        plan.checkpoint === undefined
          ? new FolderSink(await parent.getDirectoryHandle(name, { create: true }))
          : new FolderSink(parent, name);
      await write(saving, plan, sink);
    } catch (error) {
      await parent.removeEntry(name, { recursive: true }).catch(() => {});
      throw error;
    }
    return name;
  });
}

/** The name, or one with a number, of which nothing is there: the user's own model may lie beside its packed copy. */
async function freeName(folder: FileSystemDirectoryHandle, name: string): Promise<string> {
  const [, stem = name, ending = ""] = /^(.+?)(\.safetensors)?$/.exec(name) ?? [];
  let free = name;
  for (let number = 2; !(await isFree(folder, free)); number += 1) free = `${stem} (${number})${ending}`;
  return free;
}

async function isFree(folder: FileSystemDirectoryHandle, name: string): Promise<boolean> {
  try {
    await folder.getFileHandle(name);
    return false;
  } catch (thrown) {
    const reason = thrown instanceof DOMException ? thrown.name : "";
    if (reason === "NotFoundError") return true;
    // A folder.
    if (reason === "TypeMismatchError") return false;
    throw thrown;
  }
}

/**
 * Writes a model into one file of the browser's own, which holds nothing in memory: a tar archive, or the checkpoint itself.
 * It is there for as long as this worker, or until the next one is begun.
 */
export async function saveToArchive(saving: Saving): Promise<{ name: string; file: File }> {
  const plan = await wholePlan(saving);
  await dropArchives();
  await requireRoom(planBytes(plan), "save");
  const name = fileName(saving.address);
  const plain = plan.checkpoint !== undefined;
  const file = await explained(() =>
    makeArchive((handle) => write(saving, plan, new FileSink(handle, plain ? undefined : name))),
  );
  return { name: plain ? name : `${name}.tar`, file };
}

async function wholePlan({ store, address }: Saving): Promise<Plan> {
  const record = await store.model(address);
  if (record?.finished !== undefined) return record.plan;
  throw new EaselError("file_not_found", "the model is not whole: finish it first, then save it");
}

/** What a model is called where it is saved. */
function fileName(address: string): string {
  const name = modelName(new URL(address)).split("/").at(-1) ?? "";
  return name.replace(/[^\w. -]/g, "_").replace(/^\.+/, "") || "model";
}

/** Writes all files, and at last the manifest that tells that they are whole. */
function write(saving: Saving, plan: Plan, sink: Sink): Promise<void> {
  const files =
    plan.checkpoint === undefined ? plan.files : plan.files.filter(({ path }) => path === plan.checkpoint);
  const total = planBytes({ files });
  let loaded = 0;
  const onBytes = (bytes: number) => {
    loaded += bytes;
    saving.emit({ type: "saving", loaded, total });
  };
  return inUse(saving.address, async () => {
    try {
      const entries: object[] = [];
      for (const file of files) entries.push(await writeFile(saving, file, sink, onBytes));
      if (plan.checkpoint === undefined) await writeManifest(entries, sink);
      await sink.close();
    } catch (error) {
      await sink.abandon();
      throw error;
    }
  });
}

async function writeManifest(files: object[], sink: Sink): Promise<void> {
  const text = new TextEncoder().encode(`${JSON.stringify({ version: 1, files }, undefined, 1)}\n`);
  await sink.begin(MANIFEST, text.length);
  await sink.write(text);
  await sink.end();
}

/** Writes one file chunk by chunk; gives what a manifest says of it. */
async function writeFile(
  { store, address, signal }: Saving,
  file: PlannedFile,
  sink: Sink,
  onBytes: (bytes: number) => void,
): Promise<object> {
  const { path, size, chunkSize } = file;
  const hash = sha256.create();
  const chunks: string[] = [];
  await sink.begin(path, size);
  for (let index = 0; index < chunkCount(file); index += 1) {
    if (signal.aborted) throw stopped("saving was stopped, and nothing of it is left");
    const chunk = await intactChunk(store, address, file, index);
    if (!chunk) {
      throw new EaselError(
        "damaged_file",
        `the kept copy of ${path} is damaged: press Verify, then finish the model`,
      );
    }
    const bytes = new Uint8Array(chunk.data);
    hash.update(bytes);
    chunks.push(hex(chunk.sha256));
    await sink.write(bytes);
    onBytes(bytes.length);
  }
  await sink.end();
  return { path, size, sha256: hex(hash.digest()), chunk_size: chunkSize, chunk_sha256: chunks };
}

/** Runs work with files and explains what the browser says of them. */
async function explained<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    // A name that the file system does not take is a TypeError.
    if (!(thrown instanceof DOMException || thrown instanceof TypeError)) throw thrown;
    if (thrown.name === "QuotaExceededError") {
      throw new EaselError("quota", "there is no room left for the saved model: free space on this device", {
        cause: thrown,
      });
    }
    if (thrown.name === "NotAllowedError") {
      throw new EaselError(
        "forbidden",
        "the browser may not write there: choose another folder, and allow it",
        { cause: thrown },
      );
    }
    throw new EaselError("storage", `the model could not be saved: ${asEaselError(thrown).message}`, {
      cause: thrown,
    });
  }
}
