import type { Engine } from "easel-wasm";
import { EaselError } from "../shared/errors.ts";
import type { LoraPlace } from "../shared/protocol.ts";
import { USUAL } from "./model_download.ts";
import { providerOf } from "./provider.ts";
import { ModelSource } from "./source.ts";

interface InUse {
  address: string;
  warnings: string[];
  source: ModelSource;
}

/** The kept LoRAs that an engine knows. */
export class LorasInUse {
  readonly #byName = new Map<string, InUse>();

  /** What of them the engine's model cannot use, in sentences. */
  get warnings(): string[] {
    return [...this.#byName.values()].flatMap(({ warnings }) => warnings);
  }

  /** Makes `loras` the ones that the engine knows. */
  async use(engine: Engine, loras: readonly LoraPlace[], signal: AbortSignal): Promise<void> {
    for (const [name, { address }] of this.#byName) {
      if (!loras.some((lora) => lora.name === name && lora.address === address)) this.#drop(engine, name);
    }
    for (const lora of loras) {
      if (!this.#byName.has(lora.name)) await this.#add(engine, lora, signal);
    }
  }

  #drop(engine: Engine, name: string): void {
    engine.removeLora(name);
    this.#byName.get(name)?.source.close();
    this.#byName.delete(name);
  }

  async #add(engine: Engine, { name, address }: LoraPlace, signal: AbortSignal): Promise<void> {
    // What is kept already needs neither the user's token nor files.
    const options = { ...USUAL, token: undefined, signal, emit: () => {} };
    const source = await ModelSource.open(providerOf(new URL(address), undefined, options, "lora"), options);
    try {
      if (source.lora === undefined) throw new EaselError("not_a_model_file", `${name} is no LoRA`);
      const { warnings } = await engine.addLora(name, source, source.lora);
      this.#byName.set(name, { address, warnings, source });
    } catch (error) {
      source.close();
      throw error;
    }
  }
}
