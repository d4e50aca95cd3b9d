// One model from its host into the store: planned, room asked for, fetched file by file.
import { asEaselError, EaselError } from "../shared/errors.ts";
import { hubFolder } from "../shared/model_address.ts";
import type { DownloadEvent, Survey } from "../shared/protocol.ts";
import { completeFile } from "./file_download.ts";
import { Host, type HostOptions } from "./host.ts";
import { keptBytes } from "./kept.ts";
import { alone } from "./locks.ts";
import { fetchManifest, type Plan, type Planned, planBytes, planOfLayout, planOfManifest } from "./plan.ts";
import { PATIENCE } from "./retries.ts";
import { outOfRoom, requireRoom } from "./room.ts";
import type { ChunkKey, Store } from "./store.ts";

/** How a model is fetched and kept. */
export interface DownloadOptions extends HostOptions {
  chunkSize: number;
  emit: (event: DownloadEvent) => void;
}

/** What the page uses; tests take smaller chunks and shorter waits. */
export const USUAL = { patience: PATIENCE, chunkSize: 4 << 20 };

/** A kept model is not held up for long by the question whether it is still the host's. */
const MANIFEST_PATIENCE = { ...PATIENCE, attempts: 1, stallMs: 4000 };

const OF_PLAN = new Set(["changed_file", "damaged_file"]);

/** A model at an address, and what is kept of it. */
export class ModelDownload {
  readonly #host: Host;
  readonly #store: Store;
  readonly #options: DownloadOptions;

  constructor(base: URL, store: Store, options: DownloadOptions) {
    this.#host = new Host(base, options);
    this.#store = store;
    this.#options = options;
  }

  /** How large the model is and how much of it is kept; its host is asked only when nothing is known, and `ask` allows it. */
  async survey(ask: boolean): Promise<Survey | undefined> {
    const known = await this.#store.model(this.#address);
    const plan = known?.plan ?? (ask ? (await this.#plan()).plan : undefined);
    if (!plan) return undefined;
    const kept = await keptBytes(this.#store, this.#address, plan);
    return { size: planBytes(plan), kept, whole: known?.finished !== undefined };
  }

  /** Fetches what is missing, and says what the model then consists of. */
  async complete(): Promise<Plan> {
    const known = await this.#store.model(this.#address);
    if (known?.finished !== undefined && (await this.#isCurrent(known.plan))) return known.plan;
    return this.#alone(async () => {
      try {
        return await this.#completeAs(await this.#plan());
      } catch (error) {
        // What does not fit together may be the fault of the plan.
        if (!OF_PLAN.has(asEaselError(error).code)) throw error;
        return this.#completeAs(await this.#planAnew());
      }
    });
  }

  /** Fetches kept chunks that are damaged anew; the model stays what it was planned to be. */
  async mend(keys: readonly ChunkKey[]): Promise<void> {
    await this.#alone(async () => {
      const known = await this.#store.model(this.#address);
      if (!known) throw new EaselError("file_not_found", "the model has been deleted: load it again");
      await this.#store.dropChunks(this.#address, keys);
      await this.#completeAs({ plan: known.plan, contents: new Map() });
    });
  }

  get #address(): string {
    return this.#host.base.href;
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const { signal, emit } = this.#options;
    return alone(this.#address, signal, () => emit({ type: "waiting" }), work);
  }

  /** The plan that the download began with, while it is good. */
  async #plan(): Promise<Planned> {
    const known = (await this.#store.model(this.#address))?.plan;
    if (known && (await this.#isCurrent(known))) return { plan: known, contents: new Map() };
    return this.#planAnew();
  }

  async #planAnew(): Promise<Planned> {
    const manifest = await fetchManifest(this.#host);
    if (!manifest) return planOfLayout(this.#host, this.#options.chunkSize);
    const plan = planOfManifest(manifest.text, this.#options.chunkSize, manifest.commit);
    return { plan, contents: new Map() };
  }

  /** Whether the host still has this manifest; where it does not answer, the kept one is good. */
  async #isCurrent({ commit, manifest }: Plan): Promise<boolean> {
    if (commit !== undefined || manifest === undefined) return true;
    const impatient = new Host(this.#host.base, { ...this.#options, patience: MANIFEST_PATIENCE });
    const found = await fetchManifest(impatient).catch((error) => {
      if (asEaselError(error).code === "cancelled") throw error;
      return undefined;
    });
    return found === undefined || found.text === manifest;
  }

  async #completeAs({ plan, contents }: Planned): Promise<Plan> {
    const [address, store] = [this.#address, this.#store];
    const total = planBytes(plan);
    const host = this.#pinned(plan);
    await requireRoom(total - (await keptBytes(store, address, plan)));
    await this.#adopt(plan);
    let loaded = 0;
    const onBytes = (bytes: number) => {
      loaded += bytes;
      this.#options.emit({ type: "download", loaded: Math.min(loaded, total), total });
    };
    for (const file of plan.files) {
      if (await store.file(address, file.path)) {
        onBytes(file.size);
        continue;
      }
      const download = { address, file, store, host, contents: contents.get(file.path), onBytes };
      await completeFile(download).catch(async (error) => {
        throw asEaselError(error).code === "quota" ? await outOfRoom(total - loaded) : error;
      });
    }
    const record = await store.model(address);
    await store.putModel(address, { started: Date.now(), ...record, plan, finished: Date.now() });
    return plan;
  }

  /** Files of a hub's model come from the commit that it was when it was met first. */
  #pinned({ commit }: Plan): Host {
    const { hub } = this.#host;
    return hub && commit !== undefined ? this.#host.at(hubFolder(hub, "resolve", commit)) : this.#host;
  }

  /** Makes a plan the model's; kept files that another plan was about go. */
  async #adopt(plan: Plan): Promise<void> {
    const known = await this.#store.model(this.#address);
    const files = new Set(plan.files.map((file) => JSON.stringify(file)));
    for (const file of known?.plan.files ?? []) {
      if (!files.has(JSON.stringify(file))) await this.#store.dropFile(this.#address, file.path);
    }
    await this.#store.putModel(this.#address, { plan, started: known?.started ?? Date.now() });
  }
}
