// Where the files of a model come from. What plans, fetches and keeps them does not know which place it is.
import { isLocal } from "../shared/model_address.ts";
import type { GivenFile } from "../shared/protocol.ts";
import type { HostOptions, Range } from "./host.ts";
import { HttpProvider } from "./http_provider.ts";
import { LocalProvider } from "./local_provider.ts";
import type { Plan, Planned, PlannedFile } from "./plan.ts";
import type { Wanted } from "./planner.ts";

/** The bytes of one file, to be read as often as needed. */
export interface ByteSource {
  readonly size: number;
  /**
   * The bytes of `range` in order, in pieces of any size; ends when all have come, or throws. `checkpoint` is what this
   * source or an earlier one said when the bytes before `range` had been read.
   */
  read(range: Range, checkpoint?: ArrayBuffer): AsyncIterable<Uint8Array<ArrayBuffer>>;
  /** What a later source needs to go on after the bytes that were read last; only some need anything. */
  checkpoint?(): Promise<ArrayBuffer> | undefined;
}

/** A model in the place that it comes from. */
export interface Provider {
  /** What the model is kept under. */
  readonly address: string;
  /** What the model consists of now; what the user chose for the plan before, `former`, holds on. */
  plan(chunkSize: number, former?: Plan): Promise<Planned>;
  /** Whether an earlier plan is what the user chooses now, whatever has become of its source. */
  isChosen(plan: Plan): boolean;
  /** Whether an earlier plan is still good; where that cannot be found out, it is. */
  isCurrent(plan: Plan): Promise<boolean>;
  /** Opens a file of a plan; throws `needs_files` where only the user can give it. */
  open(plan: Plan, file: PlannedFile): ByteSource;
}

/** The provider of the model at an address: its host, or what the user gave to the page for it. */
export function providerOf(
  model: URL,
  given: readonly GivenFile[] | undefined,
  options: HostOptions,
  wanted: Wanted = "model",
): Provider {
  if (isLocal(model)) return new LocalProvider(model, given, options.signal, wanted);
  return new HttpProvider(model, options, wanted);
}

/** Bytes that are in memory already. */
export function bytesInMemory(bytes: Uint8Array<ArrayBuffer>): ByteSource {
  return {
    size: bytes.length,
    read: async function* ({ start, end }) {
      yield bytes.subarray(start, end);
    },
  };
}
