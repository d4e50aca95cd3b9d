// One model from where it is into the store: planned, room asked for, fetched file by file.
import { asEaselError, EaselError } from "../shared/errors.ts";
import type { DownloadEvent, Survey } from "../shared/protocol.ts";
import { clipMerges, MERGES } from "./clip_merges.ts";
import { chunkLength, completeFile, intactChunk, mendChunk } from "./file_download.ts";
import type { HostOptions } from "./host.ts";
import { keptBytes, missingBytes } from "./kept.ts";
import { alone, ifUnused } from "./locks.ts";
import {
  isSame,
  type Plan,
  type Planned,
  type PlannedFile,
  planBytes,
  sourceBytes,
  sourceRatio,
} from "./plan.ts";
import { type ByteSource, bytesInMemory, type Provider } from "./provider.ts";
import { PATIENCE } from "./retries.ts";
import { outOfRoom, requireRoom } from "./room.ts";
import type { ChunkNotes, Store } from "./store.ts";

/** How a model is fetched and kept. */
export interface DownloadOptions extends HostOptions {
  chunkSize: number;
  emit: (event: DownloadEvent) => void;
}

/** What the page uses; tests take smaller chunks and shorter waits. */
export const USUAL = { patience: PATIENCE, chunkSize: 4 << 20 };

const OF_PLAN = new Set(["changed_file", "damaged_file"]);

/** A model at an address, and what is kept of it. */
export class ModelDownload {
  readonly #provider: Provider;
  readonly #store: Store;
  readonly #options: DownloadOptions;

  constructor(provider: Provider, store: Store, options: DownloadOptions) {
    this.#provider = provider;
    this.#store = store;
    this.#options = options;
  }

  /** How large the model is and how much of it is kept; its host is asked only when nothing is known, and `ask` allows it. */
  async survey(ask: boolean): Promise<Survey | undefined> {
    const known = await this.#store.model(this.#address);
    const plan = known?.plan ?? (ask ? (await this.#plan()).plan : undefined);
    if (!plan) return undefined;
    const kept = await keptBytes(this.#store, this.#address, plan);
    const missing = await missingBytes(this.#store, this.#address, plan);
    return { size: planBytes(plan), kept, missing, whole: known?.finished !== undefined };
  }

  /**
   * Fetches what is missing, and says what the model then consists of. What is whole is given up for a newer plan only when
   * that has been made, there is room for it, and no tab has the model open; until then it is the model.
   */
  async complete(): Promise<Plan> {
    const known = await this.#store.model(this.#address);
    if (known?.finished !== undefined && (await this.#provider.isCurrent(known.plan))) return known.plan;
    return this.#alone(async () => {
      try {
        return await this.#completeAs(await this.#plan());
      } catch (error) {
        const { code } = asEaselError(error);
        const whole = await this.#wholePlan();
        if (whole && code !== "cancelled") return whole;
        // What does not fit together may be the fault of the plan.
        if (!OF_PLAN.has(code)) throw error;
        const former = (await this.#store.model(this.#address))?.plan;
        return this.#completeAs(await this.#provider.plan(this.#options.chunkSize, former));
      }
    });
  }

  /** Whether a plan is the model's, and all of its files are kept. */
  async isWhole(plan: Plan): Promise<boolean> {
    const known = await this.#store.model(this.#address);
    return known?.finished !== undefined && JSON.stringify(known.plan) === JSON.stringify(plan);
  }

  /**
   * Fetches a kept chunk that is damaged anew; until its bytes are there, nothing is given up. Where its host has other ones
   * by now, it is, so that the model is planned anew when it is loaded next. Returns whether the file is still the model's.
   */
  mend(file: PlannedFile, index: number): Promise<boolean> {
    const [address, store] = [this.#address, this.#store];
    return this.#alone(async () => {
      const plan = (await store.model(address))?.plan;
      if (!plan) throw new EaselError("file_not_found", "the model has been deleted: load it again");
      if (!plan.files.some((planned) => isSame(planned, file))) return false;
      // Another tab may have met it before.
      if (await intactChunk(store, address, file, index)) return true;
      const key = [file.path, index] as const;
      const notes = await store.chunkNotes(address, key);
      const fetching = notes
        ? this.#fetchChunk(plan, file, index, notes)
        : this.#completeAs({ plan, contents: new Map() });
      await fetching.catch(async (error) => {
        if (OF_PLAN.has(asEaselError(error).code)) await store.dropChunks(address, [key]);
        throw error;
      });
      return true;
    });
  }

  async #fetchChunk(plan: Plan, file: PlannedFile, index: number, notes: ChunkNotes): Promise<void> {
    const total = chunkLength(file, index);
    let loaded = 0;
    const onBytes = (bytes: number) => {
      loaded += bytes;
      this.#options.emit({ type: "download", loaded, total });
    };
    const source = await this.#open(plan, file);
    await mendChunk({ address: this.#address, file, store: this.#store, source, onBytes }, index, notes);
  }

  get #address(): string {
    return this.#provider.address;
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const { signal, emit } = this.#options;
    return alone(this.#address, signal, () => emit({ type: "waiting" }), work);
  }

  /** The plan that the download began with, while it is good. */
  async #plan(): Promise<Planned> {
    const known = (await this.#store.model(this.#address))?.plan;
    if (known && (await this.#provider.isCurrent(known))) return { plan: known, contents: new Map() };
    return this.#provider.plan(this.#options.chunkSize, known);
  }

  /** The plan of which all files are kept, unless the user chooses another by now. */
  async #wholePlan(): Promise<Plan | undefined> {
    const known = await this.#store.model(this.#address);
    return known?.finished !== undefined && this.#provider.isChosen(known.plan) ? known.plan : undefined;
  }

  async #completeAs({ plan, contents }: Planned): Promise<Plan> {
    const [address, store] = [this.#address, this.#store];
    const { signal, emit } = this.#options;
    const room = async () => planBytes(plan) - (await keptBytes(store, address, plan));
    await requireRoom(await room());
    await this.#adopt(plan);
    const total = plan.files.reduce((sum, file) => sum + sourceBytes(file), 0);
    let before = 0;
    for (const file of plan.files) {
      let loaded = 0;
      const onBytes = (bytes: number) => {
        loaded += bytes;
        const fetched = Math.min(total, Math.round(before + loaded * sourceRatio(file)));
        emit({ type: "download", loaded: fetched, total });
      };
      if (await store.file(address, file.path)) onBytes(file.size);
      else {
        const read = contents.get(file.path);
        const source = read ? bytesInMemory(read) : await this.#open(plan, file);
        const onHashes = (hashes: string[]) => this.#note(plan, file, hashes);
        await completeFile({ address, file, store, source, signal, onBytes, onHashes }).catch(
          async (error) => {
            throw asEaselError(error).code === "quota" ? await outOfRoom(await room()) : error;
          },
        );
      }
      before += sourceBytes(file);
    }
    const record = await store.model(address);
    await store.putModel(address, { started: Date.now(), ...record, plan, finished: Date.now() });
    return plan;
  }

  /** What every checkpoint lacks is of the page, and no host is asked for it. */
  async #open(plan: Plan, file: PlannedFile): Promise<ByteSource> {
    const isOwn = plan.checkpoint !== undefined && file.path === MERGES;
    return isOwn ? bytesInMemory(await clipMerges()) : this.#provider.open(plan, file);
  }

  /** What a packed file is has no hash before it was made; from then on a damaged chunk can be made again alone. */
  async #note(plan: Plan, file: PlannedFile, chunkSha256: string[]): Promise<void> {
    if (!file.packing || file.chunkSha256) return;
    file.chunkSha256 = chunkSha256;
    const record = await this.#store.model(this.#address);
    await this.#store.putModel(this.#address, { started: Date.now(), ...record, plan });
  }

  /** Makes a plan the model's; kept files that another plan was about go. Throws `busy` when a tab may be reading them. */
  async #adopt(plan: Plan): Promise<void> {
    const [address, store] = [this.#address, this.#store];
    const known = await store.model(address);
    for (const file of plan.files) await this.#recall(file, known?.plan);
    const planned = new Set(plan.files.map((file) => JSON.stringify(file)));
    const gone = known?.plan.files.filter((file) => !planned.has(JSON.stringify(file))) ?? [];
    const record = { plan, started: known?.started ?? Date.now() };
    const paths = gone.map(({ path }) => path);
    const adopt = () => store.replaceModel(address, record, paths);
    if (gone.length === 0) await adopt();
    else if (!(await ifUnused(address, adopt))) {
      const message =
        "the model is open in another tab, and would be replaced: close that tab, then load again";
      throw new EaselError("busy", message);
    }
  }

  /** Takes over what was noted of a file that is whole, and that a new plan says the same of. */
  async #recall(file: PlannedFile, known: Plan | undefined): Promise<void> {
    const old = known?.files.find(({ path }) => path === file.path);
    if (!file.packing || file.chunkSha256 || !old?.chunkSha256) return;
    const { chunkSha256, ...rest } = old;
    if (isSame(rest, file) && (await this.#store.file(this.#address, file.path)))
      file.chunkSha256 = chunkSha256;
  }
}
