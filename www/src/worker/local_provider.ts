// Models of which the user gave the files: a folder or a file that was dropped or picked.
import { EaselError } from "../shared/errors.ts";
import { checkpointName, modelName } from "../shared/model_address.ts";
import type { GivenFile } from "../shared/protocol.ts";
import { LARGEST_TEXT, type Range } from "./host.ts";
import { MANIFEST } from "./manifest.ts";
import type { Plan, Planned, PlannedFile } from "./plan.ts";
import { type FileFacts, planModel, type Shelf, type Wanted } from "./planner.ts";
import type { ByteSource, Provider } from "./provider.ts";
import { stopped } from "./retries.ts";
import { checkWeights } from "./weights_kind.ts";

/** A local model. The page can read its files only while it has them: after a reload the user has to give them again. */
export class LocalProvider implements Provider {
  readonly address: string;
  readonly #model: URL;
  readonly #given: ReadonlyMap<string, Blob> | undefined;
  readonly #signal: AbortSignal;
  readonly #wanted: Wanted;

  constructor(model: URL, given: readonly GivenFile[] | undefined, signal: AbortSignal, wanted: Wanted) {
    this.address = model.href;
    this.#model = model;
    this.#given = given && new Map(given.map(({ path, file }) => [path, file]));
    this.#signal = signal;
    this.#wanted = wanted;
  }

  async plan(chunkSize: number): Promise<Planned> {
    const shelf = new GivenShelf(this.#model, this.#files());
    const planned = await planModel(shelf, chunkSize, this.#wanted);
    const { plan, contents } = planned;
    for (const { path, size } of plan.files) if (!contents.has(path)) this.#check(path, size);
    await checkWeights(this, plan);
    return planned;
  }

  isChosen(): boolean {
    return true;
  }

  /** The address says which state of the files is meant. */
  async isCurrent(): Promise<boolean> {
    return true;
  }

  open(_plan: Plan, { path, size }: PlannedFile): ByteSource {
    return bytesOfBlob(path, this.#check(path, size), this.#signal);
  }

  #files(): ReadonlyMap<string, Blob> {
    if (this.#given) return this.#given;
    const what = this.address.endsWith("/") ? "folder" : "file";
    const message = `not all of ${modelName(this.#model)} is in this browser: drop the same ${what} here again to finish it`;
    throw new EaselError("needs_files", message);
  }

  #check(path: string, size: number): Blob {
    const file = this.#files().get(path);
    if (file?.size === size) return file;
    const found = file ? `has ${file.size} bytes, not ${size}` : "is not in the folder";
    throw new EaselError("damaged_file", `${path} ${found}, as ${MANIFEST} says: copy the model again`);
  }
}

/** The bytes of a file that the user gave. */
export function bytesOfBlob(path: string, file: Blob, signal?: AbortSignal): ByteSource {
  const read = async function* ({ start, end }: Range): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const reader = file.slice(start, end).stream().getReader();
    try {
      for (;;) {
        if (signal?.aborted) throw stopped();
        const { done, value } = await reader.read().catch((cause) => {
          throw unreadable(path, cause);
        });
        if (done) return;
        yield value;
      }
    } finally {
      await reader.cancel().catch(() => {});
    }
  };
  return { size: file.size, read };
}

/** The files themselves as what a plan is made of. */
class GivenShelf implements Shelf {
  readonly name: string;
  readonly checkpoint: string | undefined;
  readonly commit = undefined;
  readonly #files: ReadonlyMap<string, Blob>;

  constructor(model: URL, files: ReadonlyMap<string, Blob>) {
    this.name = modelName(model);
    this.checkpoint = checkpointName(model);
    this.#files = files;
  }

  async small(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const file = this.#files.get(path);
    if (file === undefined) return undefined;
    if (file.size > LARGEST_TEXT) {
      throw new EaselError("not_a_model_file", `${path} is larger than such a file can be`);
    }
    const bytes = await file.arrayBuffer().catch((cause) => {
      throw unreadable(path, cause);
    });
    return new Uint8Array(bytes);
  }

  async large(path: string): Promise<FileFacts | undefined> {
    const file = this.#files.get(path);
    return file && { size: file.size };
  }

  async licence(): Promise<undefined> {}
}

/** Browsers stop reading a file that has changed since it was given. */
function unreadable(path: string, cause: unknown): EaselError {
  const message = `${path} could not be read: if it was changed or moved, drop the model here again`;
  return new EaselError("unreadable_file", message, { cause });
}
