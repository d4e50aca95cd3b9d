// What the form remembers over reloads, in local storage.
import { keepText, recallText } from "./memory.ts";

const STORED = "easel.form";

/** Fields by name, as typed. */
export type Typed = Record<string, string>;

/** What is the same for all models, beside the fields. */
export interface Shared {
  /** Whether a picture was made with the seed that the form shows. */
  seedUsed: boolean;
  lock: boolean;
  advanced: boolean;
}

/** Keeps what was typed: `shared` fields for all models, `own` ones for this model. */
export function remember(model: string, shared: Typed, own: Typed, state: Shared): void {
  keepText(STORED, JSON.stringify({ typed: shared, ...state }));
  keepText(`${STORED} ${model}`, JSON.stringify({ typed: own }));
}

/** What was kept, of the fields that `known` names. */
export function recall(model: string, known: (name: string) => boolean): { typed: Typed; state: Shared } {
  const shared = stored(STORED);
  const own = stored(`${STORED} ${model}`);
  return {
    typed: { ...texts(shared.typed, known), ...texts(own.typed, known) },
    state: {
      seedUsed: shared.seedUsed === true,
      lock: shared.lock === true,
      advanced: shared.advanced === true,
    },
  };
}

function stored(key: string): Record<string, unknown> {
  try {
    return { ...JSON.parse(recallText(key) ?? "{}") };
  } catch {
    return {};
  }
}

function texts(values: unknown, known: (name: string) => boolean): Typed {
  const entries = Object.entries(values ?? {});
  return Object.fromEntries(entries.filter(([name, value]) => known(name) && typeof value === "string"));
}
