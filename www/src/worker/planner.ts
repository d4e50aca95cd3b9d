// Which files make up a model, how large they are and what they must be: asked before the first large byte is fetched.
import { EaselError } from "../shared/errors.ts";
import type { Licence } from "../shared/protocol.ts";
import { clipMerges, MERGES } from "./clip_merges.ts";
import { sha256Hex } from "./digest.ts";
import { MODEL_INDEX, type Part, parts, shardPaths, weightPaths } from "./layout.ts";
import { MANIFEST } from "./manifest.ts";
import { type Planned, type PlannedFile, planOfManifest } from "./plan.ts";

/** What a place knows of a file without reading it. */
export type FileFacts = Pick<PlannedFile, "size" | "sha256" | "validator">;

/** The files of a place, by path. */
export interface Shelf {
  /** The place, as messages name it. */
  readonly name: string;
  /** Name of the checkpoint that the place is about; `undefined` for a folder. */
  readonly checkpoint: string | undefined;
  /** Commit that the files are of, on a hub, once a file was met. */
  readonly commit: string | undefined;
  /** A small file; `undefined` where there is none. */
  small(path: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** What is known of a large file; `undefined` where there is none. */
  large(path: string): Promise<FileFacts | undefined>;
  licence(): Promise<Licence | undefined>;
}

/** What is to be at an address: a model, which may be a folder or a file, or a LoRA, which is a file. */
export type Wanted = "model" | "lora";

/** Plans a checkpoint, or a folder by its manifest, or by `model_index.json` and by asking for names; or a LoRA. */
export async function planModel(shelf: Shelf, chunkSize: number, wanted: Wanted): Promise<Planned> {
  const planner = new Planner(shelf, chunkSize);
  if (wanted === "lora") {
    await planner.lora(shelf.checkpoint);
    return planner.planned;
  }
  if (shelf.checkpoint !== undefined) {
    await planner.checkpoint(shelf.checkpoint);
    return planner.planned;
  }
  const manifest = await shelf.small(MANIFEST);
  if (manifest) {
    const text = new TextDecoder().decode(manifest);
    return { plan: planOfManifest(text, chunkSize, shelf.commit), contents: new Map() };
  }
  await planner.layout();
  return planner.planned;
}

class Planner {
  readonly planned: Planned = { plan: { files: [] }, contents: new Map() };
  readonly #shelf: Shelf;
  readonly #chunkSize: number;

  constructor(shelf: Shelf, chunkSize: number) {
    this.#shelf = shelf;
    this.#chunkSize = chunkSize;
  }

  /** Notes a checkpoint, and beside it what every checkpoint lacks. */
  async checkpoint(path: string): Promise<void> {
    if (!(await this.#large(path))) throw absent(path);
    this.planned.plan.checkpoint = path;
    await this.#note(MERGES, await clipMerges());
    await this.#origin();
  }

  /** Notes the one file of a LoRA. */
  async lora(path: string | undefined): Promise<void> {
    if (path === undefined) {
      const message = "a LoRA's address is that of its file, which ends in .safetensors";
      throw new EaselError("model_address", message);
    }
    if (!(await this.#large(path))) throw absent(path);
    this.planned.plan.lora = path;
    await this.#origin();
  }

  /** Finds the files of a model in diffusers layout. */
  async layout(): Promise<void> {
    const index = await this.#small(MODEL_INDEX);
    if (index === undefined) {
      const advice = "a model's address is that of its folder in diffusers layout";
      throw new EaselError("file_not_found", `there is no ${MODEL_INDEX} at ${this.#shelf.name}: ${advice}`);
    }
    for (const part of parts(index)) {
      if (part.holds === "scheduler") await this.#require(`${part.folder}/scheduler_config.json`);
      else if (part.holds === "tokenizer") await this.#tokenizer(part.folder);
      else await this.#weights(part);
    }
    await this.#origin();
  }

  async #tokenizer(folder: string): Promise<void> {
    const whole = await this.#small(`${folder}/tokenizer.json`);
    if (whole === undefined) {
      for (const name of ["vocab.json", "merges.txt"]) await this.#require(`${folder}/${name}`);
    }
    const config = await this.#small(`${folder}/tokenizer_config.json`);
    await this.#small(`${folder}/special_tokens_map.json`);
    // Learnt words, as they were written before the config held them.
    if (whole === undefined && !config?.includes('"added_tokens_decoder"')) {
      await this.#small(`${folder}/added_tokens.json`);
    }
  }

  async #weights(part: Part): Promise<void> {
    await this.#require(`${part.folder}/config.json`);
    for (const path of weightPaths(part)) {
      if (path.endsWith(".json")) {
        const index = await this.#small(path);
        if (index === undefined) continue;
        for (const shard of shardPaths(path, index)) {
          if (!(await this.#large(shard))) throw absent(shard);
        }
        return;
      }
      if (await this.#large(path)) return;
    }
    const reason =
      "only weights in safetensors files are read, because opening .bin and .ckpt files can run code";
    throw new EaselError("file_not_found", `${part.folder} has no ${part.stem}.safetensors: ${reason}`);
  }

  async #require(path: string): Promise<string> {
    const text = await this.#small(path);
    if (text === undefined) throw absent(path);
    return text;
  }

  async #small(path: string): Promise<string | undefined> {
    const bytes = await this.#shelf.small(path);
    return bytes && this.#note(path, bytes);
  }

  /** Takes a small file as it came: its bytes are what it must be. */
  async #note(path: string, bytes: Uint8Array<ArrayBuffer>): Promise<string> {
    const { plan, contents } = this.planned;
    contents.set(path, bytes);
    plan.files.push({
      path,
      size: bytes.length,
      chunkSize: this.#chunkSize,
      sha256: await sha256Hex(bytes),
    });
    return new TextDecoder().decode(bytes);
  }

  /** Notes size and hash of a large file; whether it is there. */
  async #large(path: string): Promise<boolean> {
    const facts = await this.#shelf.large(path);
    if (facts) this.planned.plan.files.push({ path, chunkSize: this.#chunkSize, ...facts });
    return facts !== undefined;
  }

  /** Notes what the files are a state of, and on which terms. */
  async #origin(): Promise<void> {
    const { plan } = this.planned;
    const { commit } = this.#shelf;
    const licence = await this.#shelf.licence();
    Object.assign(plan, commit !== undefined && { commit }, licence && { licence });
  }
}

function absent(path: string): EaselError {
  return new EaselError("file_not_found", `${path} is missing from the model`);
}
