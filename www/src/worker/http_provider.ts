import { asEaselError } from "../shared/errors.ts";
import { hubFolder } from "../shared/model_address.ts";
import { fileBytes } from "./file_bytes.ts";
import { Host, type HostOptions } from "./host.ts";
import { HostShelf } from "./host_shelf.ts";
import { MANIFEST } from "./manifest.ts";
import type { Plan, Planned, PlannedFile } from "./plan.ts";
import { planModel, type Wanted } from "./planner.ts";
import type { ByteSource, Provider } from "./provider.ts";
import { PATIENCE } from "./retries.ts";
import { checkWeights } from "./weights_kind.ts";

/** A kept model is not held up for long by the question whether it is still the host's. */
const MANIFEST_PATIENCE = { ...PATIENCE, attempts: 1, stallMs: 4000 };

/** A model on a hub or on any other host of files. */
export class HttpProvider implements Provider {
  readonly #host: Host;
  readonly #wanted: Wanted;

  constructor(model: URL, options: HostOptions, wanted: Wanted) {
    this.#host = new Host(model, options);
    this.#wanted = wanted;
  }

  get address(): string {
    return this.#host.base.href;
  }

  async plan(chunkSize: number): Promise<Planned> {
    const planned = await planModel(new HostShelf(this.#host), chunkSize, this.#wanted);
    await checkWeights(this, planned.plan);
    return planned;
  }

  isChosen(): boolean {
    return true;
  }

  /** Whether the host still has the plan's manifest. */
  async isCurrent({ commit, manifest }: Plan): Promise<boolean> {
    if (commit !== undefined || manifest === undefined) return true;
    const impatient = new Host(this.#host.base, { ...this.#host.options, patience: MANIFEST_PATIENCE });
    const found = await impatient.small(MANIFEST).catch((error) => {
      if (asEaselError(error).code === "cancelled") throw error;
      return undefined;
    });
    return found === undefined || new TextDecoder().decode(found.bytes) === manifest;
  }

  /** Files of a hub's model come from the commit that it was when it was met first. */
  open({ commit }: Plan, file: PlannedFile): ByteSource {
    const { hub } = this.#host;
    const host = hub && commit !== undefined ? this.#host.at(hubFolder(hub, "resolve", commit)) : this.#host;
    return { size: file.size, read: (range) => fileBytes(host, file, range) };
  }
}
